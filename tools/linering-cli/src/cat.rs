//! `linering cat`: what is in a ring, in use or not. Nothing in it is changed.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use linering::{AttachError, Item, Kind, LineRing, Observer, RingName, turn_sigbus_into_errors};

use crate::failure::Failure;
use crate::item_printer::ItemPrinter;
use crate::output::LineForm;
use crate::wanted::Wanted;

/// Show what is in a ring: of one that is in use, or that was left by a crash
///
/// The lines that were not drained yet, and before them as many drained ones as the ring still
/// has, oldest first. Losses and ends are told on the standard error, in their place. Nothing in
/// the ring is changed, and no process that uses it waits.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,

    /// The last N lines alone
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,

    #[command(flatten)]
    wanted: Wanted,

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

/// How long a ring may take to be made.
const BEING_MADE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  linering run --name builds -n 4 -- make     and meanwhile:  linering cat builds
  linering run --file ring -- worker          and after a crash:  linering cat -o short ring
  linering cat -n 10 --worker 3 ring

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// Shows what is in the ring.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot read {}: {error}", args.ring))
    };
    turn_sigbus_into_errors().map_err(|error| failed(&error))?;
    let observer = args.ring.observer().map_err(|error| failed(&error))?;
    let mut items = observer.snapshot().map_err(|error| failed(&error))?;
    items.retain(|item| args.wanted.is_wanted(item));
    if let Some(most) = args.lines {
        keep_last(&mut items, most);
    }
    let mut printer = ItemPrinter::new(args.format.clone(), args.color)?;
    for item in &items {
        printer.item(item);
        if !printer.is_alive() {
            break;
        }
    }
    Ok(printer.finish())
}

/// Keeps the last `most` lines, and what stands among or behind them.
pub fn keep_last(items: &mut Vec<Item<'static>>, most: usize) {
    let mut left = most;
    let first = items.iter_mut().rposition(|item| {
        let Item::Line(line) = item else { return left == 0 };
        let lines = if line.kind == Kind::Packed { line.lines().count() } else { 1 };
        let is_over = lines > left;
        if is_over && left > 0 {
            let skipped: usize = line.lines().take(lines - left).map(|text| text.len() + 1).sum();
            line.bytes.to_mut().drain(..skipped);
            left = 0;
            return false;
        }
        left = left.saturating_sub(lines);
        is_over
    });
    items.drain(..first.map_or(0, |first| first + 1));
}

/// The one ring that a command is for.
#[derive(Debug, clap::Args)]
pub struct OneRing {
    /// A ring: the path of its file, or its name
    ///
    /// What has a slash in it is a path, and so is what is there as a file.
    #[arg(value_name = "RING")]
    pub name: String,

    #[command(flatten)]
    whose: Whose,
}

impl OneRing {
    /// Opens it to look at it.
    pub fn observer(&self) -> Result<Observer, AttachError> {
        self.whose.observer(&self.name)
    }

    /// Opens it to take part in it.
    pub fn open(&self) -> Result<LineRing, AttachError> {
        once_finished(|| {
            if is_path(&self.name) {
                LineRing::open_file(&self.name)
            } else {
                LineRing::open_named(self.whose.name(&self.name))
            }
        })
    }
}

/// As a message names it.
impl fmt::Display for OneRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Whose rings a name may lead to.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Whose {
    /// Take a named ring of any user's, and not of yours alone
    #[arg(long)]
    pub any_user: bool,
}

impl Whose {
    pub fn name(self, name: &str) -> RingName<'_> {
        let own = RingName::new(name);
        if self.any_user { own.of_any_user() } else { own }
    }

    /// Opens a ring to look at it, once it is finished.
    pub fn observer(self, ring: &str) -> Result<Observer, AttachError> {
        once_finished(|| {
            if is_path(ring) {
                Observer::open_file(ring)
            } else {
                Observer::open_named(self.name(ring))
            }
        })
    }
}

/// Whether there is nothing of that name, not even what may become a ring.
pub fn is_absent(error: &AttachError) -> bool {
    match error {
        AttachError::System(system) => system.error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

/// What `open` gives, unless that is a ring that another process is about to finish.
fn once_finished<R>(open: impl Fn() -> Result<R, AttachError>) -> Result<R, AttachError> {
    let began = Instant::now();
    loop {
        match open() {
            Err(error)
                if error.is_missing() && !is_absent(&error) && began.elapsed() < BEING_MADE =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// Whether this names a ring in a file, and not one in shared memory.
fn is_path(ring: &str) -> bool {
    ring.contains('/') || Path::new(ring).exists()
}
