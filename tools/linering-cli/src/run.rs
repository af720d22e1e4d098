//! `linering run`: copies of a command, every line of theirs whole and in one order. `docs/run.md`
//! has the design.

mod args;
mod losses;
mod printer;
mod progress;
mod pump;
mod spool;
mod summary;
mod workers;

use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use linering::{CreateError, Item, LineRing, Options, Timestamps, turn_sigbus_into_errors};
use signal_hook::consts::SIGPIPE;

use crate::failure::{Failure, note};
use crate::output::Format;
pub use args::Args;
use losses::Losses;
use printer::Printer;
use progress::Progress;
use pump::Reads;
use summary::Summary;
use workers::Workers;

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
            // We made it, and it is of no use: it is empty.
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
        // Before it waits, everything is printed that there is.
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
        // A process that takes over a ring that outlives us must find what we have not written.
        if args.outlives() {
            printer.flush();
        }
        batch.commit();
    }
    printer.finish();
    losses.tell(note);
    let is_whole = pump.join();
    let statuses = workers.wait();
    // A worker that ends since its output has no reader, or since we told it to, has not failed.
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
            match status {
                Some(_) => note(format_args!("worker {worker} was {}", summary::how(*status))),
                None => note(format_args!("worker {worker} ended, how is unknown")),
            }
        }
    }
    let mut failures = failed.iter().filter(|failed| **failed).count();
    if args.summary || failures > 0 {
        // A failure to write it cannot be reported anywhere.
        let _ = io::stderr().write_all(summary.table(statuses).as_bytes());
    }
    if args.strict && summary.any_lost() {
        failures += 1;
    }
    ExitCode::from(failures.min(100) as u8)
}
