//! `linering tail`: the last lines of rings, and those that come.

use std::collections::HashSet;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgAction;
use linering::{Follow, Followed, Item, Observer, turn_sigbus_into_errors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cat::{Whose, keep_last};
use crate::failure::Failure;
use crate::item_printer::ItemPrinter;
use crate::output::LineForm;
use crate::wanted::Wanted;

/// Show the last lines of rings, and with -f those that come
///
/// Changes nothing in a ring and keeps no writer waiting; lines are shown whether a reader has
/// taken them or not. It looks a hundred times a second while lines come, and wakes with the
/// ring's reader where that sleeps. At each look it takes up to 4096 lines of a ring; where more
/// come meanwhile it samples, and takes 1024. How many have passed by is told in their place, on
/// the standard error, as losses and ends are. Ends with the last ring that a process uses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rings: the paths of their files, or their names
    #[arg(value_name = "RING", required = true)]
    rings: Vec<String>,

    #[command(flatten)]
    whose: Whose,

    /// Go on with what comes, until no process uses the rings any more
    #[arg(short, long)]
    follow: bool,

    /// The same, and wait for a ring that is not there, or is made anew
    #[arg(short = 'F', long = "follow-name", action = ArgAction::SetTrue)]
    follow_name: bool,

    /// How many of the lines that are there already
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,

    #[command(flatten)]
    wanted: Wanted,

    /// How lines are printed, or a template: '{time} {label} {text}'
    ///
    /// A template may have {time}, {ring} (of several), {worker} (its number), {label}, {stream},
    /// {level}, {position} and {text}; {{ stands for a brace.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "short")]
    #[arg(value_parser = LineForm::parser())]
    format: LineForm,

    /// Colour: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    color: clap::ColorChoice,
}

const EXAMPLES: &str = "\
Examples:
  linering tail -f builds                        what comes into the ring of that name
  linering tail -n 100 --level warn ring         the last hundred warnings and errors of a file
  linering tail -f -g timeout --exclude retry web jobs
  linering tail -f -o '{label}: {text}' builds
  linering tail -F --since 5m -o json web        also after web has started anew

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// The longest time until it looks whether rings are used still, or came, and its output is read.
const PERIOD: Duration = Duration::from_millis(125);

/// Lines that one look takes, and how many are looked at where more come.
const AT_ONCE: u64 = 4096;
const SAMPLED: u64 = 1024;

/// A ring that is followed.
struct Source<'a> {
    name: &'a str,
    /// `None` while there is no ring.
    ring: Option<(Observer, Follow)>,
    /// The identity of the ring that was there last.
    last: Option<u128>,
    /// The position after the last line of it that was found, and the writers whose ends were.
    next: Option<u64>,
    ended: HashSet<u32>,
    /// More came between two looks than one look takes.
    is_behind: bool,
}

impl Source<'_> {
    /// Whether it was not found before, in the order of the ring.
    fn is_news(&mut self, item: &Item<'_>) -> bool {
        match item {
            Item::Line(line) => {
                let is_news =
                    self.next.is_none_or(|next| line.position.wrapping_sub(next) as i64 >= 0);
                if is_news {
                    self.next = Some(line.position.wrapping_add(1));
                }
                is_news
            }
            Item::Ended(ended) => self.ended.insert(ended.writer_id),
            _ => true,
        }
    }
}

/// Shows them.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let cannot_watch = |error| Failure::Failed(format!("cannot watch the rings: {error}"));
    turn_sigbus_into_errors().map_err(cannot_watch)?;
    let mut sources = Vec::new();
    for name in &args.rings {
        let mut source = Source {
            name,
            ring: None,
            last: None,
            next: None,
            ended: HashSet::new(),
            is_behind: false,
        };
        match args.open(&mut source) {
            Ok(_) => {}
            Err(_) if args.follow_name => {}
            Err(failure) => return Err(failure),
        }
        sources.push(source);
    }
    let mut printer = ItemPrinter::new(args.format.clone(), args.color)?;
    let mut items = Vec::new();
    for (index, source) in sources.iter_mut().enumerate() {
        let mut kept = args.there(source)?;
        keep_last(&mut kept, args.lines);
        items.extend(kept.into_iter().map(|item| (index, Followed::Item(item))));
    }
    args.print(&mut printer, &sources, items);
    let goes_on = args.follow || args.follow_name;
    while goes_on && printer.flush() && !is_unread() {
        if !args.follow_name && sources.iter().all(|source| source.ring.is_none()) {
            break;
        }
        let followed = sources.iter().filter_map(|source| source.ring.as_ref());
        Follow::wait_any(followed.map(|(_, follow)| follow), PERIOD);
        let mut items = Vec::new();
        for (index, source) in sources.iter_mut().enumerate() {
            let found = args.more(source)?;
            items.extend(found.into_iter().map(|item| (index, item)));
        }
        args.print(&mut printer, &sources, items);
    }
    Ok(printer.finish())
}

