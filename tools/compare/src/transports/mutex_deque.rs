//! A mutex, a deque and two condition variables of the standard library; the reader takes all that
//! is there at once.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use crate::transport::{Reader, Setup, Transport, Writer};

#[derive(Debug)]
struct Shared<const N: usize> {
    lines: Mutex<VecDeque<[u8; N]>>,
    filled: Condvar,
    emptied: Condvar,
    room: usize,
}

#[derive(Debug)]
pub struct MutexDeque<const N: usize> {
    shared: Arc<Shared<N>>,
    blocks: bool,
}

impl<const N: usize> Transport<N> for MutexDeque<N> {
    type Writer = DequeWriter<N>;
    type Reader = DequeReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let lines = Mutex::new(VecDeque::with_capacity(setup.room));
        let shared =
            Shared { lines, filled: Condvar::new(), emptied: Condvar::new(), room: setup.room };
        Ok(Self { shared: Arc::new(shared), blocks: setup.blocks() })
    }

    fn writer(&self, _: usize) -> DequeWriter<N> {
        DequeWriter { shared: Arc::clone(&self.shared), notifies: self.blocks }
    }

    fn reader(&self) -> DequeReader<N> {
        let taken = VecDeque::with_capacity(self.shared.room);
        DequeReader { shared: Arc::clone(&self.shared), taken, blocks: self.blocks }
    }

    fn room(&self) -> Option<usize> {
        Some(self.shared.room)
    }
}

#[derive(Debug)]
pub struct DequeWriter<const N: usize> {
    shared: Arc<Shared<N>>,
    notifies: bool,
}

impl<const N: usize> Writer<N> for DequeWriter<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        let shared = &*self.shared;
        let lines = shared.lines.lock().expect("no thread panics with it");
        let mut lines =
            shared.emptied.wait_while(lines, |lines| lines.len() >= shared.room).expect("as above");
        lines.push_back(*line);
        let first = lines.len() == 1;
        drop(lines);
        if first && self.notifies {
            shared.filled.notify_one();
        }
    }
}

#[derive(Debug)]
pub struct DequeReader<const N: usize> {
    shared: Arc<Shared<N>>,
    taken: VecDeque<[u8; N]>,
    blocks: bool,
}

impl<const N: usize> Reader<N> for DequeReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let shared = &*self.shared;
        let mut lines = shared.lines.lock().expect("no thread panics with it");
        if self.blocks {
            lines = shared.filled.wait_while(lines, |lines| lines.is_empty()).expect("as above");
        }
        let was_full = lines.len() >= shared.room;
        std::mem::swap(&mut *lines, &mut self.taken);
        drop(lines);
        if was_full {
            shared.emptied.notify_all();
        }
        let count = self.taken.len();
        self.taken.drain(..).for_each(|line| sink(&line));
        count
    }
}
