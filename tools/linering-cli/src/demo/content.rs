//! What the workers write, and what the reader therefore expects.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use linering::LineProcMirror;

use super::args::Args;
use super::generator::{self, Generator};
use super::input::{FileLines, Input, Share};
use crate::failure::Failure;

/// All workers' lines.
#[derive(Debug)]
pub enum Content {
    Generated { length: usize, filler: Vec<u8>, shares: Vec<u64> },
    File { input: Input, shares: Vec<Share> },
}

impl Content {
    pub fn of(args: &Args) -> Result<Self, Failure> {
        let workers = args.workers;
        if let Some(path) = &args.input {
            let input = Input::open(path)?;
            let shares = input.shares(workers);
            return Ok(Content::File { input, shares });
        }
        let (each, over) = (args.lines / workers as u64, args.lines % workers as u64);
        let shares = (0..workers as u64).map(|worker| each + u64::from(worker < over)).collect();
        Ok(Content::Generated { length: args.len, filler: generator::filler(args.len), shares })
    }

    /// How many lines a worker writes.
    pub fn lines(&self, worker: usize) -> u64 {
        match self {
            Content::Generated { shares, .. } => shares[worker],
            Content::File { shares, .. } => shares[worker].lines,
        }
    }

    /// Bytes of the longest line.
    pub fn longest(&self) -> usize {
        match self {
            Content::Generated { length, .. } => *length,
            Content::File { shares, .. } => {
                shares.iter().map(|share| share.longest).max().unwrap_or(0)
            }
        }
    }

    /// Writes a worker's lines, until `stop` is set; says how many.
    pub fn write(
        &self,
        worker: usize,
        mirror: &mut LineProcMirror,
        stop: &AtomicBool,
    ) -> io::Result<u64> {
        match self {
            Content::Generated { length, filler, shares } => write_generated(
                Generator::new(worker, *length, filler),
                shares[worker],
                mirror,
                stop,
            ),
            Content::File { input, shares } => {
                write_file(input.lines(&shares[worker]), mirror, stop)
            }
        }
    }

    /// The lines that are to come from a worker.
    pub fn expected(&self, worker: usize) -> Expected<'_> {
        match self {
            Content::Generated { length, filler, .. } => {
                Expected::Generated(generator::Expected::new(worker, *length, filler))
            }
            Content::File { input, shares } => Expected::File(input.lines(&shares[worker])),
        }
    }
}

fn write_generated(
    mut generator: Generator,
    lines: u64,
    mirror: &mut LineProcMirror,
    stop: &AtomicBool,
) -> io::Result<u64> {
    for written in 0..lines {
        if stop.load(Ordering::Relaxed) {
            return Ok(written);
        }
        mirror.write_line(generator.line())?;
        generator.advance();
    }
    Ok(lines)
}

fn write_file(
    lines: FileLines<'_>,
    mirror: &mut LineProcMirror,
    stop: &AtomicBool,
) -> io::Result<u64> {
    let mut written = 0;
    for line in lines {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if line.ended {
            mirror.write_line(line.bytes)?;
        } else {
            // So that it arrives without an end, too.
            mirror.write_all(line.bytes)?;
            mirror.flush_partial()?;
        }
        written += 1;
    }
    Ok(written)
}

/// The lines that are still to come from a worker.
#[derive(Debug)]
pub enum Expected<'c> {
    Generated(generator::Expected<'c>),
    File(FileLines<'c>),
}

impl<'c> Expected<'c> {
    /// The next line, in two pieces, and whether it has an end.
    pub fn line(&self) -> ([&[u8]; 2], bool) {
        match self {
            Expected::Generated(lines) => (lines.pieces(), true),
            Expected::File(lines) => {
                lines.peek().map_or(([&[], &[]], true), |line| ([line.bytes, &[]], line.ended))
            }
        }
    }

    /// Goes on to the line after it.
    pub fn advance(&mut self) {
        match self {
            Expected::Generated(lines) => lines.advance(),
            Expected::File(lines) => lines.advance(),
        }
    }

    /// Leaves out some lines.
    pub fn skip(&mut self, count: u64) {
        match self {
            Expected::Generated(lines) => lines.skip(count),
            Expected::File(lines) => lines.by_ref().take(count as usize).for_each(|_| {}),
        }
    }
}
