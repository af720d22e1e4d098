//! Transports that do something wrong, to show that it is found: a deque that loses, doubles, tears
//! or swaps one line, or stops handing lines on. Processes share nothing of it, so there nothing
//! comes at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::transport::{Kind, Reader, Reading, Setup, Transport, Writer};

pub const LOSES: u8 = 0;
pub const DOUBLES: u8 = 1;
pub const TEARS: u8 = 2;
pub const SWAPS: u8 = 3;
pub const HANGS: u8 = 4;
pub const PANICS: u8 = 5;

/// The line with which it happens.
const LINE: u64 = 100;

type Lines<const N: usize> = Arc<Mutex<VecDeque<[u8; N]>>>;

#[derive(Debug)]
pub struct Faulty<const N: usize, const FAULT: u8>(Lines<N>);

/// Names for each, as the table of transports wants them.
pub type Loses<const N: usize> = Faulty<N, LOSES>;
pub type Doubles<const N: usize> = Faulty<N, DOUBLES>;
pub type Tears<const N: usize> = Faulty<N, TEARS>;
pub type Swaps<const N: usize> = Faulty<N, SWAPS>;
pub type Hangs<const N: usize> = Faulty<N, HANGS>;
pub type Panics<const N: usize> = Faulty<N, PANICS>;

impl<const N: usize, const FAULT: u8> Transport<N> for Faulty<N, FAULT> {
    const KIND: Kind = Kind::Faulty;
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = FaultyWriter<N, FAULT>;
    type Reader = FaultyReader<N>;

    fn make(_: &Setup) -> Result<Self, String> {
        Ok(Self(Lines::default()))
    }

    fn writer(&self, _: usize) -> Self::Writer {
        FaultyWriter { lines: Arc::clone(&self.0), sent: 0, held: None }
    }

    fn reader(&self) -> FaultyReader<N> {
        FaultyReader(Arc::clone(&self.0))
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct FaultyWriter<const N: usize, const FAULT: u8> {
    lines: Lines<N>,
    sent: u64,
    /// A line that comes after the next one.
    held: Option<[u8; N]>,
}

impl<const N: usize, const FAULT: u8> Writer<N> for FaultyWriter<N, FAULT> {
    fn send(&mut self, line: &[u8; N]) {
        let mut lines = self.lines.lock().expect("no thread panics with it");
        self.sent += 1;
        match FAULT {
            LOSES if self.sent == LINE => return,
            DOUBLES if self.sent == LINE => lines.push_back(*line),
            TEARS if self.sent == LINE => {
                let mut torn = *line;
                torn[N - 1] ^= 0x20;
                return lines.push_back(torn);
            }
            SWAPS if self.sent == LINE => {
                self.held = Some(*line);
                return;
            }
            HANGS if self.sent == LINE => {
                drop(lines);
                loop {
                    std::thread::park();
                }
            }
            PANICS if self.sent == LINE => {
                drop(lines);
                panic!("this writer has had enough");
            }
            _ => {}
        }
        lines.push_back(*line);
        lines.extend(self.held.take());
    }
}

#[derive(Debug)]
pub struct FaultyReader<const N: usize>(Lines<N>);

impl<const N: usize> Reader<N> for FaultyReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let taken = std::mem::take(&mut *self.0.lock().expect("no thread panics with it"));
        taken.iter().for_each(|line| sink(line));
        taken.len()
    }
}
