//! rtrb: a ring for each writer, each with its part of the room; the reader takes chunks from one
//! after the other.
//!
//! There is no order among the lines of different writers, and nothing waits.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::transport::{Reader, Reading, Setup, Shelf, Transport, Writer, until_accepted};

#[derive(Debug)]
pub struct Rtrb<const N: usize> {
    writers: Shelf<Producer<[u8; N]>>,
    reader: Shelf<Vec<Consumer<[u8; N]>>>,
    room: usize,
}

impl<const N: usize> Transport<N> for Rtrb<N> {
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = Producer<[u8; N]>;
    type Reader = Vec<Consumer<[u8; N]>>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let each = setup.room.div_ceil(setup.writers);
        let (writers, readers): (Vec<_>, _) =
            (0..setup.writers).map(|_| RingBuffer::new(each)).unzip();
        Ok(Self {
            writers: Shelf::new(writers),
            reader: Shelf::new([readers]),
            room: each * setup.writers,
        })
    }

    fn writer(&self, index: usize) -> Self::Writer {
        self.writers.take(index)
    }

    fn reader(&self) -> Self::Reader {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for Producer<[u8; N]> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| self.push(*line).is_ok());
    }
}

impl<const N: usize> Reader<N> for Vec<Consumer<[u8; N]>> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        for ring in self {
            let chunk = ring.read_chunk(ring.slots()).expect("so many are there");
            let (first, second) = chunk.as_slices();
            lines += first.len() + second.len();
            first.iter().chain(second).for_each(|line| sink(line));
            chunk.commit_all();
        }
        lines
    }
}
