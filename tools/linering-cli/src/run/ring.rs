//! The ring that the workers' lines go through.

use std::time::Duration;

use linering::{CreateError, LineRing, Options, Timestamps, WakeUp};

use super::args::Args;
use super::pump::Reads;
use crate::failure::Failure;
use crate::output::Format;

/// Seats of a ring for so many workers at a time: those that live have three each, and of the ends
/// of others some hundreds may wait to be printed. Making many takes its time.
pub fn seats(workers: usize) -> usize {
    (4 * (3 * workers + 3)).max(1024)
}

/// Makes the ring, for so many workers at a time.
pub fn make(args: &Args, workers: usize) -> Result<LineRing, Failure> {
    // The pump cuts before a line is too long, by a read at most.
    let Reads { at_once, cut, slack, .. } = args.reads(workers);
    let max_line = cut + at_once + slack;
    let is_timed = args.timestamps.is_some() || args.format != Format::Cat || args.no_drain;
    let options = Options::new()
        .lines(args.lines(workers))
        .line_bytes(args.line_bytes)
        .policy(args.on_full.into())
        .timestamps(if is_timed { Timestamps::Coarse } else { Timestamps::Off })
        // The printer waits for lines and for what it is told.
        .wake_up(WakeUp::Pipe)
        // A worker that is started again may come before the end of the one before is read.
        .mirrors(3 * workers + 3)
        .seats(seats(workers))
        .max_line(max_line)
        .assembly_budget(2 * workers.saturating_mul(max_line));
    // Its reader may come late, or be started anew.
    let options = if args.no_drain { options.reader_grace(Duration::MAX) } else { options };
    let ring = match (&args.file, &args.name) {
        (Some(path), _) => LineRing::create_file(path, options),
        (None, Some(name)) => LineRing::create_named(name, options),
        (None, None) => LineRing::new(options),
    };
    let of = match (&args.file, &args.name) {
        (Some(path), _) => format!(" in {}", path.display()),
        (None, Some(name)) => format!(" named {name}"),
        (None, None) => String::new(),
    };
    ring.map_err(|error| {
        let sentence = format!("cannot make the ring{of}: {error}");
        match error {
            CreateError::Option { .. }
            | CreateError::Name { .. }
            | CreateError::Taken { .. }
            | CreateError::Memory { .. } => Failure::Usage(sentence),
            _ => Failure::Failed(sentence),
        }
    })
}
