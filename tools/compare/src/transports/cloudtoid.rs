//! cloudtoid-interprocess: byte messages in a ring in a file in memory. A full queue refuses, so
//! its writers use crossbeam's backoff. The call that waits gives each message as a vector of its
//! own; the one that does not fills ours.

use std::path::Path;

use cloudtoid_interprocess::{Options, Publisher, Subscriber};

use crate::transport::{Reader, Setup, Transport, Writer, until_accepted};

pub struct Cloudtoid {
    options: Options,
    /// Its maker keeps the queue; it lives as long as a process has it open.
    _first: Publisher,
    room: usize,
    blocks: bool,
}

impl<const N: usize> Transport<N> for Cloudtoid {
    type Writer = Publisher;
    type Reader = CloudtoidReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let bytes = setup.room * (8 + N.next_multiple_of(8));
        let name = format!("linering-compare-{}", std::process::id());
        let mut options = Options::new(name, bytes);
        if Path::new("/dev/shm").is_dir() {
            options = options.with_path("/dev/shm");
        }
        let first = Publisher::open(&options).map_err(|error| error.to_string())?;
        Ok(Self { options, _first: first, room: setup.room, blocks: setup.blocks() })
    }

    fn writer(&self, _: usize) -> Publisher {
        Publisher::open(&self.options).expect("the queue is there")
    }

    fn reader(&self) -> CloudtoidReader<N> {
        let end = Subscriber::open(&self.options).expect("the queue is there");
        CloudtoidReader { end, blocks: self.blocks }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for Publisher {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        until_accepted(|| match self.try_send(line) {
            Ok(()) => true,
            Err(error) if error.is_full() => false,
            Err(error) => panic!("{error}"),
        });
    }
}

pub struct CloudtoidReader<const N: usize> {
    end: Subscriber,
    blocks: bool,
}

impl<const N: usize> Reader<N> for CloudtoidReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        if self.blocks {
            sink(&self.end.recv().expect("the queue is whole"));
            lines += 1;
        }
        let mut line = [0; N];
        while lines < super::BATCH
            && let Some(bytes) = self.end.try_recv_into(&mut line).expect("the queue is whole")
        {
            sink(&line[..bytes]);
            lines += 1;
        }
        lines
    }
}
