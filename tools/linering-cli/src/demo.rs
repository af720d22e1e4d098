//! `linering demo`: workers write into a ring, this process drains it and looks at every line.

mod content;
mod crew;
mod figures;
mod input;
mod made;
mod output;
mod report;
mod verify;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use linering::{CreateError, LineRing, Options, Reader};

use crate::failure::{Failure, INTERRUPTED, note};
use crate::interrupt;
use crate::number::within;
use crate::when_full::WhenFull;
use content::Content;
use output::Output;
use verify::Verifier;

/// How long a worker may take to begin. One that is killed before that leaves nothing by which its
/// death could be noticed.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// Let workers write lines into a ring while one reader drains and verifies them
///
/// Worker processes (or threads) write straight into shared memory. The reader checks each line
/// against what its worker wrote: the order, the bytes and the count. Then the figures are printed
/// on standard output; the first line that is not as expected ends the demo with exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Workers that write, 1 to 1000
    #[arg(short, long, value_name = "N", default_value = "2", value_parser = within(1, MOST_WORKERS))]
    pub workers: usize,

    /// Lines in all, shared out evenly
    #[arg(short = 'n', long, value_name = "M", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=made::MOST_LINES), conflicts_with = "input")]
    pub lines: u64,

    /// What the workers are
    #[arg(short, long, value_enum, default_value = "procs")]
    pub mode: Mode,

    /// Bytes of each line, 0 to 1 GiB
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = within(0, 1 << 30), conflicts_with = "input")]
    pub len: usize,

    /// Write the lines of this file instead: any bytes, but it must not change meanwhile
    ///
    /// Each worker gets a contiguous share of about the same size, cut at ends of lines. Nothing
    /// in a line is changed, and none is too long.
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Write the drained lines into this file; - is standard output, and the figures then go to
    /// standard error
    ///
    /// Each worker's lines are in its order; the workers' lines are mixed. An input's last line
    /// without an end stays without one if there is one worker; with more, it gets one, since
    /// others may come after it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Lines (or parts of long lines) that the ring holds [default: 4096]
    #[arg(long, value_name = "N")]
    pub ring_lines: Option<usize>,

    /// Bytes of one slot of the ring; a longer line takes several [default: 256]
    #[arg(long, value_name = "N")]
    pub line_bytes: Option<usize>,

    /// What a writer does when the ring is full
    ///
    /// With "drop" and "overwrite", lost lines are reported, and it is verified that those and the
    /// ones that came make up what was written.
    #[arg(long, value_enum, default_value = "block")]
    pub policy: WhenFull,
}

/// Far more than keeps a machine busy.
const MOST_WORKERS: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  linering demo
  linering demo --workers 4 --lines 10000000 --mode threads
  linering demo --input /var/log/dpkg.log --output drained.log
  linering demo --policy overwrite --ring-lines 64";

/// What the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Forked processes
    Procs,
    /// Threads of one process
    Threads,
}

/// Runs the demo to its end.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let content = Content::of(args)?;
    let mut output = Output::open(args.output.as_deref(), &content)?;
    let ring = make_ring(args, content.longest())?;

    let began = Instant::now();
    let mut drained = None;
    let drain = |serials, reader: &mut Reader| {
        let mut verifier = Verifier::new(&content, serials, args.policy != WhenFull::Block);
        drain(reader, &mut verifier, &mut output, args.workers == 1)?;
        drained = Some((verifier, began.elapsed()));
        Ok(())
    };
    let outcome = match args.mode {
        Mode::Procs => crew::forked(&ring, &content, args.workers, drain),
        Mode::Threads => crew::threaded(&ring, &content, args.workers, drain),
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
