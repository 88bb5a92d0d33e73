//! Levels: one for all, then for targets, as `info,sudp::link=debug`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Who may say how much.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Levels {
    rest: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

/// What cannot be read as levels.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelsError {
    /// There is nothing between two commas.
    #[error("there is nothing between the commas; levels are written as \"info\" or \"info,sudp::link=debug\"")]
    Empty,
    /// Something is no level.
    #[error("{found:?} is not a level{}; levels are off, error, warn, info, debug and trace", Meant(.meant))]
    Level {
        /// What was found.
        found: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// A level for all comes behind that for a target, or there are two.
    #[error("{0:?} comes too late: the level for all others is the first, and there is one")]
    Order(String),
    /// Something is no target.
    #[error("{0:?} is not a target: those are names as \"sudp::link\"")]
    Target(String),
    /// A target has two levels.
    #[error("the target {0:?} is there twice")]
    Twice(String),
}

impl Levels {
    /// Reads what was configured. What has no level for all has `info` for them.
    pub fn parse(text: &str) -> Result<Self, LevelsError> {
        let mut levels = Self { rest: LevelFilter::INFO, targets: Vec::new() };
        for (index, part) in text.split(',').map(str::trim).enumerate() {
            match part.split_once('=') {
                None if part.is_empty() => return Err(LevelsError::Empty),
                None if index == 0 => levels.rest = level(part)?,
                None => return Err(LevelsError::Order(part.to_owned())),
                Some((target, at)) => levels.add(target.trim(), level(at.trim())?)?,
            }
        }
        Ok(levels)
    }

    fn add(&mut self, target: &str, level: LevelFilter) -> Result<(), LevelsError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
        if target.is_empty() || !target.bytes().all(fits) {
            return Err(LevelsError::Target(target.to_owned()));
        }
        if self.targets.iter().any(|(known, _)| known == target) {
            return Err(LevelsError::Twice(target.to_owned()));
        }
        self.targets.push((target.to_owned(), level));
        Ok(())
    }
}

impl From<Levels> for Targets {
    fn from(levels: Levels) -> Self {
        Self::new().with_default(levels.rest).with_targets(levels.targets)
    }
}

fn level(text: &str) -> Result<LevelFilter, LevelsError> {
    let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    named.map(|(_, level)| *level).ok_or_else(|| {
        let like = |name: &str| OTHERS.iter().any(|(other, meant)| other.eq_ignore_ascii_case(text) && *meant == name);
        let near = |name: &&str| like(name) || same_letters(name, text) || name.starts_with(&text.to_ascii_lowercase());
        let meant = NAMES.iter().map(|(name, _)| *name).find(|name| !text.is_empty() && near(name));
        LevelsError::Level { found: text.to_owned(), meant }
    })
}

/// Two letters swapped, which is how most misspelt words come about.
fn same_letters(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
        letters.sort_unstable();
        letters
    };
    sorted(one) == sorted(other)
}

struct Meant<'a>(&'a Option<&'static str>);

impl std::fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |meant| write!(f, " (is it {meant:?}?)"))
    }
}

const NAMES: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// What other programs call them.
const OTHERS: [(&str, &str); 7] = [
    ("none", "off"),
    ("fatal", "error"),
    ("critical", "error"),
    ("warning", "warn"),
    ("notice", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_for_all_comes_first_and_targets_follow() {
        let levels = Levels::parse("warn, sudp::link=debug,sudp=OFF").unwrap();

        assert_eq!(levels.rest, LevelFilter::WARN);
        let targets = [("sudp::link".to_owned(), LevelFilter::DEBUG), ("sudp".to_owned(), LevelFilter::OFF)];
        assert_eq!(levels.targets, targets);
    }

    #[test]
    fn targets_alone_leave_info_for_the_others() {
        assert_eq!(Levels::parse("sudp::link=trace").unwrap().rest, LevelFilter::INFO);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let said = |text| Levels::parse(text).unwrap_err().to_string();

        assert!(said("inof").starts_with("\"inof\" is not a level (is it \"info\"?)"), "{}", said("inof"));
        assert!(said("warning").contains("is it \"warn\"?"), "{}", said("warning"));
        assert!(said("info,x=loud").starts_with("\"loud\" is not a level; "), "{}", said("info,x=loud"));
        assert_eq!(Levels::parse(""), Err(LevelsError::Empty));
        assert_eq!(Levels::parse("info,"), Err(LevelsError::Empty));
        assert_eq!(Levels::parse("info,debug"), Err(LevelsError::Order("debug".into())));
        assert_eq!(Levels::parse("a b=debug"), Err(LevelsError::Target("a b".into())));
        assert_eq!(Levels::parse("=debug"), Err(LevelsError::Target(String::new())));
        assert_eq!(Levels::parse("a=info,a=warn"), Err(LevelsError::Twice("a".into())));
        assert_eq!(Levels::parse("a="), Err(LevelsError::Level { found: String::new(), meant: None }));
    }
}
