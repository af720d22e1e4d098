//! `linering run`: copies of a command, every line of theirs whole and in one order. `docs/run.md`
//! has the design.

mod losses;
mod printer;
mod progress;
mod pump;
mod spool;
mod summary;
mod workers;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use linering::{
    CreateError, Item, LineRing, Options, RotatingFile, Timestamps, turn_sigbus_into_errors,
};
use signal_hook::consts::SIGPIPE;

use crate::failure::{Failure, note};
use crate::number::{bytes, within};
use crate::output::{Format, Look, Sink, Template, is_colored, own};
use crate::when_full::WhenFull;
use losses::Losses;
use printer::{Printer, Style};
use progress::Progress;
use pump::Reads;
use summary::Summary;
use workers::Workers;

/// Run copies of a command, every line of their output whole and in one order
///
/// The copies' standard output goes to standard output and their standard error to standard error,
/// line by line: lines of two of them never mix. Each finds its number, from 0, in the variable
/// LINERING_WORKER and how many there are in LINERING_WORKERS. A program that links linering finds
/// a seat in LINERING_SEAT, and may write into the ring straight, without a system call. One copy
/// reads the standard input; several read nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Copies, 1 to 1000
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = within(1, MOST_WORKERS))]
    workers: usize,

    /// Run each line of this file as a command of its own, with sh -c, instead of copies of one
    ///
    /// All at the same time. Empty lines and those that begin with # are left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "command"])]
    commands: Option<PathBuf>,

    /// End the others as soon as one has failed
    #[arg(long)]
    halt: bool,

    /// Begin each line with its worker: "[0] ", or what TEMPLATE says
    ///
    /// {worker} stands for the worker's number, {stream} for stdout or stderr, {pid} for its
    /// process, {{ for a brace.
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "[{worker}] ", value_parser = Template::parse)]
    tag: Option<Template>,

    /// Begin each line with the time of its first byte
    #[arg(long)]
    timestamps: bool,

    /// How lines are printed
    #[arg(short = 'o', long, value_enum, default_value = "cat")]
    format: Format,

    /// Each worker's output together, at its end
    #[arg(long)]
    group: bool,

    /// Colour tags and times: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    color: clap::ColorChoice,

    /// Say on the terminal how far it is
    #[arg(long)]
    progress: bool,

    /// Append everything to this file too, in the same format
    ///
    /// Goes on when nobody reads standard output any more.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Begin a new output file when it has SIZE bytes; the old one becomes FILE.1
    ///
    /// K, M and G stand for 1024, 1024² and 1024³ bytes. Lines are never divided.
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = bytes)]
    rotate: Option<u64>,

    /// Old output files that stay, 1 to 1000000
    #[arg(long, value_name = "N", default_value = "5", requires = "rotate", value_parser = within(1, 1_000_000))]
    keep: usize,

    /// What is done when the ring is full
    ///
    /// "block" makes the workers wait, and loses nothing. With the others, lost lines are
    /// reported.
    #[arg(long, value_enum, default_value = "block")]
    on_full: WhenFull,

    /// A lost or damaged line is a failure
    #[arg(long)]
    strict: bool,

    /// Say in the end what became of each copy; done anyway if one failed
    #[arg(long)]
    summary: bool,

    /// Lines (or parts of long lines) that the ring holds
    #[arg(long, value_name = "N", default_value = "2048")]
    lines: usize,

    /// Bytes of one slot of the ring; a longer line takes several
    #[arg(long, value_name = "N", default_value = "2048")]
    line_bytes: usize,

    /// Keep the ring in this new file, which stays
    #[arg(long, value_name = "PATH", conflicts_with = "name")]
    file: Option<PathBuf>,

    /// Give the ring this name in shared memory, while the command runs
    #[arg(long)]
    name: Option<String>,

    /// Bytes of the longest line that is kept whole; a longer one comes in pieces
    ///
    /// 4194304, or less with more than 2 workers, so that all together take no more than 16 MiB
    /// (or 128 KiB each).
    #[arg(long, value_name = "BYTES", value_parser = within(1, 1 << 30))]
    max_line: Option<usize>,

    /// The command, and its arguments
    #[arg(required_unless_present = "commands", trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  linering run -n 4 --tag -- sh -c 'echo worker $LINERING_WORKER of $LINERING_WORKERS'
  seq 1000000 | linering run -- cat

Exit code: how many copies failed (100 at most); 2 for wrong usage, 127 if the command cannot be started, 125 if something
else went wrong.";

/// Bytes that all long lines together take, if nobody says how long one may be.
const LONG_LINES: usize = 16 << 20;

