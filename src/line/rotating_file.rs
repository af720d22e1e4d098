//! [`RotatingFile`]: where a draining side puts its lines.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that lines are appended to, and that makes room for a new one when it is full.
///
/// When the next line would make `FILE` longer than the limit, `FILE.1` becomes `FILE.2` and so on,
/// `FILE` becomes `FILE.1`, and a new `FILE` is begun; the oldest of more than `keep` old ones is
/// gone. Lines are never divided: one that is longer than the limit has a file of its own. Nothing
/// is buffered: what a write returned for is in the file.
///
/// **Death**: each step is one rename. Killed between any two, nothing is lost but a number in the
/// row of old files, which the next rotation fills; lines are neither lost nor repeated. A line
/// that was being written may be there in part: the next one to open the file ends it. So commit a
/// [`Batch`](crate::Batch) after it was written: what had not been committed comes again, with the
/// same positions. (This is about killed processes. Nothing is synced to the disk, so a machine
/// that loses its power loses what the system had not written.)
///
/// One process at a time.
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
    size: u64,
    /// The file's last line has no end yet.
    open: bool,
    /// A write failed: how far the file is is not known.
    torn: bool,
}

impl RotatingFile {
    /// Opens `path`, which is made if it is not there, and kept if it is. `limit` is in bytes
    /// (`u64::MAX` for a file that never rotates); at most `keep` old files stay beside it, at
    /// least one.
    ///
    /// # Errors
    ///
    /// The system's; a limit for something that is not a regular file.
    pub fn open(path: impl AsRef<Path>, limit: u64, keep: u32) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let (file, size) = append(&path)?;
        if limit < u64::MAX && !file.metadata()?.is_file() {
            let sentence =
                "found something that is not a regular file, expected one: only those rotate";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, sentence));
        }
        let mut log = Self { path, limit, keep: keep.max(1), file, size, open: false, torn: true };
        log.mend()?;
        Ok(log)
    }

    /// Ends a line that another process was writing, or that could not be written to its end.
    fn mend(&mut self) -> io::Result<()> {
        let data = self.file.metadata()?;
        self.size = data.len();
        if data.is_file() && self.size > 0 && self.last_byte()? != b'\n' {
            self.append(b"\n")?;
        }
        (self.open, self.torn) = (false, false);
        Ok(())
    }

    fn last_byte(&mut self) -> io::Result<u8> {
        let mut reader = File::open(&self.path)?;
        let mut byte = [0];
        reader.seek(SeekFrom::End(-1))?;
        reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).inspect_err(|_| self.torn = true)?;
        self.size += bytes.len() as u64;
        self.open = !bytes.ends_with(b"\n");
        Ok(())
    }

    /// Begins a new file.
    fn rotate(&mut self) -> io::Result<()> {
        // From the first number that is not taken, or the last: one step for each file before it.
        let free = (1..self.keep).find(|number| !self.old(*number).exists()).unwrap_or(self.keep);
        for number in (1..free).rev() {
            fs::rename(self.old(number), self.old(number + 1))?;
        }
        match fs::rename(&self.path, self.old(1)) {
            // Another process took it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        (self.file, self.size) = append(&self.path)?;
        Ok(())
    }

    fn old(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().append(true).create(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl Write for RotatingFile {
    /// Writes all of `bytes`, or fails. Rotates between lines alone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.torn {
            self.mend()?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.limit.saturating_sub(self.size);
            let fits = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let is_all = fits == rest.len();
            let length = match memchr::memrchr(b'\n', &rest[..fits]) {
                _ if is_all => fits,
                Some(end) => end + 1,
                // Not even one line fits: into a new file, unless it goes on a line or the file is
                // new.
                None if !self.open && self.size > 0 => {
                    self.rotate()?;
                    continue;
                }
                None => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
            };
            let (now, later) = rest.split_at(length);
            self.append(now)?;
            rest = later;
        }
        Ok(bytes.len())
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
