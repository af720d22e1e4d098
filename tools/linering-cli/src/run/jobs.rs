//! What the workers run: copies of a command, or commands from a file.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::system::Job;
use crate::failure::Failure;

/// So many copies of a command.
pub fn copies(command: &[OsString], count: usize) -> Vec<Job> {
    (0..count).map(|copy| Job { name: copy.to_string(), command: command.to_vec() }).collect()
}

/// Each line of a file is a command for sh -c.
pub fn of_lines(path: &Path) -> Result<Vec<Job>, Failure> {
    let text = read(path)?;
    let job = |(number, line): (usize, &[u8])| Job { name: number.to_string(), command: sh(line) };
    some(lines(&text).enumerate().map(job).collect(), path, "commands")
}

/// Each line of a file is a name, a colon and a command for sh -c.
pub fn of_procfile(path: &Path) -> Result<Vec<Job>, Failure> {
    let text = read(path)?;
    let job = |line: &[u8]| {
        let found = || String::from_utf8_lossy(line).into_owned();
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        let colon = memchr::memchr(b':', line).filter(|colon| *colon > 0);
        let (name, rest) = colon
            .map(|colon| (&line[..colon], line[colon + 1..].trim_ascii()))
            .filter(|(name, rest)| name.iter().all(is_of_name) && !rest.is_empty())
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "{}: found \"{}\", expected name: command",
                    path.display(),
                    found()
                ))
            })?;
        Ok(Job { name: String::from_utf8_lossy(name).into_owned(), command: sh(rest) })
    };
    some(lines(&text).map(job).collect::<Result<_, _>>()?, path, "commands")
}

/// Each line of a file is an argument of the command, in the place of {} or at its end.
pub fn of_arguments(path: &Path, command: &[OsString]) -> Result<Vec<Job>, Failure> {
    let text = if path == Path::new("-") {
        let mut text = Vec::new();
        io::stdin()
            .read_to_end(&mut text)
            .map_err(|error| Failure::of_path("read", path, &error))?;
        text
    } else {
        read(path)?
    };
    let has_place = command.iter().any(|word| find(word.as_bytes()).is_some());
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let job = |(number, line): (usize, &[u8])| {
        let mut command: Vec<OsString> =
            command.iter().map(|word| filled(word.as_bytes(), line)).collect();
        if !has_place {
            command.push(OsStr::from_bytes(line).to_owned());
        }
        Job { name: number.to_string(), command }
    };
    some(lines.enumerate().map(job).collect(), path, "arguments")
}

fn find(word: &[u8]) -> Option<usize> {
    memchr::memmem::find(word, b"{}")
}

/// The word with the argument for each {}.
fn filled(mut word: &[u8], argument: &[u8]) -> OsString {
    let mut whole = Vec::new();
    while let Some(at) = find(word) {
        whole.extend_from_slice(&word[..at]);
        whole.extend_from_slice(argument);
        word = &word[at + 2..];
    }
    whole.extend_from_slice(word);
    OsString::from_vec(whole)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::of_path("read", path, &error))
}

/// Lines that are not empty and do not begin with #.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn sh(line: &[u8]) -> Vec<OsString> {
    vec!["sh".into(), "-c".into(), OsStr::from_bytes(line).to_owned()]
}

fn some(jobs: Vec<Job>, path: &Path, what: &str) -> Result<Vec<Job>, Failure> {
    if jobs.is_empty() {
        return Err(Failure::Usage(format!("{} has 0 {what}, expected some", path.display())));
    }
    Ok(jobs)
}
