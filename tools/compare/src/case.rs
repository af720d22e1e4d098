//! One measurement: what is asked for, and what came out.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::distance::{Distance, RoundTrips};
use crate::stats::Cost;
use crate::transport::{Mode, Reading};

/// Lengths of lines for which the transports are compiled: queues of fixed items need one that the
/// compiler knows.
pub const LENGTHS: [usize; 5] = [32, 100, 256, 1000, 4000];

/// Lines that every transport should have room for, unless others are asked for: also of results
/// that do not say it.
pub const ROOM: usize = 4096;

fn room() -> usize {
    ROOM
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Lossless lines per second, as many as go through.
    Throughput,
    /// What one call costs its writer, a call each two microseconds.
    Paced,
    /// Resident memory of the reading process at its highest.
    Memory,
    /// System calls per line, of all threads and processes.
    Syscalls,
}

impl Measure {
    /// Whether its figures depend on how far the processors are apart.
    pub fn is_timed(self) -> bool {
        matches!(self, Measure::Throughput | Measure::Paced)
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Case {
    #[arg(long)]
    pub transport: String,
    #[arg(long)]
    pub mode: Mode,
    #[arg(long)]
    pub measure: Measure,
    #[arg(long)]
    pub reading: Reading,
    #[arg(long)]
    pub writers: usize,
    /// Lines of all writers together; calls of each writer if it is paced.
    #[arg(long)]
    pub lines: u64,
    #[arg(long)]
    pub bytes: usize,
    /// Lines that the transport should have room for.
    #[arg(long)]
    #[serde(default = "room")]
    pub room: usize,
    /// Seconds after which it is given up.
    #[arg(long)]
    pub limit: u64,
}

impl Case {
    /// As arguments for the process that runs it.
    pub fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--transport", self.transport.clone()),
            ("--mode", self.mode.name()),
            ("--measure", self.measure.name()),
            ("--reading", self.reading.name()),
            ("--writers", self.writers.to_string()),
            ("--lines", self.lines.to_string()),
            ("--bytes", self.bytes.to_string()),
            ("--room", self.room.to_string()),
            ("--limit", self.limit.to_string()),
        ];
        pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }

    /// Lines of each writer.
    pub fn each(&self) -> u64 {
        match self.measure {
            Measure::Paced => self.lines,
            _ => self.lines / self.writers as u64,
        }
    }
}

/// The names that clap knows values by.
mod named {
    pub trait Named {
        fn name(&self) -> String;
    }
    impl<T: clap::ValueEnum> Named for T {
        fn name(&self) -> String {
            self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
        }
    }
}

pub use named::Named;

/// What came out of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Good(Figures),
    /// What went wrong, in words. No figure counts then.
    Fault(String),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Lines of all writers, each of which was checked.
    pub lines: u64,
    pub seconds: f64,
    /// How far the processors were apart, if there are several.
    pub round_trips: Option<RoundTrips>,
    /// Lines that the transport has room for, if that can be said.
    pub room: Option<usize>,
    /// Resident memory of the reading process at its highest.
    pub resident_kib: Option<u64>,
    /// What a paced call cost, without the clock's own time.
    pub cost_ns: Option<Cost>,
    /// What was taken off for the clock.
    pub clock_ns: Option<f64>,
    /// System calls per line.
    pub syscalls: Option<f64>,
}

impl Figures {
    /// `far_ns`: from how many nanoseconds of a round trip on processors are far.
    pub fn distance(&self, far_ns: f64) -> Option<Distance> {
        self.round_trips.map(|trips| trips.distance(far_ns))
    }

    pub fn lines_per_second(&self) -> f64 {
        self.lines as f64 / self.seconds
    }
}
