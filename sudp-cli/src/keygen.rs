//! Keys that links are sealed with: their files, and how they are made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use sudp_tokio::seal::{self, Keypair, PublicKey};
use zeroize::Zeroizing;

use crate::args::keygen::KeygenArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::echo::say;

/// Makes a key, or shows the public half of one.
pub(crate) fn run(args: &KeygenArgs) -> Outcome {
    if let Some(file) = &args.public {
        let key = read(file).map_err(|why| Failure::new(Exit::Failed, why))?;
        say(format_args!("{}", key.public()));
        return Ok(());
    }
    let file = &args.file;
    let key = seal::fresh().map_err(|error| Failure::new(Exit::Temporary, format!("no randomness: {error}")))?;
    write(file, &key).map_err(|error| {
        let why = if error.kind() == io::ErrorKind::AlreadyExists {
            format!(
                "{} exists already, and who has pinned its key would have to be told of another; write to another file",
                file.display()
            )
        } else {
            format!("cannot write {}: {error}; choose another file", file.display())
        };
        Failure::new(Exit::CannotCreate, why)
    })?;
    say(format_args!("{}", key.public()));
    Ok(())
}

/// Reads a private key from a file that nobody else may read.
pub(crate) fn read(file: &Path) -> Result<Keypair, String> {
    let shown = file.display();
    let open = exposed(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    if let Some(mode) = open {
        return Err(format!(
            "{shown} can be read by others (mode {mode:o}); the key in it is to be known by nobody \
                            else: make a new one with `sudp keygen`, or chmod 600 it if nobody has read it"
        ));
    }
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| format!("cannot read {shown}: {error}; make it with `sudp keygen {shown}`"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(format!("{shown} is no file of `sudp keygen`: expected is one line with a private key"));
    };
    line.parse().map_err(|error| format!("{shown} is no file of `sudp keygen`: {error}"))
}

fn write(file: &Path, key: &Keypair) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(file)?;
    let text = Zeroizing::new(format!(
        "# a private key of sudp; its public half is {}\n{}\n",
        key.public(),
        *key.private_text()
    ));
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    if written.is_err() {
        // Nothing is left half made; what cannot be removed is told by the next try.
        let _ = fs::remove_file(file);
    }
    written
}

/// The mode of a file that others than its owner can read.
#[cfg(unix)]
fn exposed(file: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

#[cfg(not(unix))]
fn exposed(_file: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

/// What is typed as a public key.
pub(crate) fn public(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|error| format!("{error}, as `sudp keygen` prints it"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::instance::scratch::Scratch;

    #[test]
    fn a_key_is_read_as_it_was_written_and_only_by_its_owner() {
        let folder = Scratch::new();
        let file = folder.path().join("sudp.key");
        let key = seal::fresh().expect("randomness");
        write(&file, &key).expect("a new file");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&file).map(|key| key.public()), Ok(key.public()));
        assert_eq!(write(&file, &key).map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
        let error = read(&file).expect_err("others can read it");
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let folder = Scratch::new();
        let file = folder.path().join("sudp.key");
        for text in ["", "secret", "# nothing\n", "AAAA\nBBBB\n"] {
            fs::write(&file, text).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
            let error = read(&file).expect_err(text);
            assert!(error.contains("sudp keygen") && !error.contains("secret"), "{error}");
        }
        assert!(read(&folder.path().join("none")).expect_err("it is not there").contains("cannot read"));
    }
}
