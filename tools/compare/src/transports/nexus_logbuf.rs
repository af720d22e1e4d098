//! nexus-logbuf: byte records, claimed, filled and committed in place; its one-writer ring for one
//! writer.
//!
//! A full ring: `send` spins and yields, as its documentation has it. Room is in bytes and a power
//! of two: a record of 100 bytes takes 112, so there is room for 4681 of them.

use nexus_logbuf::channel::{mpsc, spsc};

use crate::transport::{Reader, Setup, Shelf, Transport, Writer};

#[derive(Debug)]
pub struct NexusLogbuf {
    writers: Shelf<NexusWriter>,
    reader: Shelf<NexusReader>,
    room: usize,
}

/// Bytes that a record takes: a word for its length, and whole words.
const fn record(bytes: usize) -> usize {
    8 + bytes.next_multiple_of(8)
}

impl<const N: usize> Transport<N> for NexusLogbuf {
    type Writer = NexusWriter;
    type Reader = NexusReader;

    fn make(setup: &Setup) -> Result<Self, String> {
        let bytes = setup.room * record(N);
        // Only a reader that parks has to be told.
        let notifies = setup.blocks();
        let (writers, end, room) = if setup.writers == 1 {
            let (writer, reader) = spsc::channel(bytes);
            let room = writer.capacity();
            (vec![NexusWriter { end: Sender::One(writer), notifies }], Receiver::One(reader), room)
        } else {
            let (writer, reader) = mpsc::channel(bytes);
            let room = writer.capacity();
            let writers = (0..setup.writers)
                .map(|_| NexusWriter { end: Sender::Many(writer.clone()), notifies })
                .collect();
            (writers, Receiver::Many(reader), room)
        };
        let reader = NexusReader { end, blocks: setup.blocks() };
        Ok(Self {
            writers: Shelf::new(writers),
            reader: Shelf::new([reader]),
            room: room / record(N),
        })
    }

    fn writer(&self, index: usize) -> NexusWriter {
        self.writers.take(index)
    }

    fn reader(&self) -> NexusReader {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

#[derive(Debug)]
enum Sender {
    One(spsc::Sender),
    Many(mpsc::Sender),
}

#[derive(Debug)]
pub struct NexusWriter {
    end: Sender,
    notifies: bool,
}

impl<const N: usize> Writer<N> for NexusWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        macro_rules! send {
            ($sender:expr) => {{
                let mut claim = $sender.send(N).expect("the reader lives");
                claim.copy_from_slice(line);
                claim.commit();
                if self.notifies {
                    $sender.notify();
                }
            }};
        }
        match &mut self.end {
            Sender::One(sender) => send!(sender),
            Sender::Many(sender) => send!(sender),
        }
    }
}

#[derive(Debug)]
enum Receiver {
    One(spsc::Receiver),
    Many(mpsc::Receiver),
}

#[derive(Debug)]
pub struct NexusReader {
    end: Receiver,
    blocks: bool,
}

impl<const N: usize> Reader<N> for NexusReader {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        macro_rules! receive {
            ($receiver:expr) => {{
                let mut lines = 0;
                if self.blocks {
                    sink(&$receiver.recv(None).expect("a writer lives"));
                    lines += 1;
                }
                while lines < super::BATCH
                    && let Some(record) = $receiver.try_recv()
                {
                    sink(&record);
                    lines += 1;
                }
                lines
            }};
        }
        match &mut self.end {
            Receiver::One(receiver) => receive!(receiver),
            Receiver::Many(receiver) => receive!(receiver),
        }
    }
}
