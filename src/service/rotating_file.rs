//! [`RotatingFile`]: where a draining side puts its lines.

use std::fs::{self, File};
use std::io::ErrorKind::{self, NotFound, PermissionDenied};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

#[cfg(feature = "gzip")]
use super::gzip::Compressor;
use super::old_files::{OldFiles, inherit};
use crate::sys::file::FileLock;

/// A file that lines are appended to, and that makes room for a new one when it is full.
///
/// When the next line would make `FILE` longer than the limit, `FILE.1` becomes `FILE.2` and so on,
/// `FILE` becomes `FILE.1`, and a new `FILE` is begun; the oldest of more than `keep` old ones is
/// gone, and so are those that a larger `keep` has left. The new file has the permissions of the
/// one before, and its owner if the process may give it that. Lines are never divided: one that is
/// longer than the limit has a file of its own. Nothing is buffered: what a write returned for is
/// in the file. A file that may be written and not read is appended to; whether its last line has
/// an end is not known then.
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
    limit: u64,
    longest: Option<Duration>,
    old: OldFiles,
    #[cfg(feature = "gzip")]
    compressor: Option<Compressor>,
    file: File,
    /// When it was begun, as far as the file system knows.
    born: SystemTime,
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
        let old = OldFiles::new(path.as_ref(), keep);
        let (file, inode) = append(old.path())?;
        if limit < u64::MAX && inode.is_none() {
            return refused(
                "found something that is not a regular file, expected one: only those rotate",
            );
        }
        let (open, torn, stale) = (false, true, false);
        let (longest, born) = (None, SystemTime::now());
        let mut log = Self {
            limit,
            longest,
            old,
            #[cfg(feature = "gzip")]
            compressor: None,
            file,
            born,
            inode,
            size: 0,
            open,
            torn,
            stale,
        };
        log.mend()?;
        Ok(log)
    }

    /// Begins a new file with the first line that comes so long after the file was begun, too.
    /// `None` at first: its size alone matters. When a file was begun is what the file system says;
    /// where it does not know, the file counts as begun when it was opened.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut log = linering::RotatingFile::open(folder.path().join("log"), 10_000_000, 7)?;
    /// log.set_longest_time(Some(Duration::from_secs(24 * 60 * 60)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_longest_time(&mut self, time: Option<Duration>) {
        self.longest = time;
    }

    /// Has old files compressed: `FILE.1` becomes `FILE.1.gz`, with its permissions and its time,
    /// and `keep` counts both forms. A thread of its own does so after each rotation, and with what
    /// is there now; dropping the value waits until it is done.
    ///
    /// The old file is removed when the compressed one is whole and on the disk. Killed between the
    /// two, both are there, with the same lines, until the next rotation or the next one to open
    /// the file; killed before, `FILE.gz.part` is there as long. What cannot be compressed, or is
    /// still written by another process, stays as it is, and is tried again after the next
    /// rotation. (Where the system does not tell of that, to another user than the file's owner or
    /// on NFS, a line is lost whose writer was stopped in the middle of it, or before it, for as
    /// long as a rotation and the compression took.)
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let mut log = linering::RotatingFile::open(folder.path().join("log"), 1_000_000, 5)?;
    /// log.set_compressed(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The system's, if it starts no thread.
    #[cfg(feature = "gzip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
    pub fn set_compressed(&mut self, compressed: bool) -> io::Result<()> {
        if !compressed {
            self.compressor = None;
        } else if self.compressor.is_none() && self.inode.is_some() {
            self.compressor = Some(Compressor::start(self.old.clone())?);
        }
        Ok(())
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
        (self.file, self.inode) = append(self.old.path())?;
        self.mend()
    }

    /// Between two lines: goes on where the path leads, and at the size that the file has there.
    fn follow(&mut self) -> io::Result<()> {
        if self.inode.is_none() && !self.stale {
            return Ok(());
        }
        match fs::metadata(self.old.path()) {
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
        self.born = data.created().unwrap_or_else(|_| SystemTime::now());
        if data.is_file() && self.size > 0 && self.last_byte()?.is_some_and(|last| last != b'\n') {
            self.append(b"\n").1?;
        }
        (self.open, self.torn, self.stale) = (false, false, false);
        Ok(())
    }

    /// `None` if another has renamed or cut the file just now: then it is for that one to see to.
    fn last_byte(&self) -> io::Result<Option<u8>> {
        let mut reader = match File::open(self.old.path()) {
            // Or it may be written and not read: a log of which others see no line.
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => return Ok(None),
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
        #[cfg(feature = "gzip")]
        let turn = self.compressor.as_ref().and_then(Compressor::turn);
        #[cfg(feature = "gzip")]
        let _turn = turn.as_ref().map(|turn| turn.lock());
        let Some(lock) = FileLock::try_of(&self.file)? else { return Ok(false) };
        let found = fs::metadata(self.old.path());
        if found.is_ok_and(|data| self.inode == Some((data.dev(), data.ino()))) {
            self.old.make_room()?;
            match fs::rename(self.old.path(), self.old.plain(1)) {
                // Another process took it away.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        drop(lock);
        let before = self.file.metadata()?;
        // Not more than before, from the beginning.
        if let Ok(file) = append_to(self.old.path(), true, before.mode() & 0o777) {
            inherit(&file, &before);
        }
        self.go_on_at_path()?;
        #[cfg(feature = "gzip")]
        self.compressor.iter().for_each(Compressor::look);
        Ok(true)
    }

    fn is_old(&self) -> bool {
        self.longest
            .is_some_and(|longest| self.born.elapsed().is_ok_and(|elapsed| elapsed >= longest))
    }
}

/// With the device and inode of a regular file.
fn append(path: &Path) -> io::Result<(File, Option<(u64, u64)>)> {
    let file = append_to(path, false, 0o666)?;
    let data = file.metadata()?;
    Ok((file, data.is_file().then_some((data.dev(), data.ino()))))
}

fn append_to(path: &Path, is_new: bool, mode: u32) -> io::Result<File> {
    File::options().append(true).create(true).create_new(is_new).mode(mode).open(path)
}

impl RotatingFile {
    /// Writes as much as it can: how many bytes, and why not more. The next call is to go on after
    /// them: what this has begun it does not begin anew, as [`write`](Write::write) does after a
    /// failure.
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let mut log = linering::RotatingFile::open(folder.path().join("log"), 1_000_000, 5)?;
    /// let (written, result) = log.write_some(b"a line\n");
    /// assert_eq!((written, result.is_ok()), (7, true));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_some(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        self.put(bytes)
    }

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
                if self.size > 0 && self.inode.is_some() && self.is_old() {
                    self.rotate()?;
                }
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
