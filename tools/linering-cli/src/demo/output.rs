//! Where the drained lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use super::content::Content;
use crate::failure::Failure;

/// Bytes that are gathered for one system call.
const GATHER: usize = 1 << 18;

/// The drained lines' place: a file, stdout, or nowhere.
#[derive(Debug)]
pub struct Output {
    file: Option<BufWriter<File>>,
    name: String,
    pub is_stdout: bool,
}

impl Output {
    /// Opens it before any work is done. `-` is stdout.
    pub fn open(path: Option<&Path>, content: &Content) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { file: None, name: String::new(), is_stdout: false });
        };
        let is_stdout = path.as_os_str() == "-";
        let name =
            if is_stdout { "standard output".to_owned() } else { path.display().to_string() };
        let file = if is_stdout { stdout() } else { open_new(path, content, &name)? };
        let file = file.map_err(|error| Failure::of_write(&name, &error))?;
        Ok(Self { file: Some(BufWriter::with_capacity(GATHER, file)), name, is_stdout })
    }

    /// Adds a line, with its end if it is to have one.
    pub fn line(&mut self, bytes: &[u8], ended: bool) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let end: &[u8] = if ended { b"\n" } else { b"" };
        let written = file.write_all(bytes).and_then(|()| file.write_all(end));
        written.map_err(|error| Failure::of_write(&self.name, &error))
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.flush().map_err(|error| Failure::of_write(&self.name, &error))
    }

    /// Drops what was gathered: after a failure it is of no use, and writing it would fail again.
    pub fn abandon(&mut self) {
        if let Some(file) = self.file.take() {
            drop(file.into_parts());
        }
    }
}

/// Stdout without the standard library's buffer, which is emptied at each line.
fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Emptied only once it is known not to be the input.
fn open_new(path: &Path, content: &Content, name: &str) -> Result<io::Result<File>, Failure> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let (file, metadata) =
        match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
    if matches!(content, Content::File { input, .. } if input.is(&metadata)) {
        return Err(Failure::Usage(format!(
            "the output {name} is the input, expected another file"
        )));
    }
    let emptied = if metadata.is_file() { file.set_len(0) } else { Ok(()) };
    Ok(emptied.map(|()| file))
}
