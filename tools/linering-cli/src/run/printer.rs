//! From the ring to stdout, stderr and a file; each worker's lines together, if that is asked for.

use std::io;

use linering::{Line, Stream};

use super::progress::Progress;
use super::spool::Spool;
use crate::failure::note;
use crate::output::{Clock, Format, Page, Sink, Template, stream_name};

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

/// Writes lines out, and remembers what could not be written.
#[derive(Debug)]
pub struct Printer {
    /// Stdout, stderr, and a file if there is one.
    sinks: Vec<Sink>,
    style: Style,
    clock: Clock,
    workers: Vec<Worker>,
    progress: Progress,
    /// Something was not kept as it should have been, which was said.
    failed: bool,
}

#[derive(Debug)]
struct Worker {
    /// The tags of its stdout and of its stderr.
    tags: [String; 2],
    /// What it has printed, if that waits for its end.
    spool: Option<Spool>,
    /// Mirrors of its that have not ended: its two pipes, and its seat.
    open: usize,
}

const OUT: usize = 0;
const ERR: usize = 1;

impl Printer {
    /// `sinks` are stdout, stderr, and more that get every line.
    pub fn new(style: Style, sinks: Vec<Sink>, processes: &[u32], progress: Progress) -> Self {
        let tag = |worker, stream, process| {
            style
                .tag
                .as_ref()
                .map_or(String::new(), |tag| tag.fill(worker, stream_name(stream), process))
        };
        let worker = |(worker, process): (usize, &u32)| Worker {
            tags: [Stream::Stdout, Stream::Stderr].map(|stream| tag(worker, stream, *process)),
            spool: style.group.then(|| Spool::new(sinks.len())),
            open: 3,
        };
        let workers = processes.iter().enumerate().map(worker).collect();
        Self { sinks, style, clock: Clock::default(), workers, progress, failed: false }
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
            self.progress.ended();
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
        }
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

    /// Whether something could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed || self.sinks.iter().any(Sink::has_failed)
    }
}
