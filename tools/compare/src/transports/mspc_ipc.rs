//! mspc_ipc: entries of a fixed size in shared memory that forked children inherit.
//!
//! It has nothing that sleeps: a full ring refuses, and the reader polls. A reader that finds an
//! entry begun and not finished leaves the processor to others and looks again, as its own test
//! does.

use std::sync::Arc;

use mspc_ipc::{MultiProducer, SingleConsumer, StallResult};

use crate::shared::SharedMemory;
use crate::transport::{Reader, Reading, Setup, Transport, Writer, until_accepted};

/// Its header, and pages between its two tables.
const OVERHEAD: usize = 4 * 4096;

#[derive(Debug)]
pub struct MspcIpc<const N: usize> {
    memory: Arc<SharedMemory>,
    bytes: usize,
    room: usize,
}

impl<const N: usize> MspcIpc<N> {
    /// The memory, as the crate's functions want it: they keep its address and nothing of the
    /// slice.
    fn with_buffer<R>(&self, make: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: mapped as long as `self`, and the slice ends with this call.
        make(unsafe {
            std::slice::from_raw_parts_mut(self.memory.start::<u8>().as_ptr(), self.bytes)
        })
    }
}

impl<const N: usize> Transport<N> for MspcIpc<N> {
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = MspcWriter;
    type Reader = MspcReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let room = setup.room.next_power_of_two();
        let bytes = OVERHEAD + room * (8 + N.next_multiple_of(8));
        let memory = Arc::new(SharedMemory::new(bytes).map_err(|error| error.to_string())?);
        let ring = Self { memory, bytes, room };
        ring.with_buffer(|buffer| SingleConsumer::from_buffer(buffer, N as u64, room as u64, true))
            .map_err(|error| error.to_string())?;
        Ok(ring)
    }

    fn writer(&self, _: usize) -> MspcWriter {
        let end = self.with_buffer(MultiProducer::from_buffer).expect("the ring is there");
        MspcWriter { end, _memory: Arc::clone(&self.memory) }
    }

    fn reader(&self) -> MspcReader<N> {
        let end = self.with_buffer(|buffer| {
            SingleConsumer::from_buffer(buffer, N as u64, self.room as u64, false)
        });
        let line = vec![0; N.next_multiple_of(8)];
        MspcReader { end: end.expect("the ring is there"), line, _memory: Arc::clone(&self.memory) }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

pub struct MspcWriter {
    end: MultiProducer,
    _memory: Arc<SharedMemory>,
}

impl<const N: usize> Writer<N> for MspcWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| self.end.push(line));
    }
}

pub struct MspcReader<const N: usize> {
    end: SingleConsumer,
    /// An entry, whose size is whole words.
    line: Vec<u8>,
    _memory: Arc<SharedMemory>,
}

impl<const N: usize> Reader<N> for MspcReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let stall = |_, _| {
            std::thread::yield_now();
            StallResult::Retry
        };
        let mut lines = 0;
        while lines < super::BATCH && self.end.pop(&mut self.line, stall) {
            sink(&self.line[..N]);
            lines += 1;
        }
        lines
    }
}