/// Each copy has two mirrors, and may open one of its own.
const MOST_WORKERS: usize = 1000;

/// Runs the copies to their end.
pub fn run(args: &Args) -> ExitCode {
    match try_run(args) {
        Ok(code) => code,
        Err(failure) => {
            note(&failure);
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                Failure::NotStarted(_) => ExitCode::from(127),
                Failure::Failed(_) | Failure::Unread => ExitCode::from(125),
            }
        }
    }
}

fn refused(doing: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Failed(format!("cannot {doing}: {error}"))
}

fn try_run(args: &Args) -> Result<ExitCode, Failure> {
    let commands = args.commands()?;
    // Before anything is started.
    turn_sigbus_into_errors().map_err(refused("watch for signals"))?;
    let sinks = args.sinks()?;
    let ring = make_ring(args, commands.len())?;
    let mut reader =
        ring.reader().map_err(|error| Failure::Failed(format!("cannot read the ring: {error}")))?;
    // The processors are the workers'.
    reader.set_spinning(false);

    let mut workers = Workers::default();
    // Before they are started: a signal between would leave them without us.
    workers.watch_signals().map_err(refused("watch for signals"))?;
    let mut summary = Summary::new(commands.len());
    let started = workers.start(&ring, &commands);
    let pipes = started.inspect_err(|_| {
        if let Some(path) = &args.file {
            // Ours, and useless: nobody has written into it.
            let _ = std::fs::remove_file(path);
        }
    })?;
    if args.halt {
        workers.halt();
    }
    let pump = pump::start(&ring, pipes, args.reads(commands.len()))?;
    let closer = pump.closer();
    workers.close_at_end(closer.clone());
    let progress = Progress::new(args.progress, commands.len());
    let mut printer =
        Printer::new(args.style(commands.len()), sinks, &workers.processes(), progress);
    let mut losses = Losses::default();

    loop {
        // Before it waits: everything is shown that there is.
        let mut waited = reader.wait_timeout(Duration::ZERO);
        if matches!(waited, Ok(false)) {
            printer.flush();
            if let Some(due) = losses.due_in() {
                waited = reader.wait_timeout(due);
                losses.tell_if_due(|sentence| printer.aside(|| note(sentence)));
            }
        }
        match waited {
            Ok(_) => {}
            Err(error) => return Err(Failure::Failed(format!("cannot drain the ring: {error}"))),
        }
        if printer.is_unread() {
            closer.close();
        }
        let batch = match reader.batch() {
            Ok(batch) => batch,
            Err(error) => return Err(Failure::Failed(format!("cannot drain the ring: {error}"))),
        };
        if batch.is_empty() {
            break;
        }
        for item in batch.iter() {
            match &item {
                Item::Line(line) => {
                    let worker = worker_of(&line.label);
                    printer.line(worker, line);
                    summary.line(worker, line);
                    if line.truncated {
                        losses.cut(worker);
                    }
                    if line.damaged {
                        losses.damaged(worker);
                    }
                }
                Item::Lost(lost) => {
                    let worker = worker_of(&lost.label);
                    losses.add(worker, lost);
                    summary.lost(worker, lost.lines);
                }
                Item::Ended(ended) => {
                    let worker = worker_of(&ended.label);
                    printer.ended(worker);
                    summary.ended(worker);
                }
                other => {
                    summary.skipped();
                    printer.aside(|| note(other));
                }
            }
        }
        losses.tell_if_due(|sentence| printer.aside(|| note(sentence)));
        // Who takes over a ring that outlives us must find what we have not written.
        if args.outlives() {
            printer.flush();
        }
        batch.commit();
    }
    printer.finish();
    losses.tell(note);
    let is_whole = pump.join();
    let statuses = workers.wait();
    // Ending since nobody reads the output, or since we said so, is no failure.
    let is_unread = printer.is_unread();
    let has_failed = |worker: usize, status: Option<ExitStatus>| {
        let of_pipe = is_unread && status.is_some_and(|status| status.signal() == Some(SIGPIPE));
        !of_pipe && !workers.was_halted(worker) && status.is_none_or(|status| !status.success())
    };
    let failed: Vec<bool> =
        statuses.iter().enumerate().map(|(worker, status)| has_failed(worker, *status)).collect();
    let code = verdict(args, &statuses, &failed, &summary);
    Ok(if printer.has_failed() || !is_whole { ExitCode::from(125) } else { code })
}

/// A mirror's label is its worker's number.
fn worker_of(label: &str) -> Option<usize> {
    label.parse().ok()
}

