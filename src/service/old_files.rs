//! The files that a rotating one leaves: `FILE.1`, or `FILE.1.gz` once it was compressed, and so
//! on. All that changes them is done under the lock of `FILE`.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// The old files of one path. One number may have both forms after a kill: they have the same
/// lines.
#[derive(Clone, Debug)]
pub(super) struct OldFiles {
    path: PathBuf,
    keep: u32,
}

impl OldFiles {
    /// At most `keep` of them stay, at least one.
    pub(super) fn new(path: &Path, keep: u32) -> Self {
        Self { path: path.to_owned(), keep: keep.max(1) }
    }

    /// The path of the file that rotates.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn plain(&self, number: u32) -> PathBuf {
        self.beside(&format!(".{number}"))
    }

    pub(super) fn packed(&self, number: u32) -> PathBuf {
        self.beside(&format!(".{number}.gz"))
    }

    /// The path with this at its end.
    pub(super) fn beside(&self, end: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(end);
        name.into()
    }

    pub(super) fn is_there(&self, number: u32) -> bool {
        self.plain(number).exists() || self.packed(number).exists()
    }

    /// Has the first number free, and those beyond the last one that stays.
    pub(super) fn make_room(&self) -> io::Result<()> {
        // From the first number that is not taken, or the last: one step for each file before it.
        let free = (1..self.keep).find(|number| !self.is_there(*number)).unwrap_or(self.keep);
        self.remove(free)?;
        for number in (1..free).rev() {
            if self.packed(number).exists() {
                // A kill may have left the other form too: two numbers must not have it.
                unless_gone(fs::remove_file(self.plain(number)))?;
                fs::rename(self.packed(number), self.packed(number + 1))?;
            } else {
                fs::rename(self.plain(number), self.plain(number + 1))?;
            }
        }
        // From the last one, so that none is left behind a gap if this is killed meanwhile.
        let end = (self.keep + 1..).find(|number| !self.is_there(*number));
        (self.keep + 1..end.unwrap_or(0)).rev().try_for_each(|number| self.remove(number))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        // The plain one first: what was packed is whole.
        unless_gone(fs::remove_file(self.plain(number)))?;
        unless_gone(fs::remove_file(self.packed(number)))
    }
}

/// It is as good as done where there is no such file.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a new file the owner and the permissions of the one before, as far as that is allowed.
pub(super) fn inherit(file: &File, before: &Metadata) {
    use std::os::unix::fs::MetadataExt as _;
    let _ = fchown(file, None, Some(before.gid()));
    let _ = fchown(file, Some(before.uid()), None);
    // After that: a new owner may take permissions away.
    let _ = file.set_permissions(before.permissions());
}
