//! Compresses what a rotating file has left, in a thread of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::write::GzEncoder;

use super::old_files::{OldFiles, inherit};
use crate::sys::file::{FileLock, is_being_written};

/// The thread, and what tells it to look.
#[derive(Debug)]
pub(super) struct Compressor {
    look: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    turn: Arc<Mutex<()>>,
    /// A forked child has no such thread.
    process: u32,
}

impl Compressor {
    /// Starts it; it looks at once.
    pub(super) fn start(old: OldFiles) -> io::Result<Self> {
        // One look that was asked for is for all rotations before it.
        let (look, looks) = sync_channel(1);
        let turn = Arc::new(Mutex::new(()));
        let with = Compression { old, turn: Arc::clone(&turn) };
        let run = move || with.run(&looks);
        let thread = thread::Builder::new().name("compress".to_owned()).spawn(run)?;
        let (look, thread, process) = (Some(look), Some(thread), std::process::id());
        let compressor = Self { look, thread, turn, process };
        compressor.look();
        Ok(compressor)
    }

    /// What is held for a rotation: without it this thread would have the file's lock at times, and
    /// the file go on over its limit.
    pub(super) fn turn(&self) -> Option<Arc<Mutex<()>>> {
        (self.process == std::process::id()).then(|| Arc::clone(&self.turn))
    }

    /// There may be something to compress.
    pub(super) fn look(&self) {
        let _ = self.look.as_ref().map(|look| look.try_send(()));
    }
}

/// Waits until it is done.
impl Drop for Compressor {
    fn drop(&mut self) {
        self.look = None;
        if self.process == std::process::id() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// What the thread has.
struct Compression {
    old: OldFiles,
    turn: Arc<Mutex<()>>,
}

impl Compression {
    fn run(&self, looks: &Receiver<()>) {
        while looks.recv().is_ok() {
            let old = &self.old;
            let plain = |number: &u32| old.plain(*number).exists();
            let there = (1..).take_while(|number| old.is_there(*number)).filter(plain);
            let mut there: Vec<u32> = there.collect();
            // From the oldest: a rotation meanwhile moves what is to come to later numbers.
            while let Some(number) = there.pop() {
                // What cannot be compressed is tried again with the next look.
                let _ = self.compress(number);
            }
        }
    }

    /// Compresses one old file, which others may move meanwhile.
    fn compress(&self, number: u32) -> io::Result<()> {
        let mut plain = File::open(self.old.plain(number))?;
        if !is_left_alone(&plain) {
            return Ok(());
        }
        let path = self.old.beside(".gz.part");
        let Some((part, _lock)) = part_file(&path)? else {
            // Another process is at it.
            return Ok(());
        };
        let packed = pack(&mut plain, &part);
        let result = packed.and_then(|()| self.replace(&mut plain, &part, &path));
        if !matches!(result, Ok(true)) {
            let _ = fs::remove_file(&path);
        }
        result.map(drop)
    }

    /// Puts the compressed file into the place of the old one: whether it did.
    fn replace(&self, plain: &mut File, part: &File, path: &Path) -> io::Result<bool> {
        let old = &self.old;
        let before = plain.metadata()?;
        inherit(part, &before);
        part.set_modified(before.modified()?)?;
        part.sync_all()?;
        let _locks = self.locks()?;
        let is_it =
            |number: &u32| fs::metadata(old.plain(*number)).is_ok_and(|data| is_same(&data, plain));
        let number = (1..).take_while(|number| old.is_there(*number)).find(is_it);
        // It may be gone, as the oldest.
        let Some(number) = number else { return Ok(false) };
        let is_packed = old.packed(number).exists();
        if !is_packed {
            if plain.metadata()?.len() > plain.stream_position()? {
                // By one that was still writing: gzip's files can go on.
                pack(plain, part)?;
                part.sync_all()?;
            }
            fs::rename(path, old.packed(number))?;
        }
        fs::remove_file(old.plain(number))?;
        Ok(!is_packed)
    }

    /// The lock of the file that rotates, and the turn, which ends after it: under both old files
    /// are renamed.
    fn locks(&self) -> io::Result<(FileLock, MutexGuard<'_, ()>)> {
        for _ in 0..LOCK_TRIES {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            match File::options().append(true).open(self.old.path()) {
                Ok(file) => {
                    if let Some(lock) = FileLock::try_of(&file)?
                        && fs::metadata(self.old.path()).is_ok_and(|data| is_same(&data, &file))
                    {
                        return Ok((lock, turn));
                    }
                }
                // Another has moved it, and it will be made with the next line.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            drop(turn);
            thread::sleep(LOCK_PAUSE);
        }
        Err(ErrorKind::TimedOut.into())
    }
}

/// Whether no process writes it any more: one may be in the middle of a line. A child that was just
/// forked has it open for a moment too.
fn is_left_alone(plain: &File) -> bool {
    (0..ALONE_TRIES).any(|tried| {
        if tried > 0 {
            thread::sleep(ALONE_PAUSE);
        }
        is_being_written(plain) != Some(true)
    })
}

const ALONE_TRIES: u32 = 10;
const ALONE_PAUSE: Duration = Duration::from_millis(5);

/// How often the lock is tried, which is held for a few renames at a time.
const LOCK_TRIES: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The file for what is not whole yet, locked and empty.
fn part_file(path: &Path) -> io::Result<Option<(File, FileLock)>> {
    loop {
        let mut options = File::options();
        // Not more than the old file's, from the beginning.
        let part = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let Some(lock) = FileLock::try_of(&part)? else { return Ok(None) };
        // It may have got its name meanwhile.
        if fs::metadata(path).is_ok_and(|data| is_same(&data, &part)) {
            part.set_len(0)?;
            return Ok(Some((part, lock)));
        }
    }
}

fn is_same(data: &fs::Metadata, file: &File) -> bool {
    file.metadata().is_ok_and(|of| (of.dev(), of.ino()) == (data.dev(), data.ino()))
}

/// Adds what is left to read of `plain`, compressed.
fn pack(plain: &mut File, mut part: &File) -> io::Result<()> {
    let mut encoder = GzEncoder::new(&mut part, flate2::Compression::default());
    io::copy(plain, &mut encoder)?;
    encoder.finish()?.flush()
}
