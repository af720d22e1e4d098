//! crossbeam's `ArrayQueue`: items of a fixed size. It does not wait, so writers and the reader use
//! crossbeam's backoff.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue as Queue;

use crate::transport::{Reader, Reading, Setup, Transport, Writer, until_accepted};

#[derive(Debug)]
pub struct ArrayQueue<const N: usize>(Arc<Queue<[u8; N]>>);

impl<const N: usize> Transport<N> for ArrayQueue<N> {
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = Handle<N>;
    type Reader = Handle<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        Ok(Self(Arc::new(Queue::new(setup.room))))
    }

    fn writer(&self, _: usize) -> Handle<N> {
        Handle(Arc::clone(&self.0))
    }

    fn reader(&self) -> Handle<N> {
        Handle(Arc::clone(&self.0))
    }

    fn room(&self) -> Option<usize> {
        Some(self.0.capacity())
    }
}

#[derive(Debug)]
pub struct Handle<const N: usize>(Arc<Queue<[u8; N]>>);

impl<const N: usize> Writer<N> for Handle<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| self.0.push(*line).is_ok());
    }
}

impl<const N: usize> Reader<N> for Handle<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        while lines < super::BATCH
            && let Some(line) = self.0.pop()
        {
            sink(&line);
            lines += 1;
        }
        lines
    }
}
