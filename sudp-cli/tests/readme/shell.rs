//! Commands as documents have them: in blocks of `sh`, and in passing.

use std::iter::{once, repeat};
use std::mem::take;

/// A line to type.
pub(crate) struct Line {
    /// Where it stands.
    pub(crate) number: usize,
    pub(crate) text: String,
    /// It stands in a block, and is to be typed as it is.
    pub(crate) whole: bool,
}

/// Every line of a document that is to be typed, and what is mentioned in between.
pub(crate) fn lines(document: &str) -> impl Iterator<Item = Line> {
    let (mut all, mut block, mut begun) = (Vec::<Line>::new(), None, false);
    for (number, text) in (1..).zip(document.lines()) {
        match (text.trim_start().strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language == "sh"),
            (Some(_), Some(_)) => (block, begun) = (None, false),
            // Behind a prompt it is typed, and what stands below is the answer.
            (None, Some(all_of_it)) if all_of_it || begun || text.starts_with("$ ") => {
                let text = text.strip_prefix("$ ").unwrap_or(text);
                let part = text.strip_suffix('\\');
                match all.last_mut().filter(|_| begun) {
                    Some(line) => line.text.push_str(part.unwrap_or(text)),
                    None => all.push(Line { number, text: part.unwrap_or(text).into(), whole: true }),
                }
                begun = part.is_some();
            }
            (None, Some(_)) => {}
            (None, None) => {
                let spans = text.split('`').skip(1).step_by(2).zip(repeat(number));
                let typed = spans.filter(|(span, _)| !span.contains('…') && !span.contains(" COMMAND"));
                all.extend(typed.map(|(span, number)| Line { number, text: span.into(), whole: false }));
            }
        }
    }
    all.into_iter()
}

/// The commands of ours in a line, each as its words.
pub(crate) fn commands(line: &Line) -> impl Iterator<Item = Vec<String>> {
    let mentioned = !line.whole;
    let ours = simple_commands(&line.text).into_iter().filter_map(|words| ours(&words));
    // By itself, a name of a program is no command.
    ours.filter(move |words| !mentioned || words.len() > 1)
}

/// From the name of our program on, whatever runs it.
fn ours(words: &[String]) -> Option<Vec<String>> {
    let mut rest = words;
    loop {
        rest = match rest {
            [first, more @ ..] if first == "sudo" || first == "exec" || is_assignment(first) => more,
            [ip, netns, exec, _, more @ ..] if ip == "ip" && netns == "netns" && exec == "exec" => more,
            [cargo, more @ ..] if cargo == "cargo" => {
                let program = more.iter().position(|word| word == "--bin").and_then(|at| more.get(at + 1))?;
                let behind = more.iter().skip_while(|word| *word != "--").skip(1);
                return is_ours(program).then(|| once(program).chain(behind).cloned().collect());
            }
            [program, more @ ..] => {
                let name = program.rsplit('/').next().unwrap_or(program);
                return is_ours(name).then(|| once(name.to_owned()).chain(more.iter().cloned()).collect());
            }
            [] => return None,
        };
    }
}

fn is_ours(name: &str) -> bool {
    matches!(name, "sudp" | "sudpd" | "sudpc")
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// What a shell makes of a line, as far as documents go: quotes, comments, pipes, and files it is redirected to.
fn simple_commands(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut word, mut file) = (vec![Vec::new()], None::<String>, false);
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\'' | '"' => word.get_or_insert_default().extend(rest.by_ref().take_while(|other| *other != next)),
            '\\' => word.get_or_insert_default().extend(rest.next()),
            '#' if word.is_none() => break,
            '>' | '<' => {
                // What stands right before it is the number of a stream.
                word = word.filter(|word| word.parse::<u8>().is_err());
                end(&mut word, &mut all, &mut file);
                file = true;
            }
            '|' | ';' | '&' => {
                end(&mut word, &mut all, &mut file);
                all.push(Vec::new());
            }
            blank if blank.is_whitespace() => end(&mut word, &mut all, &mut file),
            other => word.get_or_insert_default().push(other),
        }
    }
    end(&mut word, &mut all, &mut file);
    all.retain(|words| !words.is_empty());
    all
}

/// Puts a word behind the others, unless it is the name of a file.
fn end(word: &mut Option<String>, all: &mut [Vec<String>], file: &mut bool) {
    if let Some(word) = word.take()
        && !take(file)
    {
        all.last_mut().unwrap().push(word);
    }
}
