//! `linering demo`: workers write into a ring, this process drains it and checks every line.

mod args;
mod content;
mod figures;
mod generator;
mod input;
mod output;
mod report;
mod verify;
mod writers;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use linering::{CreateError, LineRing, Options, Reader};

use crate::failure::{Failure, INTERRUPTED, note};
use crate::interrupt;
use crate::on_full::OnFull;
pub use args::Args;
use args::Mode;
use content::Content;
use output::Output;
use verify::Verifier;

/// How long a worker may take to begin. One that is killed before that leaves nothing by which its
/// death could be noticed.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// Runs the demo to its end.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let content = Content::of(args)?;
    let mut output = Output::open(args.output.as_deref(), &content)?;
    let ring = make_ring(args, content.longest())?;

    let began = Instant::now();
    let mut drained = None;
    let drain = |serials, reader: &mut Reader| {
        let mut verifier = Verifier::new(&content, serials, args.policy != OnFull::Block);
        drain(reader, &mut verifier, &mut output, args.workers == 1)?;
        drained = Some((verifier, began.elapsed()));
        Ok(())
    };
    let outcome = match args.mode {
        Mode::Procs => writers::forked(&ring, &content, args.workers, drain),
        Mode::Threads => writers::threaded(&ring, &content, args.workers, drain),
    };
    let outcome = outcome.inspect_err(|_| output.abandon())?;
    let Some((verifier, elapsed)) = drained else { return Ok(ExitCode::FAILURE) };

    let figures = {
        let kind = if args.mode == Mode::Procs { "forked processes" } else { "threads" };
        report::figures(&verifier, kind, elapsed, ring.counts().found_full, outcome.interrupted)
    };
    let problems = report::problems(&verifier, &outcome);
    problems.iter().for_each(note);
    print(&figures, output.is_stdout)?;
    Ok(match (problems.is_empty(), outcome.interrupted) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    })
}

fn make_ring(args: &Args, longest: usize) -> Result<LineRing, Failure> {
    // So that no line is cut: each worker may be in the middle of one of the longest.
    let max_line = longest.max(figures::LONGEST);
    let budget = max_line.saturating_mul(args.workers).max(1 << 20);
    let mut options =
        Options::new().policy(args.policy.into()).mirrors(args.workers).max_line(max_line);
    options = options.assembly_budget(budget).seat_limit(BEGIN_LIMIT);
    if let Some(lines) = args.ring_lines {
        options = options.lines(lines);
    }
    if let Some(bytes) = args.line_bytes {
        options = options.line_bytes(bytes);
    }
    LineRing::new(options).map_err(|error| match error {
        CreateError::Option { option: "max_line", found, expected } => Failure::Usage(format!(
            "the longest line has {found} bytes, expected {expected}: more needs a larger ring, or --policy block",
        )),
        CreateError::Option { .. } => Failure::Usage(format!("cannot make the ring: {error}")),
        other => Failure::Failed(format!("cannot make the ring: {other}")),
    })
}

/// Drains the ring until every worker has ended.
fn drain(
    reader: &mut Reader,
    verifier: &mut Verifier<'_>,
    output: &mut Output,
    alone: bool,
) -> Result<(), Failure> {
    // After the fork: one process is to say it.
    // Its handler ends the workers, which would else wait for a reader for a while.
    interrupt::explain_cut_short(Some(signal_hook::consts::SIGTERM))
        .map_err(|error| Failure::Failed(format!("cannot watch the input: {error}")))?;
    loop {
        // After an interrupt the workers are being ended; what they wrote still comes.
        let batch = reader
            .batch()
            .map_err(|error| Failure::Failed(format!("cannot drain the ring: {error}")))?;
        if batch.is_empty() {
            return output.flush();
        }
        for item in batch.iter() {
            if let Some(line) = verifier.item(&item)? {
                output.line(&line.bytes, !(line.unfinished && alone))?;
            }
        }
        batch.commit();
    }
}

/// Prints the figures: data, unless the lines are.
fn print(figures: &str, to_stderr: bool) -> Result<(), Failure> {
    let (name, printed) = if to_stderr {
        ("standard error", io::stderr().write_all(figures.as_bytes()))
    } else {
        ("standard output", io::stdout().write_all(figures.as_bytes()))
    };
    printed.map_err(|error| Failure::of_write(name, &error))
}
