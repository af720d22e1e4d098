//! From the ring to stdout, stderr and a file; each worker's lines together, if that is asked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use linering::{Line, Stream};

use super::progress::Progress;
use super::spool::Spool;
use super::supervisor::{Report, Verdict};
use super::unsaid::Unsaid;
use crate::failure::{Failure, note};
use crate::output::{
    Clock, EndRecord, Format, Look, Page, Sink, Template, Times, json_end, stream_name,
};

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
    pub times: Times,
    /// Whether a worker's lines are printed, or go to files alone.
    pub shown: Vec<bool>,
    /// A folder for each worker's output as it is.
    pub results: Option<PathBuf>,
}

/// What the printer is told of the workers.
#[derive(Debug)]
pub enum Told {
    /// A worker has begun, and writes through so many mirrors.
    Started { worker: usize, process: u32, mirrors: usize },
    /// It has ended; what takes the sentence that says so, if there is one.
    Ended(Report, Option<u64>),
    /// To be said: what takes the sentence.
    Note(u64),
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
    /// Characters of the longest tag.
    tag_width: usize,
    clock: Clock,
    workers: Vec<Worker>,
    /// Ends that wait for their workers' last lines, until then.
    ends: Vec<(Instant, Report, Option<u64>)>,
    unsaid: Unsaid,
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
    /// Files for its stdout and its stderr, while some of its mirrors are open.
    results: Option<[Sink; 2]>,
    /// It has begun such files.
    has_results: bool,
    /// Mirrors of its that have not ended: its pipes, and its seat.
    open: usize,
}

/// How lines look in the files of one worker.
const PLAIN: Look =
    Look { format: Format::Cat, timestamps: false, color: false, caret: false, sgr: false };

/// Opens a worker's files in a folder, anew unless it goes on.
fn results_in(folder: &Path, name: &str, goes_on: bool) -> Result<[Sink; 2], Failure> {
    let open = |stream: &str| {
        let path = folder.join(format!("{name}.{stream}"));
        let mut options = File::options();
        let file = options.create(true).append(true).open(&path).and_then(|file| {
            if !goes_on {
                file.set_len(0)?;
            }
            Ok(file)
        });
        let file = file.map_err(|error| Failure::of_path("write", &path, &error))?;
        Ok(Sink::new(path.display().to_string(), PLAIN, file))
    };
    Ok([open("stdout")?, open("stderr")?])
}

/// How long an end waits to be told for its worker's last lines.
const END_PATIENCE: Duration = Duration::from_millis(100);

const OUT: usize = 0;
const ERR: usize = 1;

impl Printer {
    /// `sinks` are stdout, stderr, and more that get every line.
    pub fn new(
        style: Style,
        sinks: Vec<Sink>,
        names: Arc<[String]>,
        progress: Progress,
        unsaid: Unsaid,
    ) -> Self {
        let workers = names.iter().map(|_| Worker::default()).collect();
        let (clock, ends) = (Clock::new(style.times), Vec::new());
        let lengths = names.iter().enumerate().map(|(worker, name)| {
            let fill = |tag: &Template| tag.fill(worker, name, "stdout", 0).chars().count();
            style.tag.as_ref().map_or(0, fill)
        });
        let tag_width = lengths.max().unwrap_or(0);
        Self {
            tag_width,
            sinks,
            style,
            names,
            clock,
            workers,
            ends,
            unsaid,
            progress,
            failed: false,
        }
    }

