//! `linering run`: copies of a command, every line of theirs whole and in one order. `docs/run.md` has the design.

mod printer;
mod pump;
mod template;
mod workers;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use linering::{Item, LineRing, Options, ReadError};

use crate::failure::{Failure, note};
use crate::number::within;
use printer::Printer;
use template::Template;
use workers::Workers;

/// Run copies of a command, every line of their output whole and in one order
///
/// The copies' standard output goes to standard output and their standard error to standard error, line by line: lines of
/// two of them never mix. Each finds its number, from 0, in the variable LINERING_WORKER and how many there are in
/// LINERING_WORKERS. One copy reads the standard input; several read nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Copies, 1 to 2000
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = within(1, MOST_WORKERS))]
    workers: usize,

    /// Begin each line with its worker: "[0] ", or what TEMPLATE says
    ///
    /// {worker} stands for the worker's number, {stream} for stdout or stderr, {pid} for its process, {{ for a brace.
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "[{worker}] ", value_parser = Template::parse)]
    tag: Option<Template>,

    /// Bytes of the longest line that is kept whole; a longer one comes in pieces
    #[arg(long, value_name = "BYTES", default_value = "4194304", value_parser = within(1, 1 << 30))]
    max_line: usize,

    /// The command, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  linering run -n 4 --tag -- sh -c 'echo worker $LINERING_WORKER of $LINERING_WORKERS'
  seq 1000000 | linering run -- cat

Exit code: how many copies failed (100 at most); 2 for wrong usage, 127 if the command cannot be started, 125 if something
else went wrong.";

/// Each copy has two mirrors.
const MOST_WORKERS: usize = 2000;

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
    // The pump cuts before a line is too long, by a read at most.
    let max_line = args.max_line + pump::READ;
    let options = Options::new().mirrors(2 * args.workers).max_line(max_line);
    let options = options.assembly_budget(2 * args.workers.saturating_mul(max_line)).fold_crlf(false);
    let ring = LineRing::new(options);
    let ring = ring.map_err(|error| Failure::Failed(format!("cannot make the ring: {error}")))?;
    let mut reader =
        ring.reader().map_err(|error| Failure::Failed(format!("cannot read the ring: {error}")))?;

    let mut workers = Workers::default();
    // Before they are started: a signal between would leave them without us.
    workers.pass_signals_on().map_err(refused("watch for signals"))?;
    let pipes = workers.start(args.workers, &args.command)?;
    let mut pump = pump::start(&ring, pipes, args.max_line)?;
    let mut printer = Printer::new(args.tag.as_ref(), workers.processes(), args.workers == 1);

    loop {
        let batch = match reader.batch() {
            Ok(batch) => batch,
            Err(ReadError::Interrupted) => continue,
            Err(error) => return Err(Failure::Failed(format!("cannot drain the ring: {error}"))),
        };
        if batch.is_empty() {
            break;
        }
        for item in batch.iter() {
            match &item {
                Item::Line(line) => printer.line(line),
                Item::Ended(_) => {}
                other => note(other),
            }
        }
        // Few items: that was all there is for now.
        if batch.len() < 16 {
            printer.flush();
        }
        batch.commit();
        if printer.is_unread() {
            pump.close();
        }
    }
    printer.finish();
    pump.join();
    let failed = workers.wait(printer.is_unread());
    printer.result().map_err(|error| Failure::of_write("the output", &error))?;
    Ok(ExitCode::from(failed.min(100) as u8))
}
