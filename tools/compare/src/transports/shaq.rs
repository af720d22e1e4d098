//! shaq: its many-writer queue of fixed items in a file in memory; the reader reserves batches.
//!
//! Writers publish in the order in which they reserved, and spin until it is their turn: one that
//! is not running stops all. A full queue refuses, so its writers use crossbeam's backoff.

use std::fs::File;
use std::num::NonZeroUsize;
use std::time::Duration;

use shaq::mpmc::{Consumer, Producer, minimum_file_size};

use crate::transport::{Reader, Setup, Transport, Writer, until_accepted};

const BATCH: NonZeroUsize = NonZeroUsize::new(super::BATCH).expect("not zero");

pub struct Shaq<const N: usize> {
    file: File,
    /// Who made the queue; the handles join it.
    _made: Producer<[u8; N]>,
    room: usize,
    blocks: bool,
}

impl<const N: usize> Transport<N> for Shaq<N> {
    type Writer = ShaqWriter<N>;
    type Reader = ShaqReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let file = super::memory_file()?;
        let room = setup.room.next_power_of_two();
        let bytes = minimum_file_size::<[u8; N]>(room);
        // SAFETY: a fresh file, in which no other code makes a queue; the items are bytes.
        let made =
            unsafe { Producer::create(&file, bytes) }.map_err(|error| format!("{error:?}"))?;
        Ok(Self { file, _made: made, room, blocks: setup.blocks() })
    }

    fn writer(&self, _: usize) -> ShaqWriter<N> {
        // SAFETY: the queue was made for the same items, which are bytes.
        ShaqWriter(unsafe { Producer::join(&self.file) }.expect("the queue is there"))
    }

    fn reader(&self) -> ShaqReader<N> {
        // SAFETY: as for a writer.
        let end = unsafe { Consumer::join(&self.file) }.expect("the queue is there");
        ShaqReader { end, blocks: self.blocks }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

pub struct ShaqWriter<const N: usize>(Producer<[u8; N]>);

impl<const N: usize> Writer<N> for ShaqWriter<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| self.0.try_write(*line).is_ok());
    }
}

pub struct ShaqReader<const N: usize> {
    end: Consumer<[u8; N]>,
    blocks: bool,
}

impl<const N: usize> Reader<N> for ShaqReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let batch = if self.blocks {
            self.end.reserve_read_batch_timeout(BATCH, Duration::from_secs(1)).ok()
        } else {
            self.end.try_reserve_read_batch(BATCH)
        };
        let Some(batch) = batch else { return 0 };
        batch.iter().for_each(|line| sink(line));
        batch.len()
    }
}
