//! ipmpsc: serialised messages in a ring of bytes in a file in memory, under a lock; the reader
//! gets them without a copy.

use ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde_bytes::Bytes;

use crate::transport::{Reader, Setup, Transport, Writer};

/// A length for the message, and one for the bytes in it.
const HEADER: usize = 4 + 8;

pub struct Ipmpsc {
    path: String,
    ring: SharedRingBuffer,
    room: usize,
    blocks: bool,
}

impl<const N: usize> Transport<N> for Ipmpsc {
    type Writer = Sender;
    type Reader = IpmpscReader;

    fn make(setup: &Setup) -> Result<Self, String> {
        let bytes = setup.room * (HEADER + N);
        let ring =
            SharedRingBuffer::create_temp(bytes as u32).map_err(|error| error.to_string())?;
        Ok(Self { path: ring.0, ring: ring.1, room: setup.room, blocks: setup.blocks() })
    }

    fn writer(&self, _: usize) -> Sender {
        Sender::new(SharedRingBuffer::open(&self.path).expect("the file is there"))
    }

    fn reader(&self) -> IpmpscReader {
        IpmpscReader { end: Receiver::new(self.ring.clone()), blocks: self.blocks }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for Sender {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        // A method of the same name is the crate's own.
        Sender::send(self, &Bytes::new(line)).expect("the reader lives");
    }
}

pub struct IpmpscReader {
    end: Receiver,
    blocks: bool,
}

impl<const N: usize> Reader<N> for IpmpscReader {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        // A context is good for one message.
        let mut context = self.end.zero_copy_context();
        if self.blocks {
            sink(context.recv::<&[u8]>().expect("the ring is whole"));
            return 1;
        }
        match context.try_recv::<&[u8]>().expect("the ring is whole") {
            Some(line) => sink(line),
            None => return 0,
        }
        1
    }
}
