//! `linering wait`: until something happens in a ring.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use linering::turn_sigbus_into_errors;
use linering::{End, Followed, Item, Observer, Statistics, WriterState};
use regex::bytes::Regex;

use crate::cat::{OneRing, is_absent};
use crate::failure::{Failure, note};
use crate::item_printer::ItemPrinter;
use crate::moment::expression;
use crate::output::{Format, LineForm};
use crate::tail::{has_come, pause};
use crate::value_parser::duration;

/// Wait until something happens in a ring: for scripts
///
/// What has happened already counts, as far as the ring still has it. A line that was waited for is
/// printed. Waits for the ring to be made, too. Changes nothing in it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,

    /// What for: over, eof, death, error, or line=REGEX; of several, the first
    ///
    /// over: no process writes or reads any more, and no seat waits. eof, death, error: a worker
    /// ended so. line=REGEX: a line in which the expression is found; its case counts if it has a
    /// capital letter.
    #[arg(long = "for", value_name = "WHAT", default_value = "over")]
    events: Vec<Event>,

    /// At most so long: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  linering wait web --for 'line=listening on port' --timeout 30s && run-the-tests
  linering wait jobs --for death --for error && alert
  linering wait jobs                             until all of it is over

Exit code: 0 when it happened, 1 for a failure, 2 for wrong usage, 3 when the ring was over and it
had not happened, 124 when the time was up.";

/// The ring was over, and it had not happened.
const OVER: u8 = 3;
/// As timeout's.
const TIME_IS_UP: u8 = 124;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
enum Event {
    Over,
    Eof,
    Death,
    Error,
    Line(Regex),
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "over" => Event::Over,
            "eof" => Event::Eof,
            "death" => Event::Death,
            "error" => Event::Error,
            _ => match text.strip_prefix("line=") {
                Some(regex) => Event::Line(expression(regex)?),
                None => return Err("expected over, eof, death, error or line=REGEX".to_owned()),
            },
        })
    }
}

/// Waits.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot read {}: {error}", args.ring))
    };
    turn_sigbus_into_errors().map_err(|error| failed(&error))?;
    let began = Instant::now();
    let is_late = || args.timeout.is_some_and(|timeout| began.elapsed() >= timeout);
    let mut has_said = false;
    let observer = loop {
        match args.ring.observer() {
            Ok(observer) => break observer,
            Err(error) if !is_absent(&error) => return Err(failed(&error)),
            Err(_) if is_late() => return Ok(args.time_is_up()),
            Err(_) if !has_said && began.elapsed() > Duration::from_secs(1) => {
                note(format_args!("waits for a ring {}, which is not there yet", args.ring));
                has_said = true;
            }
            Err(_) => pause(PERIOD),
        }
    };
    let mut follow = observer.follow();
    // Where it may not, it looks by itself.
    follow.ask_to_be_woken();
    loop {
        // Before the look: what came last is seen.
        let is_used = observer.is_used_now();
        let found = observer.statistics().map_err(|error| failed(&error))?;
        loop {
            let items = follow.next_items().map_err(|error| failed(&error))?;
            let is_all = items.is_empty();
            if args.has_happened(&items)? {
                return Ok(ExitCode::SUCCESS);
            }
            if is_all || has_come(&follow, found.next) {
                break;
            }
        }
        if args.has_ended(&found) {
            return Ok(ExitCode::SUCCESS);
        }
        let (live, seats) = (found.counts.live, found.counts.seats);
        if !is_used || live == 0 && seats == 0 && !found.has_reader && has_begun(&found) {
            let is_wanted = args.events.iter().any(|event| matches!(event, Event::Over));
            return Ok(match is_wanted || args.has_happened_after_all(&observer)? {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(OVER),
            });
        }
        if is_late() {
            return Ok(args.time_is_up());
        }
        follow.wait(PERIOD);
    }
}

/// Whether a mirror was ever open.
fn has_begun(found: &Statistics) -> bool {
    let counts = &found.counts;
    counts.live + counts.eofs + counts.errors + counts.deaths > 0
}

impl Args {
    fn time_is_up(&self) -> ExitCode {
        ExitCode::from(TIME_IS_UP)
    }

    /// Whether one of these is what was waited for; a line is printed.
    fn has_happened(&self, items: &[Followed]) -> Result<bool, Failure> {
        for item in items {
            let Followed::Item(item) = item else { continue };
            let is_event = |event: &Event| match (event, item) {
                (Event::Line(regex), Item::Line(line)) => regex.is_match(&line.bytes),
                (Event::Eof, Item::Ended(ended)) => ended.end == End::Eof,
                (Event::Error, Item::Ended(ended)) => ended.end == End::Error,
                (Event::Death, Item::Ended(ended)) => ended.end == End::Died,
                _ => false,
            };
            if self.events.iter().any(is_event) {
                if let Item::Line(_) = item {
                    let mut printer =
                        ItemPrinter::new(LineForm::Format(Format::Cat), clap::ColorChoice::Auto)?;
                    printer.item(item);
                    printer.finish();
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a worker ended so, whatever reader has accepted that.
    fn has_ended(&self, found: &Statistics) -> bool {
        let is_gone = || found.writers.iter().any(|writer| writer.state == WriterState::Gone);
        self.events.iter().any(|event| match event {
            Event::Eof => found.counts.eofs > 0,
            Event::Error => found.counts.errors > 0,
            Event::Death => found.counts.deaths > 0 || is_gone(),
            Event::Over | Event::Line(_) => false,
        })
    }

    /// The same of what killed writers left, in a ring that no process uses any more.
    fn has_happened_after_all(&self, observer: &Observer) -> Result<bool, Failure> {
        let again = if observer.is_used() { self.ring.observer().ok() } else { None };
        match again.filter(|again| !again.is_used()).and_then(|again| again.snapshot().ok()) {
            Some(items) => {
                let items: Vec<_> = items.into_iter().map(Followed::Item).collect();
                self.has_happened(&items)
            }
            None => Ok(false),
        }
    }
}
