//! A ring of slots in shared memory under one process-shared mutex, with two condition variables;
//! the reader copies out all that is there, and gives the lock back before it hands the lines on.

use std::ptr::{NonNull, addr_of_mut};
use std::sync::Arc;

use crate::shared::SharedMemory;
use crate::transport::{Reader, Setup, Transport, Writer};

#[repr(C)]
struct Header {
    mutex: libc::pthread_mutex_t,
    filled: libc::pthread_cond_t,
    emptied: libc::pthread_cond_t,
    written: u64,
    read: u64,
    /// Writers that wait for room.
    waiting: u64,
}

#[derive(Clone, Debug)]
pub struct SharedMutex<const N: usize> {
    memory: Arc<SharedMemory>,
    room: usize,
    blocks: bool,
}

/// Holds the lock: no other process reads or writes the ring as long as this lives.
struct Locked<'a, const N: usize> {
    ring: &'a SharedMutex<N>,
    header: NonNull<Header>,
}

impl<const N: usize> SharedMutex<N> {
    fn lock(&self) -> Locked<'_, N> {
        let header = self.memory.start::<Header>();
        // SAFETY: the mutex was initialised before anybody had a handle.
        let error = unsafe { libc::pthread_mutex_lock(&raw mut (*header.as_ptr()).mutex) };
        assert_eq!(error, 0, "the mutex is whole");
        Locked { ring: self, header }
    }
}

impl<const N: usize> Locked<'_, N> {
    fn header(&mut self) -> &mut Header {
        // SAFETY: the lock is had, so this is the only reference to what it protects.
        unsafe { self.header.as_mut() }
    }

    fn slot(&self, position: u64) -> *mut [u8; N] {
        let index = position as usize & (self.ring.room - 1);
        // SAFETY: the ring was made with so many slots behind the header.
        unsafe { self.header.add(1).cast::<[u8; N]>().add(index).as_ptr() }
    }

    fn wait(&mut self, condition: impl FnOnce(*mut Header) -> *mut libc::pthread_cond_t) {
        let header = self.header.as_ptr();
        // SAFETY: both are initialised, and the mutex is had.
        unsafe { libc::pthread_cond_wait(condition(header), &raw mut (*header).mutex) };
    }
}

impl<const N: usize> Drop for Locked<'_, N> {
    fn drop(&mut self) {
        // SAFETY: this handle has it.
        unsafe { libc::pthread_mutex_unlock(&raw mut (*self.header.as_ptr()).mutex) };
    }
}

impl<const N: usize> Transport<N> for SharedMutex<N> {
    type Writer = Self;
    type Reader = MutexReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let room = setup.room.next_power_of_two();
        let memory =
            SharedMemory::new(size_of::<Header>() + room * N).map_err(|error| error.to_string())?;
        let header = memory.start::<Header>().as_ptr();
        // SAFETY: the attributes are initialised before they are used, and the memory is ours alone
        // as yet.
        unsafe {
            let mut of_mutex = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut of_mutex);
            libc::pthread_mutexattr_setpshared(&mut of_mutex, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutex_init(addr_of_mut!((*header).mutex), &of_mutex);
            let mut of_condition = std::mem::zeroed();
            libc::pthread_condattr_init(&mut of_condition);
            libc::pthread_condattr_setpshared(&mut of_condition, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_cond_init(addr_of_mut!((*header).filled), &of_condition);
            libc::pthread_cond_init(addr_of_mut!((*header).emptied), &of_condition);
        }
        Ok(Self { memory: Arc::new(memory), room, blocks: setup.blocks() })
    }

    fn writer(&self, _: usize) -> Self {
        self.clone()
    }

    fn reader(&self) -> MutexReader<N> {
        MutexReader { ring: self.clone(), taken: Vec::with_capacity(self.room) }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for SharedMutex<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        let mut ring = self.lock();
        while ring.header().written - ring.header().read == self.room as u64 {
            ring.header().waiting += 1;
            // SAFETY: the address of a field, nothing more.
            ring.wait(|header| unsafe { &raw mut (*header).emptied });
            ring.header().waiting -= 1;
        }
        let position = ring.header().written;
        // SAFETY: the slot is inside the ring, and the lock is had.
        unsafe { ring.slot(position).write(*line) };
        ring.header().written = position + 1;
        let wakes = self.blocks && position == ring.header().read;
        let header = ring.header;
        drop(ring);
        if wakes {
            // SAFETY: initialised, and there as long as the memory.
            unsafe { libc::pthread_cond_signal(&raw mut (*header.as_ptr()).filled) };
        }
    }
}

#[derive(Debug)]
pub struct MutexReader<const N: usize> {
    ring: SharedMutex<N>,
    taken: Vec<[u8; N]>,
}

impl<const N: usize> Reader<N> for MutexReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut ring = self.ring.lock();
        while self.ring.blocks && ring.header().written == ring.header().read {
            // SAFETY: the address of a field, nothing more.
            ring.wait(|header| unsafe { &raw mut (*header).filled });
        }
        let (read, written) = (ring.header().read, ring.header().written);
        self.taken.clear();
        // SAFETY: slots between the two were written, and the lock is had.
        self.taken.extend((read..written).map(|position| unsafe { ring.slot(position).read() }));
        ring.header().read = written;
        let wakes = ring.header().waiting > 0;
        let header = ring.header;
        drop(ring);
        if wakes {
            // SAFETY: initialised, and there as long as the memory.
            unsafe { libc::pthread_cond_broadcast(&raw mut (*header.as_ptr()).emptied) };
        }
        self.taken.iter().for_each(|line| sink(line));
        self.taken.len()
    }
}
