//! `linering verify`: whether what is in a ring is what its writers put there. Nothing in it is
//! changed.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use linering::{Item, turn_sigbus_into_errors};

use crate::cat::OneRing;
use crate::failure::Failure;
use crate::item_printer::name_of;

/// Say whether what is in a ring is what its writers put there
///
/// Looks at each line that is still there, drained or not: in a ring in use, in one that a crash or
/// a loss of power has left, or in a copy of either; of a dead one, at the last words too. A line
/// is damaged if its checksum does not agree. A position is damaged if what stands there is no part
/// of any line. Nothing in the ring is changed, and no process that uses it waits.
///
/// Rings in files have checksums, others where it was asked for. Without them it is known of a line
/// that it stands in its place, and not whether its bytes are what was written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,
}

const EXAMPLES: &str = "\
Examples:
  linering verify /var/log/rings/web
  linering verify copy-of-ring && linering recover copy-of-ring

Exit code: 0 when nothing is damaged, 1 when something is or the ring cannot be read, 2 for wrong
usage.";

/// How many damaged lines, and how many positions, are named.
const MOST_NAMED: usize = 5;

/// What was found.
#[derive(Debug, Default)]
struct Found {
    sound: u64,
    damaged: Named,
    skipped: Named,
}

/// How many, and the first few of them.
#[derive(Debug, Default)]
struct Named {
    count: u64,
    first: Vec<String>,
}

impl Named {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push(name());
        }
    }

    /// `2 lines damaged (a, b)`.
    fn describe(&self, what: &str, to: &mut String) {
        let Self { count, first } = self;
        // Into a string: cannot fail.
        let _ = write!(to, ", {count} {what}{}", if *count == 1 { "" } else { "s" });
        let _ = write!(to, " damaged");
        if !first.is_empty() {
            let more = if *count > first.len() as u64 { ", ..." } else { "" };
            let _ = write!(to, " ({}{more})", first.join(", "));
        }
    }
}

impl Found {
    fn of(items: &[Item<'_>]) -> Self {
        let mut found = Self::default();
        for item in items {
            match item {
                Item::Line(line) if line.damaged => found.damaged.add(|| {
                    format!(
                        "position {} of worker {}",
                        line.position,
                        name_of((line.writer_id, &line.label))
                    )
                }),
                Item::Line(_) => found.sound += 1,
                Item::Damaged { position } => found.skipped.add(|| position.to_string()),
                _ => {}
            }
        }
        found
    }

    /// In one line.
    fn describe(&self, has_checksums: bool) -> String {
        let lines = if self.sound == 1 { "line" } else { "lines" };
        let mut text = match has_checksums {
            true => format!("{} {lines} sound", self.sound),
            false => format!("no checksums: {} {lines} in place", self.sound),
        };
        if has_checksums {
            self.damaged.describe("line", &mut text);
        }
        self.skipped.describe("position", &mut text);
        text
    }

    fn is_sound(&self) -> bool {
        self.damaged.count + self.skipped.count == 0
    }
}

/// Looks at the ring, and says what was found.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |doing: &str, error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot {doing} {}: {error}", args.ring))
    };
    turn_sigbus_into_errors().map_err(|error| failed("watch", &error))?;
    let observer = args.ring.observer().map_err(|error| failed("verify", &error))?;
    let items = observer.snapshot().map_err(|error| failed("verify", &error))?;
    let found = Found::of(&items);
    writeln!(io::stdout(), "{}: {}", args.ring, found.describe(observer.has_checksums()))
        .map_err(|error| Failure::of_write("the standard output", &error))?;
    Ok(if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