impl Args {
    /// How the pump reads. A ring that overwrites holds a line of half its bytes at most.
    fn reads(&self, workers: usize) -> Reads {
        let half = self.lines.saturating_mul(self.line_bytes.saturating_sub(32)) / 2;
        let most = if self.on_full == WhenFull::Overwrite { half.max(2) } else { usize::MAX };
        let at_once = (most / 2).min(1 << 16);
        // Where lines are counted or numbered each is on its own.
        let packed = self.on_full == WhenFull::Block && self.format != Format::Json;
        let max_line =
            self.max_line.unwrap_or((LONG_LINES / (2 * workers)).clamp(1 << 17, 1 << 22));
        Reads { at_once, cut: max_line.min(most - at_once), packed }
    }

    /// What each worker runs.
    fn commands(&self) -> Result<Vec<Vec<OsString>>, Failure> {
        let Some(path) = &self.commands else {
            if self.command[0].is_empty() {
                return Err(Failure::Usage(
                    "found an empty command, expected a program".to_owned(),
                ));
            }
            return Ok(vec![self.command.clone(); self.workers]);
        };
        let text = std::fs::read(path).map_err(|error| Failure::of_path("read", path, &error))?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        let command = |line| vec!["sh".into(), "-c".into(), OsStr::from_bytes(line).to_owned()];
        let commands: Vec<_> = lines.map(command).collect();
        if (1..=MOST_WORKERS).contains(&commands.len()) {
            return Ok(commands);
        }
        let (path, found) = (path.display(), commands.len());
        Err(Failure::Usage(format!("{path} has {found} commands, expected 1 to {MOST_WORKERS}")))
    }

    fn style(&self, workers: usize) -> Style {
        let tag =
            self.tag.clone().or_else(|| (self.format == Format::Short).then(Template::of_worker));
        Style {
            tag,
            alone: workers == 1,
            group: self.group,
            merged: is_one_file(&io::stdout(), &io::stderr()),
        }
    }

    /// Stdout, stderr, and the file if there is one.
    fn sinks(&self) -> Result<Vec<Sink>, Failure> {
        let plain = Look {
            format: self.format,
            timestamps: self.timestamps || self.format == Format::Short,
            color: false,
            caret: false,
        };
        let (out, err) = (io::stdout(), io::stderr());
        let out_look =
            Look { color: is_colored(self.color, &out), caret: out.is_terminal(), ..plain };
        let err_look =
            Look { color: is_colored(self.color, &err), caret: err.is_terminal(), ..plain };
        let mut sinks = vec![
            Sink::new("the standard output", out_look, own(&out)?),
            Sink::new("the standard error", err_look, own(&err)?),
        ];
        if let Some(path) = &self.output {
            let limit = self.rotate.unwrap_or(u64::MAX);
            let file = RotatingFile::open(path, limit, self.keep as u32);
            let file = file.map_err(|error| Failure::of_path("write", path, &error))?;
            sinks.push(Sink::new(path.display().to_string(), plain, file));
        }
        Ok(sinks)
    }

    /// Whether the ring can be taken over when this process is gone.
    fn outlives(&self) -> bool {
        self.file.is_some() || self.name.is_some()
    }
}

/// Whether two descriptors write to one place.
fn is_one_file(one: &impl AsFd, other: &impl AsFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

fn make_ring(args: &Args, workers: usize) -> Result<LineRing, Failure> {
    // The pump cuts before a line is too long, by a read at most.
    let Reads { at_once, cut, .. } = args.reads(workers);
    let max_line = cut + at_once;
    let is_timed = args.timestamps || args.format != Format::Cat;
    let options = Options::new()
        .lines(args.lines)
        .line_bytes(args.line_bytes)
        .policy(args.on_full.into())
        .timestamps(if is_timed { Timestamps::Coarse } else { Timestamps::Off })
        .mirrors(3 * workers)
        .max_line(max_line)
        .assembly_budget(2 * workers.saturating_mul(max_line));
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

/// Says what became of the copies, if asked for or if one failed, and how many did.
fn verdict(
    args: &Args,
    statuses: &[Option<ExitStatus>],
    failed: &[bool],
    summary: &Summary,
) -> ExitCode {
    for (worker, status) in statuses.iter().enumerate().filter(|(worker, _)| failed[*worker]) {
        if status.is_none_or(|status| status.signal().is_some()) {
            note(format_args!("worker {worker} was {}", summary::how(*status)));
        }
    }
    let mut failures = failed.iter().filter(|failed| **failed).count();
    if args.summary || failures > 0 {
        // If nobody can be told there, nobody can be told.
        let _ = io::stderr().write_all(summary.table(statuses).as_bytes());
    }
    if args.strict && summary.any_lost() {
        failures += 1;
    }
    ExitCode::from(failures.min(100) as u8)
}
