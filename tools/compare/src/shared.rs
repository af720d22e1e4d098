//! Memory that forked processes share, and what the writers and the reader of one measurement say
//! to each other in it.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_utils::{Backoff, CachePadded};

/// Anonymous shared memory, zeroed, on pages of its own.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is memory; who uses it from several threads does so through atomics or a lock.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    pub fn new(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.max(1);
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing of ours.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, access, kind | libc::MAP_POPULATE, -1, 0)
        };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Self { start, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Its start, as whatever the caller keeps there.
    pub fn start<T>(&self) -> NonNull<T> {
        assert!(size_of::<T>() <= self.bytes && align_of::<T>() <= 4096);
        self.start.cast()
    }

    /// It as atomic words.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped, aligned and zeroed, for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.cast().as_ptr(), self.bytes / 8) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: there is no reference into the mapping any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// What the writers and the reader of one measurement say to each other.
#[derive(Debug)]
pub struct Stage {
    memory: SharedMemory,
    writers: u32,
    calls: usize,
}

#[derive(Debug, Default)]
struct Words {
    ready: CachePadded<AtomicU32>,
    begun: CachePadded<AtomicU32>,
    finished: CachePadded<AtomicU32>,
    received: CachePadded<AtomicU64>,
    over: CachePadded<AtomicU32>,
}

impl Stage {
    /// With room for the samples of `calls` calls of each writer.
    pub fn new(writers: usize, calls: usize) -> io::Result<Self> {
        let memory = SharedMemory::new(size_of::<Words>() + writers * calls * 4)?;
        Ok(Self { memory, writers: writers as u32, calls })
    }

    fn words(&self) -> &Words {
        // SAFETY: they are atomics, zero is a value of theirs, and the memory is there as long as
        // `self`.
        unsafe { self.memory.start::<Words>().as_ref() }
    }

    /// Where a writer leaves what its calls cost, in ticks.
    pub fn samples(&self, writer: usize) -> &[AtomicU32] {
        assert!(writer < self.writers as usize);
        // SAFETY: made with room for so many behind the words, whose size is a multiple of four.
        unsafe {
            let first =
                self.memory.start::<Words>().add(1).cast::<AtomicU32>().add(writer * self.calls);
            std::slice::from_raw_parts(first.as_ptr(), self.calls)
        }
    }

    /// A writer says that it is there, and waits for the start.
    pub fn wait_for_start(&self) {
        self.words().ready.fetch_add(1, Ordering::AcqRel);
        let backoff = Backoff::new();
        while self.words().begun.load(Ordering::Acquire) == 0 {
            backoff.snooze();
        }
    }

    /// The reader lets all writers start, when all are there; the time from which they could.
    pub fn start(&self) -> Instant {
        let backoff = Backoff::new();
        while self.words().ready.load(Ordering::Acquire) < self.writers {
            backoff.snooze();
        }
        // Before they can: time in which this process does not run in between is counted too.
        let start = Instant::now();
        self.words().begun.store(1, Ordering::Release);
        start
    }

    /// A writer has sent its last line. It keeps its handle until the reader is through, so that no
    /// transport can lose what was not read yet.
    pub fn finish_and_wait(&self) {
        self.words().finished.fetch_add(1, Ordering::AcqRel);
        while self.words().over.load(Ordering::Acquire) == 0 {
            futex(&self.words().over, libc::FUTEX_WAIT, 0);
        }
    }

    pub fn all_finished(&self) -> bool {
        self.words().finished.load(Ordering::Acquire) >= self.writers
    }

    /// The reader says how far it is.
    #[inline]
    pub fn received(&self, lines: u64) {
        self.words().received.store(lines, Ordering::Relaxed);
    }

    pub fn lines_received(&self) -> u64 {
        self.words().received.load(Ordering::Relaxed)
    }

    /// Whether the reader is through.
    pub fn is_over(&self) -> bool {
        self.words().over.load(Ordering::Acquire) != 0
    }

    /// The reader is through.
    pub fn end(&self) {
        self.words().over.store(1, Ordering::Release);
        futex(&self.words().over, libc::FUTEX_WAKE, i32::MAX as u32);
    }
}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    // SAFETY: the word lives; a wait without a time limit and a wake read nothing else.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            value,
            std::ptr::null::<libc::timespec>(),
        )
    };
}