    /// A worker has begun, again perhaps.
    pub fn started(&mut self, worker: usize, process: u32, mirrors: usize) {
        let Self { style, names, workers, sinks, tag_width, .. } = self;
        let tag = |stream| {
            let fill = |tag: &Template| {
                let tag = tag.fill(worker, &names[worker], stream, process);
                format!("{tag:<tag_width$}")
            };
            style.tag.as_ref().map_or(String::new(), fill)
        };
        let known = &mut workers[worker];
        known.tags = [Stream::Stdout, Stream::Stderr].map(|stream| tag(stream_name(stream)));
        known.spool = known.spool.take().or_else(|| style.group.then(|| Spool::new(sinks.len())));
        known.open += mirrors;
        if let Some(folder) = style.results.as_ref().filter(|_| known.results.is_none()) {
            match results_in(folder, &names[worker], known.has_results) {
                Ok(results) => known.results = Some(results),
                Err(sentence) => self.fail(sentence),
            }
            self.workers[worker].has_results = true;
        }
    }

    /// A worker has ended, which is told after its last line.
    pub fn worker_ended(&mut self, report: Report, sentence: Option<u64>) {
        if !matches!(report.kind, Verdict::Again) {
            self.progress.ended();
        }
        if report.kind != Verdict::Success {
            self.ends.push((Instant::now() + END_PATIENCE, report, sentence));
        }
    }

    /// Tells the ends that it is time for. When the next is due, if there is one.
    pub fn tell_ends(&mut self) -> Option<Instant> {
        if self.ends.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut index = 0;
        while let Some((due, report, sentence)) = self.ends.get(index).copied() {
            let is_due = due <= now || self.workers[report.job].open == 0;
            if is_due {
                self.ends.remove(index);
                self.tell_end(report, sentence);
            } else {
                index += 1;
            }
        }
        self.ends.iter().map(|(due, ..)| *due).min()
    }

    fn tell_end(&mut self, report: Report, number: Option<u64>) {
        let Self { sinks, clock, names, .. } = self;
        let sentence = report.sentence(&names[report.job]);
        let (time, how) = (SystemTime::now(), report.end.how());
        let record = EndRecord { time, worker: report.job, how, msg: &sentence };
        for (index, sink) in sinks.iter_mut().enumerate() {
            if sink.look().format == Format::Json && index != ERR {
                sink.add(|page| json_end(&mut page.text, clock, &record));
            }
        }
        if let Some(number) = number {
            self.say(number);
        }
    }

    /// Says a sentence, after what was to be printed before, unless that took too long and it was
    /// said.
    pub fn say(&mut self, number: u64) {
        let unsaid = self.unsaid.clone();
        self.aside(|| unsaid.take(number).into_iter().for_each(note));
    }

    /// Prints a worker's line, or keeps it for the worker's end.
    pub fn line(&mut self, worker: Option<usize>, line: &Line<'_>) {
        self.progress.count(line);
        let Self { sinks, clock, workers, style, .. } = self;
        let is_err = line.stream == Stream::Stderr;
        let (tag, mut spool) = match worker.and_then(|worker| workers.get_mut(worker)) {
            Some(Worker { tags, spool, results, .. }) => {
                if let Some(results) = results {
                    let add = |page: &mut Page| page.line(&PLAIN, clock, worker, "", line);
                    results[usize::from(is_err)].add(add);
                }
                (&*tags[usize::from(is_err)], spool.as_mut())
            }
            None => ("", None),
        };
        let is_shown = worker.is_none_or(|worker| style.shown.get(worker) != Some(&false));
        let mut kept = Ok(());
        for (index, sink) in sinks.iter_mut().enumerate() {
            let look = sink.look();
            let is_all_to_out = style.merged || look.format == Format::Json;
            let gets = match index {
                OUT => is_shown && (!is_err || is_all_to_out),
                ERR => is_shown && is_err && !is_all_to_out,
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
            if let Some(mut results) = known.results.take() {
                results.iter_mut().for_each(Sink::flush);
                self.failed |= results.iter().any(Sink::has_failed);
            }
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
        let Self { sinks, progress, workers, .. } = self;
        progress.aside(|| sinks.iter_mut().for_each(Sink::flush));
        if self.style.results.is_some() {
            let results = workers.iter_mut().filter_map(|worker| worker.results.as_mut());
            results.flatten().for_each(Sink::flush);
        }
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
