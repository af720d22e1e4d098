//! `linering gc`: names in shared memory that a kill has left.

use std::fs;
use std::process::ExitCode;

use linering::{AttachError, LineRing, SystemError};

use crate::cat::Whose;
use crate::failure::{Failure, note};

/// Where the system keeps shared memory that has a name.
pub const FOLDER: &str = "/dev/shm";

/// List rings that have a name in shared memory, and remove those that no process uses
///
/// A ring of which the process that made it was killed keeps its name, and its memory. One that
/// a process uses or reads is never removed; nor is anything that is no ring.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    whose: Whose,
}

const EXAMPLES: &str = "\
Examples:
  linering gc --dry-run
  linering gc

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// Removes the rings that no process has open any more.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let refused = |error| Failure::Failed(format!("cannot list {FOLDER}: {error}"));
    let mut failed = false;
    for entry in fs::read_dir(FOLDER).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        // A name that is no UTF-8 is not one of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let bytes = entry.metadata().map_or(0, |data| data.len());
        let gone = if args.dry_run {
            LineRing::is_abandoned(args.whose.name(&name))
        } else {
            LineRing::remove_named(args.whose.name(&name))
        };
        // Any user can make a file there, of any name: no terminal obeys it.
        let name = name.replace(char::is_control, "\u{fffd}");
        match gone {
            Ok(true) if args.dry_run => println!("{name}: {bytes} bytes, no process lives there"),
            Ok(true) => println!("{name}: {bytes} bytes, no process lived there, removed"),
            Ok(false) => println!("{name}: {bytes} bytes, in use"),
            // Another user's, gone meanwhile, or no ring at all.
            Err(AttachError::System(SystemError {
                doing: "take the name away", error, ..
            })) => {
                note(format_args!("cannot remove {name}: {error}"));
                failed = true;
            }
            Err(_) => {}
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