impl Args {
    /// Opens a source's ring, if it is another than the last one, or is used again.
    fn open(&self, source: &mut Source<'_>) -> Result<bool, Failure> {
        let observer =
            self.whose.observer(source.name).map_err(|error| cannot_read(source.name, &error))?;
        let found = observer.statistics().map_err(|error| cannot_read(source.name, &error))?;
        let is_new = source.last != Some(found.identity);
        if is_new {
            (source.last, source.next) = (Some(found.identity), None);
            source.ended.clear();
        }
        let goes_on = is_new || observer.is_used();
        if goes_on {
            let mut follow = observer.follow();
            // Where it may not, it looks by itself.
            follow.ask_to_be_woken();
            source.ring = Some((observer, follow));
        }
        Ok(goes_on)
    }

    /// The items that are there already, of those that are wanted.
    fn there(&self, source: &mut Source<'_>) -> Result<Vec<Item<'static>>, Failure> {
        let Some((observer, follow)) = &mut source.ring else { return Ok(Vec::new()) };
        let end = observer.statistics().map_err(|error| cannot_read(source.name, &error))?.next;
        let mut items = Vec::new();
        loop {
            let found = follow.next_items().map_err(|error| cannot_read(source.name, &error))?;
            let is_done = has_come(follow, end);
            // What passed by before it began is not asked for.
            items.extend(found.into_iter().filter_map(|found| match found {
                Followed::Item(item) => Some(item),
                _ => None,
            }));
            if is_done {
                break;
            }
        }
        if !observer.is_used() {
            source.ring = None;
        }
        items.retain(|item| source.is_news(item) && self.wanted.is_wanted(item));
        Ok(items)
    }

    /// What has come since, of what is wanted.
    fn more(&self, source: &mut Source<'_>) -> Result<Vec<Followed>, Failure> {
        let mut found = Vec::new();
        if source.ring.is_none() && self.follow_name && self.open(source).unwrap_or(false) {
            let there = self.there(source)?;
            found.extend(there.into_iter().map(Followed::Item));
        }
        let Some((observer, follow)) = &mut source.ring else { return Ok(found) };
        // Before the look: what it wrote last is seen.
        let is_over = !observer.is_used_now();
        let before = follow.position();
        if source.is_behind {
            // It cannot show all anyway, and each slot that it reads costs a writer a cache line.
            follow.skip_to_last(SAMPLED);
        }
        let mut come = follow.next_items().map_err(|error| cannot_read(source.name, &error))?;
        let came = before.zip(follow.position()).map_or(0, |(from, to)| to.wrapping_sub(from));
        source.is_behind = came > AT_ONCE;
        if is_over && come.is_empty() {
            come = self.last_words(source.name);
            source.ring = None;
        }
        come.retain(|found| match found {
            Followed::Item(item) => source.is_news(item) && self.wanted.is_wanted(item),
            _ => true,
        });
        found.append(&mut come);
        Ok(found)
    }

    /// What killed writers left, of a ring that no process uses any more and that is still there,
    /// after all else that it has.
    fn last_words(&self, name: &str) -> Vec<Followed> {
        let Ok(observer) = self.whose.observer(name) else { return Vec::new() };
        let items = if observer.is_used() { None } else { observer.snapshot().ok() };
        items.into_iter().flatten().map(Followed::Item).collect()
    }

    /// Prints items, those of several rings by time.
    fn print(
        &self,
        printer: &mut ItemPrinter,
        sources: &[Source<'_>],
        items: Vec<(usize, Followed)>,
    ) {
        let mut last = vec![None; sources.len()];
        let mut timed: Vec<_> = items
            .into_iter()
            .map(|(source, item)| {
                // What has no time stands where it stood among the others of its ring.
                if let Followed::Item(Item::Line(line)) = &item
                    && line.time > last[source]
                {
                    last[source] = line.time;
                }
                (last[source], source, item)
            })
            .collect();
        if sources.len() > 1 {
            timed.sort_by_key(|(time, ..)| *time);
        }
        for (_, source, item) in timed {
            if !printer.is_alive() {
                break;
            }
            let name = (sources.len() > 1).then_some(sources[source].name);
            match item {
                Followed::Item(item) => printer.item_of(name, &item),
                Followed::PassedBy(1) => printer.note(name, "-- 1 line passed by --"),
                Followed::PassedBy(count) => {
                    printer.note(name, format_args!("-- {count} lines passed by --"));
                }
                _ => {}
            }
        }
    }
}

fn cannot_read(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("cannot read {name}: {error}"))
}

/// Whether all before this position was looked at.
pub fn has_come(follow: &Follow, end: u64) -> bool {
    follow.position().is_none_or(|next| end.wrapping_sub(next) as i64 <= 0)
}

/// Waits so long, or until the reader of the standard output goes.
pub fn pause(period: Duration) {
    let limit = Timespec { tv_sec: 0, tv_nsec: period.as_nanos() as i64 };
    let out = io::stdout();
    // Interrupted, it looks sooner.
    let _ = poll(&mut [PollFd::new(&out, PollFlags::empty())], Some(&limit));
}

/// Whether the reader of the standard output has gone.
pub fn is_unread() -> bool {
    let out = io::stdout();
    let mut asked = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(gone)
}
