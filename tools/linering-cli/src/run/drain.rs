//! The printer's thread: what is in the ring goes to the printer, and so does what is told of the
//! workers.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use linering::{Item, LineRing, Observer, ReadError, Reader, WriterState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Letter;
use super::backlog::Backlog;
use super::job_log::JobLog;
use super::losses::Losses;
use super::mailbox::Mailbox;
use super::printer::{Printer, Told};
use super::summary::Summary;
use super::supervisor::{Report, Verdict};
use crate::failure::{note, tell};

/// What the printer's thread has.
#[derive(Debug)]
pub struct Drain {
    pub reader: Reader,
    pub desk: Desk,
    /// The table is wanted even if no worker fails.
    pub wants_table: bool,
    /// There is one worker, whose failure says all.
    pub is_alone: bool,
    /// The ring may be taken over when this process is gone.
    pub outlives: bool,
    pub letters: Mailbox<Letter>,
}

/// Where what comes from the ring and what is told of the workers meet.
#[derive(Debug)]
pub struct Desk {
    printer: Printer,
    summary: Summary,
    told: Mailbox<Told>,
    log: Option<JobLog>,
    losses: Losses,
    backlog: Backlog,
    /// At a time.
    workers: usize,
    failures: usize,
    last_end: Option<Instant>,
    is_finishing: bool,
    /// Another process reads the ring, and is told of the ends of mirrors.
    looks_on: bool,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug)]
pub struct Printed {
    /// Something could not be written, which was said.
    pub has_failed: bool,
    /// A line was lost, cut short or damaged.
    pub has_lost: bool,
}

/// How long an idle reader sleeps before it looks for lines whose writer was stopped before it
/// would have woken the reader, and for writers that were killed.
const IDLE: Duration = Duration::from_millis(500);
/// The same after a worker has ended (longer with more than 100 workers, since a look takes longer
/// then), and how many such sleeps there are.
const WATCHFUL: Duration = Duration::from_millis(100);
const WATCHFUL_SLEEPS: u32 = 10;

/// Starts the thread. Its last letter says what became of the lines.
pub fn start(drain: Drain) -> io::Result<()> {
    let run = move || {
        let letters = drain.letters.clone();
        let printed = drain.run().map_err(|error| format!("cannot drain the ring: {error}"));
        letters.put(Letter::Printed(printed));
    };
    thread::Builder::new().name("printer".to_owned()).spawn(run).map(drop)
}

/// Starts a thread in its place, where another process reads the ring: it says how workers end.
pub fn start_without(ring: LineRing, mut desk: Desk, letters: Mailbox<Letter>) -> io::Result<()> {
    let run = move || {
        let printed = desk.look_on(&ring);
        letters.put(Letter::Printed(printed));
    };
    thread::Builder::new().name("printer".to_owned()).spawn(run).map(drop)
}

impl Drain {
    fn run(self) -> Result<Printed, ReadError> {
        let Self { mut reader, mut desk, letters, outlives, wants_table, is_alone } = self;
        let mut was_unread = false;
        loop {
            desk.hear();
            let due = desk.printer.tell_ends();
            if reader.wait_timeout(Duration::ZERO)? {
                // Of a worker whose line is there it is known that it has begun.
                desk.hear();
                let batch = reader.batch()?;
                batch.iter().for_each(|item| desk.deliver(&item));
                // A process that takes over a ring that outlives us must find what we have not
                // written.
                if outlives {
                    desk.printer.flush();
                }
                batch.commit();
            } else if let Some(item) = reader.try_recv()? {
                desk.hear();
                desk.deliver(&item);
            } else if reader.is_idle() || desk.is_finishing {
                break;
            } else {
                // Before it waits, everything is printed that there is.
                desk.printer.flush();
                desk.wait(&reader, due);
            }
            desk.tell_losses();
            if !was_unread && desk.printer.is_unread() {
                was_unread = true;
                letters.put(Letter::Unread);
            }
        }
        desk.hear();
        desk.printer.finish();
        desk.losses.tell(note);
        if wants_table || desk.failures > 0 && !is_alone {
            tell(&desk.summary.table());
        }
        let (has_failed, has_lost) = (desk.printer.has_failed(), desk.summary.any_lost());
        Ok(Printed { has_failed, has_lost })
    }
}

