//! thingbuf: slots that are filled in place and not cleared when they are used again.

use thingbuf::mpsc::blocking::{Receiver, Sender, with_recycle};
use thingbuf::recycling::Recycle;

use crate::transport::{Reader, Setup, Shelf, Transport, Writer};

/// Slots are overwritten as a whole, so there is nothing to clear.
#[derive(Clone, Copy, Debug)]
pub struct KeepAsIs;

impl<const N: usize> Recycle<[u8; N]> for KeepAsIs {
    fn new_element(&self) -> [u8; N] {
        [0; N]
    }

    fn recycle(&self, _: &mut [u8; N]) {}
}

#[derive(Debug)]
pub struct ThingBuf<const N: usize> {
    writers: Shelf<Sender<[u8; N], KeepAsIs>>,
    reader: Shelf<ThingReader<N>>,
    room: usize,
}

impl<const N: usize> Transport<N> for ThingBuf<N> {
    type Writer = Sender<[u8; N], KeepAsIs>;
    type Reader = ThingReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let (sender, receiver) = with_recycle(setup.room, KeepAsIs);
        Ok(Self {
            writers: Shelf::new((0..setup.writers).map(|_| sender.clone())),
            reader: Shelf::new([ThingReader { end: receiver, blocks: setup.blocks() }]),
            room: setup.room,
        })
    }

    fn writer(&self, index: usize) -> Self::Writer {
        self.writers.take(index)
    }

    fn reader(&self) -> ThingReader<N> {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for Sender<[u8; N], KeepAsIs> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        *self.send_ref().expect("the reader lives") = *line;
    }
}

#[derive(Debug)]
pub struct ThingReader<const N: usize> {
    end: Receiver<[u8; N], KeepAsIs>,
    blocks: bool,
}

impl<const N: usize> Reader<N> for ThingReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        if self.blocks {
            sink(&*self.end.recv_ref().expect("a writer lives"));
            lines += 1;
        }
        while lines < super::BATCH
            && let Ok(line) = self.end.try_recv_ref()
        {
            sink(&*line);
            lines += 1;
        }
        lines
    }
}
