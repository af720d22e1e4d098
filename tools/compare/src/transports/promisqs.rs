//! promisqs: items of a fixed size in shared memory, under a spin lock. It has nothing that sleeps:
//! a full queue refuses, so its writers use crossbeam's backoff, and the reader polls.

use std::path::PathBuf;

use promisqs::ShmemQueue;

use crate::transport::{Reader, Reading, Setup, Transport, Writer, until_accepted};

pub struct Promisqs<const N: usize> {
    link: PathBuf,
    made: ShmemQueue<'static, [u8; N]>,
}

impl<const N: usize> Transport<N> for Promisqs<N> {
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = Queue<N>;
    type Reader = Queue<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let link =
            std::env::temp_dir().join(format!("linering-compare-{}.link", std::process::id()));
        let made = ShmemQueue::create(&link, setup.room).map_err(|error| error.to_string())?;
        Ok(Self { link, made })
    }

    fn writer(&self, _: usize) -> Queue<N> {
        Queue(ShmemQueue::open(&self.link).expect("the queue is there"))
    }

    fn reader(&self) -> Queue<N> {
        Queue(ShmemQueue::open(&self.link).expect("the queue is there"))
    }

    fn room(&self) -> Option<usize> {
        Some(self.made.capacity())
    }
}

pub struct Queue<const N: usize>(ShmemQueue<'static, [u8; N]>);

impl<const N: usize> Writer<N> for Queue<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| self.0.push(line).is_ok());
    }
}

impl<const N: usize> Reader<N> for Queue<N> {
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
