//! What every transport looks like to the measurements.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::line::Check;
use crate::shared::Stage;

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Threads of the reader's process.
    Threads,
    /// Forked children of the reader's process.
    Processes,
}

/// How the reader waits for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// It asks again and again, with crossbeam's backoff between.
    Polling,
    /// It sleeps until the transport wakes it.
    Blocking,
}

/// What a transport is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What this is about. Its faults are failures of the run.
    Linering,
    Rival,
    /// Carries nothing to a reader: what no transport can be quicker than.
    Limit,
    /// Makes and checks lines in one loop, without a transport.
    Alone,
    /// Does something wrong, for the tests.
    Faulty,
}

/// What a transport is made for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Lines that it should have room for.
    pub room: usize,
    pub writers: usize,
    pub reading: Reading,
    pub stage: Arc<Stage>,
}

impl Setup {
    pub fn blocks(&self) -> bool {
        self.reading == Reading::Blocking
    }
}

/// Something that carries lines of `N` bytes from many writers to one reader.
pub trait Transport<const N: usize>: Sized {
    const KIND: Kind = Kind::Rival;
    /// How its reader can wait: one of both, or both.
    const READING: &'static [Reading] = &[Reading::Polling, Reading::Blocking];
    /// Whether lines that were read stay and take room.
    const KEEPS: bool = false;
    type Writer: Writer<N>;
    type Reader: Reader<N>;

    /// Makes it, before there are threads and children. An error is a sentence: what it lacks here.
    fn make(setup: &Setup) -> Result<Self, String>;

    /// The handle of one writer, asked for where it will be used: in its thread or its process.
    fn writer(&self, index: usize) -> Self::Writer;

    /// The one reader's handle, asked for in the reader's thread when the children have been
    /// forked.
    fn reader(&self) -> Self::Reader;

    /// Lines that it has room for, if that can be said.
    fn room(&self) -> Option<usize>;
}

pub trait Writer<const N: usize> {
    /// Returns when the line was accepted, however long that takes.
    fn send(&mut self, line: &[u8; N]);
}

pub trait Reader<const N: usize>: Sized {
    /// Hands on the lines that are there, as many as come cheaply together; says how many. A
    /// blocking one waits for the first.
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize;

    /// Lets the writers begin, reads until all lines have come, and says how long that took.
    fn read_all(mut self, run: &Run, check: &mut Check<N>) -> Duration {
        run.clocked(|| {
            let backoff = crossbeam_utils::Backoff::new();
            while check.lines() < run.total {
                if self.receive(&mut |bytes| check.line(bytes)) > 0 {
                    run.stage.received(check.lines());
                    backoff.reset();
                } else {
                    backoff.snooze();
                }
            }
        })
    }
}

/// What a reader knows of the measurement.
#[derive(Clone, Debug)]
pub struct Run {
    pub stage: Arc<Stage>,
    /// Lines of all writers together.
    pub total: u64,
}

impl Run {
    /// The time from the start of all writers to the end of `read`.
    pub fn clocked(&self, read: impl FnOnce()) -> Duration {
        let start = self.stage.start();
        read();
        start.elapsed()
    }
}

/// Tries until it works, as crossbeam's own examples do: a few spins, then leaving the processor to
/// others.
#[inline]
pub fn until_accepted(mut attempt: impl FnMut() -> bool) {
    let backoff = crossbeam_utils::Backoff::new();
    while !attempt() {
        backoff.snooze();
    }
}

/// Handles that were made ahead, to be taken by whom they are for.
#[derive(Debug)]
pub struct Shelf<T>(std::sync::Mutex<Vec<Option<T>>>);

impl<T> Shelf<T> {
    pub fn new(handles: impl IntoIterator<Item = T>) -> Self {
        Self(std::sync::Mutex::new(handles.into_iter().map(Some).collect()))
    }

    pub fn take(&self, index: usize) -> T {
        let mut handles = self.0.lock().expect("no thread panics with it");
        handles[index].take().expect("each handle is taken once")
    }
}
