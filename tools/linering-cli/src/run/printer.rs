//! From the ring to stdout, stderr and a file; each worker's lines together, if that is asked for.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use linering::{Line, Stream};

use super::progress::Progress;
use super::spool::Spool;
use super::supervisor::{Report, Verdict};
use crate::failure::note;
use crate::output::{Clock, EndRecord, Format, Page, Sink, Template, json_end, stream_name};

/// What is printed besides the lines themselves.
#[derive(Debug)]
pub struct Style {
    pub tag: Option<Template>,
    /// There is one worker: a last line without an end stays without one.
    pub alone: bool,
    /// Each worker's output comes together, at its end.
    pub group: bool,
    /// Stdout and stderr are the same file: one page for both keeps their lines whole, and in
    /// their order.
    pub merged: bool,
}

/// What the printer is told of the workers.
#[derive(Debug)]
pub enum Told {
    /// A worker has begun, and writes through so many mirrors.
    Started { worker: usize, process: u32, mirrors: usize },
    /// It has ended.
    Ended(Report),
    /// To be said.
    Note(String),
    /// Nothing more comes, even if the ring is not over.
    Finish,
}

/// Writes lines out, and remembers what could not be written.
#[derive(Debug)]
pub struct Printer {
    /// Stdout, stderr, and a file if there is one.
    sinks: Vec<Sink>,
    style: Style,
    /// What each worker is called.
    names: Arc<[String]>,
    clock: Clock,
    workers: Vec<Worker>,
    /// Ends that wait for their workers' last lines, until then.
    ends: Vec<(Instant, Report)>,
    progress: Progress,
    /// Something was not kept as it should have been, which was said.
    failed: bool,
}

#[derive(Debug, Default)]
struct Worker {
    /// The tags of its stdout and of its stderr.
    tags: [String; 2],
    /// What it has printed, if that waits for its end.
    spool: Option<Spool>,
    /// Mirrors of its that have not ended: its pipes, and its seat.
    open: usize,
}

/// How long an end waits to be told for its worker's last lines.
const END_PATIENCE: Duration = Duration::from_millis(100);

const OUT: usize = 0;
const ERR: usize = 1;

impl Printer {
    /// `sinks` are stdout, stderr, and more that get every line.
    pub fn new(style: Style, sinks: Vec<Sink>, names: Arc<[String]>, progress: Progress) -> Self {
        let workers = names.iter().map(|_| Worker::default()).collect();
        let (clock, ends) = (Clock::default(), Vec::new());
        Self { sinks, style, names, clock, workers, ends, progress, failed: false }
    }

    /// A worker has begun, again perhaps.
    pub fn started(&mut self, worker: usize, process: u32, mirrors: usize) {
        let Self { style, names, workers, sinks, .. } = self;
        let tag = |stream| {
            let fill = |tag: &Template| tag.fill(worker, &names[worker], stream, process);
            style.tag.as_ref().map_or(String::new(), fill)
        };
        let known = &mut workers[worker];
        known.tags = [Stream::Stdout, Stream::Stderr].map(|stream| tag(stream_name(stream)));
        known.spool = known.spool.take().or_else(|| style.group.then(|| Spool::new(sinks.len())));
        known.open += mirrors;
    }

    /// A worker has ended, which is told after its last line.
    pub fn worker_ended(&mut self, report: Report) {
        if !matches!(report.kind, Verdict::Again) {
            self.progress.ended();
        }
        if report.kind != Verdict::Success {
            self.ends.push((Instant::now() + END_PATIENCE, report));
        }
    }

    /// Tells the ends that it is time for. When the next is due, if there is one.
    pub fn tell_ends(&mut self) -> Option<Instant> {
        if self.ends.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut index = 0;
        while let Some((due, report)) = self.ends.get(index).copied() {
            let is_due = due <= now || self.workers[report.job].open == 0;
            if is_due {
                self.ends.remove(index);
                self.tell_end(report);
            } else {
                index += 1;
            }
        }
        self.ends.iter().map(|(due, _)| *due).min()
    }