impl Desk {
    pub fn new(
        printer: Printer,
        summary: Summary,
        told: Mailbox<Told>,
        log: Option<JobLog>,
        backlog: Backlog,
        workers: usize,
    ) -> Self {
        let (losses, failures) = (Losses::default(), 0);
        let (last_end, is_finishing, looks_on) = (None, false, false);
        Self {
            printer,
            summary,
            told,
            log,
            losses,
            backlog,
            workers,
            failures,
            last_end,
            is_finishing,
            looks_on,
        }
    }

    /// Waits for the end of all writers, whose lines another process reads.
    fn look_on(&mut self, ring: &LineRing) -> Result<Printed, String> {
        self.looks_on = true;
        loop {
            self.hear();
            let due = self.printer.tell_ends();
            let writers = ring.writers();
            self.backlog.set(writers.len());
            let is_open = |state| matches!(state, WriterState::Waiting | WriterState::Open);
            if !writers.iter().any(|writer| is_open(writer.state)) {
                break;
            }
            if self.is_finishing {
                if is_full(ring) {
                    return Err("the ring is full, and no process reads it: what came last from \
                                the workers is not in it"
                        .to_owned());
                }
                break;
            }
            self.printer.flush();
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
            let limit = due.map_or(WATCHFUL, |due| due.min(WATCHFUL));
            let limit = Timespec::try_from(limit).ok();
            let _ = poll(&mut [PollFd::new(&self.told, PollFlags::IN)], limit.as_ref());
        }
        self.hear();
        self.printer.finish();
        Ok(Printed { has_failed: self.printer.has_failed(), has_lost: false })
    }

    /// Takes in what it was told.
    fn hear(&mut self) {
        for told in self.told.take() {
            match told {
                Told::Started { worker, process, mirrors } => {
                    let mirrors = if self.looks_on { 0 } else { mirrors };
                    self.printer.started(worker, process, mirrors);
                }
                Told::Ended(report, sentence) => {
                    self.last_end = Some(Instant::now());
                    let is_failure = matches!(report.kind, Verdict::Failed | Verdict::TimedOut);
                    self.failures += usize::from(is_failure);
                    self.summary.ended(&report);
                    self.log(&report);
                    self.printer.worker_ended(report, sentence);
                }
                Told::Note(sentence) => self.printer.say(sentence),
                Told::Finish => self.is_finishing = true,
            }
        }
    }

    /// Adds an end to the log, if there is one; one that cannot be written is named and left.
    fn log(&mut self, report: &Report) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.add(report) {
            let path = log.path().to_owned();
            self.printer.fail(format_args!("cannot write {}: {error}", path.display()));
            self.log = None;
        }
    }

    /// Hands an item of the ring on to what prints and to what counts.
    fn deliver(&mut self, item: &Item<'_>) {
        let Self { printer, summary, losses, backlog, .. } = self;
        match item {
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
                backlog.give_back();
                printer.ended(worker_of(&ended.label));
            }
            other => {
                summary.skipped();
                printer.aside(|| note(other));
            }
        }
    }

    fn tell_losses(&mut self) {
        let Self { printer, losses, .. } = self;
        losses.tell_if_due(|sentence| printer.aside(|| note(sentence)));
    }

    /// Sleeps until there is something to do.
    fn wait(&self, reader: &Reader, due: Option<Instant>) {
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let hundreds = (self.workers as u32).div_ceil(100).max(1);
        let watchful = WATCHFUL * hundreds;
        let is_watchful =
            self.last_end.is_some_and(|end| end.elapsed() < watchful * WATCHFUL_SLEEPS);
        let idle = if is_watchful { watchful.min(IDLE) } else { IDLE };
        let limit = [due, self.losses.due_in()].into_iter().flatten().fold(idle, Duration::min);
        let mut polled = vec![PollFd::new(&self.told, PollFlags::IN)];
        polled.extend(reader.poll_fd().map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        // Whatever it says, the next look says more.
        let _ = poll(&mut polled, Timespec::try_from(limit).ok().as_ref());
    }
}

/// Whether a writer waits for room.
fn is_full(ring: &LineRing) -> bool {
    let statistics = ring.descriptor().ok().and_then(|descriptor| {
        let observer = Observer::attach(descriptor).ok()?;
        observer.statistics().ok()
    });
    statistics.is_some_and(|statistics| statistics.unread() >= statistics.lines)
}

/// A mirror's label is its worker's number.
fn worker_of(label: &str) -> Option<usize> {
    label.parse().ok()
}
