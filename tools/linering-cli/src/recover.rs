//! `linering recover`: takes over a ring whose reader is gone, and drains it.

use std::process::ExitCode;
use std::time::Duration;

use linering::turn_sigbus_into_errors;

use crate::cat::OneRing;
use crate::failure::Failure;
use crate::item_printer::ItemPrinter;
use crate::output::LineForm;

/// Take over a ring that was left by a crash, and drain it
///
/// Prints the lines that were not drained, also those that killed writers had begun, and says how
/// each writer ended. Lines are taken out of the ring once they were printed. A line whose checksum
/// does not agree is reported as damaged. While writers live, this goes on until they have ended.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,

    /// How lines are printed, or a template: '{time} {label} {text}'
    ///
    /// A template may have {time}, {worker} (its number), {label}, {stream},
    /// {level}, {position} and {text}; {{ stands for a brace.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "cat")]
    #[arg(value_parser = LineForm::parser())]
    format: LineForm,

    /// Colour: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    color: clap::ColorChoice,
}

const EXAMPLES: &str = "\
Examples:
  linering recover /var/log/rings/web            what a crash has left in a file
  linering recover -o json builds >> builds.log

Exit code: 0 when all is well, 1 for a failure (the ring has a reader already, say), 2 for wrong
usage.";

/// How long it waits for the next line while writers live, before it checks whether all have ended.
const PERIOD: Duration = Duration::from_millis(100);

/// Drains the ring.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |doing: &str, error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot {doing} {}: {error}", args.ring))
    };
    turn_sigbus_into_errors().map_err(|error| failed("watch", &error))?;
    let is_used = args.ring.observer().map_err(|error| failed("recover", &error))?.is_used();
    let ring = args.ring.open().map_err(|error| failed("recover", &error))?;
    let mut reader = ring.reader().map_err(|error| failed("recover", &error))?;

    let mut printer = ItemPrinter::new(args.format.clone(), args.color)?;
    loop {
        match reader.wait_timeout(PERIOD) {
            Ok(true) => {}
            Err(error) => return Err(failed("drain", &error)),
            // A seat that was not opened never will be, where no other process lives.
            Ok(false) if reader.is_idle() || !is_used && ring.counts().live == 0 => break,
            Ok(false) => continue,
        }
        let batch = reader.batch().map_err(|error| failed("drain", &error))?;
        for item in batch.iter() {
            printer.item(&item);
        }
        if !printer.flush() {
            // What was not printed is not committed, and stays in the ring.
            break;
        }
        batch.commit();
    }
    Ok(printer.finish())
}
