//! [`RotatingFile`]: where a draining side puts its lines.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::file::FileLock;

/// A file that lines are appended to, and that makes room for a new one when it is full.
///
/// When the next line would make `FILE` longer than the limit, `FILE.1` becomes `FILE.2` and so on,
/// `FILE` becomes `FILE.1`, and a new `FILE` is begun; the oldest of more than `keep` old ones is
/// gone. Lines are never divided: one that is longer than the limit has a file of its own. Nothing
/// is buffered: what a write returned for is in the file.
///
/// **Others** may rename the file, take it away or cut it: logrotate does. Before each write that
/// begins a line this looks where the path leads, which is one system call, and goes on there. So
/// no signal is needed; [`reopen`](Self::reopen) is for programs that have one. Several values, of
/// one process or of several, may write to one path: each rotates what it finds there, one at a
/// time. Their lines are whole if each is written in one call.
///
/// **Death**: each step is one rename. Killed between any two, nothing is lost but a number in the
/// row of old files, which the next rotation fills; lines are neither lost nor repeated. A line
/// that was being written may be there in part: the next one to open the file ends it. So commit a
/// [`Batch`](crate::Batch) after it was written: what had not been committed comes again, with the
/// same positions. (This is about killed processes. Nothing is synced to the disk, so a machine
/// that loses its power loses what the system had not written.)
///
/// ```
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("log");
/// let mut log = linering::RotatingFile::open(&path, 1_000_000, 5)?;
/// log.write_all(b"a line\n")?;
/// assert_eq!(std::fs::read(&path)?, b"a line\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    limit: u64,
    keep: u32,
    file: File,
    /// Where the path led when it was opened; `None` if that is no regular file, which is
    /// not renamed.
    inode: Option<(u64, u64)>,
    size: u64,
    /// The file's last line has no end yet.
    open: bool,
    /// A write failed: how far the file is is not known.
    torn: bool,
    /// To be opened anew once the line has ended.
    stale: bool,
}

impl RotatingFile {
    /// Opens `path`, which is made if it is not there, and kept if it is. `limit` is in bytes, at
    /// least 1 (`u64::MAX` for a file that never rotates by itself); at most `keep` old files stay
    /// beside it, at least one.
    ///
    /// # Errors
    ///
    /// The system's; a limit of 0, or one for something that is not a regular file.
    pub fn open(path: impl AsRef<Path>, limit: u64, keep: u32) -> io::Result<Self> {
        let refused = |sentence| Err(io::Error::new(ErrorKind::InvalidInput, sentence));
        if limit == 0 {
            return refused(
                "found a limit of 0 bytes, expected at least 1: each line would rotate",
            );
        }
        let (path, keep) = (path.as_ref().to_owned(), keep.max(1));
        let (file, inode) = append(&path)?;
        if limit < u64::MAX && inode.is_none() {
            return refused(
                "found something that is not a regular file, expected one: only those rotate",
            );
        }
        let (open, torn, stale) = (false, true, false);
        let mut log = Self { path, limit, keep, file, inode, size: 0, open, torn, stale };
        log.mend()?;
        Ok(log)
    }

    /// Opens the path anew, which may lead elsewhere by now: between two lines, so in the middle of
    /// one once that has ended. Writing does so by itself where the file was renamed.
    ///
    /// # Errors
    ///
    /// The system's; the next write tries again.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.stale = true;
        if self.open { Ok(()) } else { self.go_on_at_path() }
    }

    fn go_on_at_path(&mut self) -> io::Result<()> {
        (self.file, self.inode) = append(&self.path)?;
        self.mend()
    }

    /// Between two lines: goes on where the path leads, and at the size that the file has there.
    fn follow(&mut self) -> io::Result<()> {
        if self.inode.is_none() && !self.stale {
            return Ok(());
        }
        match fs::metadata(&self.path) {
            Ok(data) if !self.stale && self.inode == Some((data.dev(), data.ino())) => {
                self.size = data.len();
                Ok(())
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.go_on_at_path(),
        }
    }

    /// Ends a line that another process was writing, or that could not be written to its end.
    fn mend(&mut self) -> io::Result<()> {
        let data = self.file.metadata()?;
        self.size = data.len();
        if data.is_file() && self.size > 0 && self.last_byte()?.is_some_and(|last| last != b'\n') {
            self.append(b"\n").1?;
        }
        (self.open, self.torn, self.stale) = (false, false, false);
        Ok(())
    }

    /// `None` if another has renamed or cut the file just now: then it is for that one to see to.
    fn last_byte(&self) -> io::Result<Option<u8>> {
        let mut reader = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let data = reader.metadata()?;
        if self.inode != Some((data.dev(), data.ino())) || data.len() == 0 {
            return Ok(None);
        }
        let mut byte = [0];
        reader.seek(SeekFrom::Start(data.len() - 1))?;
        Ok((reader.read(&mut byte)? == 1).then_some(byte[0]))
    }

    /// How many bytes were written, and why not more.
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        let mut result = Ok(());
        while done < bytes.len() && result.is_ok() {
            match self.file.write(&bytes[done..]) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(some) => done += some,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        self.size += done as u64;
        if let Some(last) = bytes[..done].last() {
            self.open = *last != b'\n';
        }
        (done, result)
    }

    /// Begins a new file, unless another has done so by now. `false` while another does.
    fn rotate(&mut self) -> io::Result<bool> {
        let Some(lock) = FileLock::try_of(&self.file)? else { return Ok(false) };
        let found = fs::metadata(&self.path);
        if found.is_ok_and(|data| self.inode == Some((data.dev(), data.ino()))) {
            // From the first number that is not taken, or the last: one step for each file before
            // it.
            let free = (1..self.keep).find(|number| !self.old(*number).exists());
            for number in (1..free.unwrap_or(self.keep)).rev() {
                fs::rename(self.old(number), self.old(number + 1))?;
            }
            match fs::rename(&self.path, self.old(1)) {
                // Another process took it away.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        drop(lock);
        self.go_on_at_path()?;
        Ok(true)
    }

    fn old(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// With the device and inode of a regular file.
fn append(path: &Path) -> io::Result<(File, Option<(u64, u64)>)> {
    let file = File::options().append(true).create(true).open(path)?;
    let data = file.metadata()?;
    Ok((file, data.is_file().then_some((data.dev(), data.ino()))))
}

impl RotatingFile {
    /// Writes as much as it can: how many bytes, and why not more. Goes on after them next time.
    pub(super) fn put(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        let result = self.put_from(bytes, &mut done);
        (done, result)
    }

    fn put_from(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        if self.torn {
            self.mend()?;
        }
        while *done < bytes.len() {
            let rest = &bytes[*done..];
            if !self.open && (*done == 0 || self.stale) {
                self.follow()?;
            }
            let room = self.limit.saturating_sub(self.size);
            let fits = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let is_all = fits == rest.len();
            let length = match memchr::memrchr(b'\n', &rest[..fits]) {
                // In the middle of a line, after which it is another file.
                _ if self.stale => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
                _ if is_all => fits,
                Some(end) => end + 1,
                // Not even one line fits: into a new file, unless it goes on a line or the file is
                // new.
                None if !self.open && self.size > 0 && self.rotate()? => continue,
                None => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
            };
            let (some, result) = self.append(&rest[..length]);
            *done += some;
            result?;
        }
        Ok(())
    }
}

impl Write for RotatingFile {
    /// Writes all of `bytes`, or fails. Rotates between lines alone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (done, result) = self.put(bytes);
        // The caller does not know how much was written, and may begin anew.
        self.torn |= result.is_err() && self.open;
        result.map(|()| done)
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