    fn tell_end(&mut self, Report { job, end, kind, .. }: Report) {
        let Self { sinks, clock, names, .. } = self;
        let name = &names[job];
        let sentence = match kind {
            Verdict::TimedOut => format!("worker {name} was out of time and {}", end.predicate()),
            Verdict::Again => format!("worker {name} {}: started again", end.predicate()),
            _ => format!("worker {name} {}", end.predicate()),
        };
        let (time, how) = (SystemTime::now(), end.how());
        let record = EndRecord { time, worker: job, how, msg: &sentence };
        for (index, sink) in sinks.iter_mut().enumerate() {
            if sink.look().format == Format::Json && index != ERR {
                sink.add(|page| json_end(&mut page.text, clock, &record));
            }
        }
        if kind != Verdict::Excused {
            self.aside(|| note(sentence));
        }
    }

    /// Prints a worker's line, or keeps it for the worker's end.
    pub fn line(&mut self, worker: Option<usize>, line: &Line<'_>) {
        self.progress.count(line);
        let Self { sinks, clock, workers, style, .. } = self;
        let is_err = line.stream == Stream::Stderr;
        let (tag, mut spool) = match worker.and_then(|worker| workers.get_mut(worker)) {
            Some(Worker { tags, spool, .. }) => (&*tags[usize::from(is_err)], spool.as_mut()),
            None => ("", None),
        };
        let mut kept = Ok(());
        for (index, sink) in sinks.iter_mut().enumerate() {
            let look = sink.look();
            let is_all_to_out = style.merged || look.format == Format::Json;
            let gets = match index {
                OUT => !is_err || is_all_to_out,
                ERR => is_err && !is_all_to_out,
                _ => true,
            };
            if !gets {
                continue;
            }
            let add = |page: &mut Page| page.line(&look, clock, worker, tag, line);
            match &mut spool {
                Some(spool) => kept = kept.and(spool.add(index, add)),
                None => sink.add(add),
            }
        }
        if let (Some(worker), Err(error)) = (worker, kept) {
            self.cannot_keep(worker, &error);
        }
    }

    /// One of a worker's mirrors has ended.
    pub fn ended(&mut self, worker: Option<usize>) {
        let Some(index) = worker.filter(|worker| *worker < self.workers.len()) else { return };
        let known = &mut self.workers[index];
        known.open = known.open.saturating_sub(1);
        if known.open == 0 {
            self.replay(index, true);
        }
    }

    /// Prints what was kept of a worker's output; what still comes is kept too if it `goes_on`,
    /// else printed as it comes.
    fn replay(&mut self, worker: usize, goes_on: bool) {
        let Self { sinks, style, workers, .. } = self;
        let Some(spool) = workers[worker].spool.take() else { return };
        // What still comes, of a mirror that was not counted, comes together too.
        workers[worker].spool = goes_on.then(|| Spool::new(sinks.len()));
        let text = |sink: usize, text: &[u8]| {
            sinks[sink].add(|page| page.text.extend_from_slice(text));
        };
        if let Err(error) = spool.replay(!style.alone, text) {
            self.cannot_keep(worker, &error);
        }
    }

    fn cannot_keep(&mut self, worker: usize, error: &io::Error) {
        note(format_args!("cannot keep the output of worker {worker} for its end: {error}"));
        self.failed = true;
        self.replay(worker, false);
    }

    pub fn flush(&mut self) {
        let Self { sinks, progress, .. } = self;
        progress.aside(|| sinks.iter_mut().for_each(Sink::flush));
    }

    /// Runs `print`, which prints on stderr, after what was to be printed before.
    pub fn aside(&mut self, print: impl FnOnce()) {
        self.flush();
        self.progress.aside(print);
    }

    /// Prints what waits, and ends what has no end, unless that is how the only worker wrote it.
    pub fn finish(&mut self) {
        for worker in 0..self.workers.len() {
            self.replay(worker, false);
            self.workers[worker].open = 0;
        }
        self.tell_ends();
        if !self.style.alone {
            self.sinks.iter_mut().for_each(|sink| sink.add(Page::end));
        }
        self.flush();
        self.progress.finish();
    }

    /// Whether what goes to stdout has no reader any more, there or in the file.
    pub fn is_unread(&mut self) -> bool {
        if self.style.group {
            // Nothing may be written there for long.
            self.sinks[OUT].look_for_reader();
        }
        self.sinks.iter().enumerate().all(|(index, sink)| index == ERR || sink.is_dead())
    }

    /// Something else of the run cannot be written.
    pub fn fail(&mut self, sentence: impl std::fmt::Display) {
        self.failed = true;
        self.aside(|| note(sentence));
    }

    /// Whether something could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed || self.sinks.iter().any(Sink::has_failed)
    }
}
