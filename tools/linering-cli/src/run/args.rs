//! The options of `linering run`, and what follows from them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use linering::RotatingFile;

use super::jobs;
use super::plan::{Halt, Plan, Restarts};
use super::printer::Style;
use super::pump::{Prompts, Reads};
use super::system::{Inputs, Job, Outputs};
use crate::failure::Failure;
use crate::on_full::OnFull;
use crate::output::{Format, Look, Sink, Template, Times, is_colored, own};
use crate::value_parser::{Limit, Rotation, duration, within};

/// Run commands, every line of their output whole and in one order
///
/// The copies' standard output goes to standard output and their standard error to standard error,
/// line by line: lines of two of them never mix. Each finds its number, from 0, in the variable
/// LINERING_WORKER and how many there are in LINERING_WORKERS. A program that links linering finds
/// a seat in LINERING_SEAT, and may write into the ring straight, without a system call. One copy
/// reads the standard input; several read nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Copies, 1 to 1000
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = within(1, MAX_WORKERS))]
    pub workers: usize,

    /// Run each line of this file as a command of its own, with sh -c, instead of copies of one
    ///
    /// All at the same time, or -j N; - is standard input. Empty lines and those that begin with #
    /// are left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "command"])]
    pub commands: Option<PathBuf>,

    /// Run each line of this file as a command with a name, which its lines begin with
    ///
    /// As Procfiles have it, "web: ./serve --port 80". Each runs with sh -c, all at the same time.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "command", "commands"])]
    pub procfile: Option<PathBuf>,

    /// Run the command once for each line of this file, which is one argument; - is standard input
    ///
    /// It stands where the command has {}, or else at its end; {#} is its number from 1, {worker}
    /// from 0. As many run at a time as there are processors, unless -j says otherwise.
    #[arg(long, value_name = "FILE", requires = "command")]
    #[arg(conflicts_with_all = ["workers", "commands", "procfile"])]
    pub args: Option<PathBuf>,

    /// Run so many at a time, 1 to 1000
    #[arg(short = 'j', long = "jobs", value_name = "N", value_parser = within(1, MAX_WORKERS))]
    pub jobs_at_once: Option<usize>,

    /// End the others as soon as one has failed, or when WHEN says
    ///
    /// fail=N or success=N: after so many failures or successes; with ",now" (the default) those
    /// that run are told to end, with ",soon" no more are started.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "fail=1,now", value_parser = Halt::parse)]
    pub halt: Option<Halt>,

    /// Kill what has not ended so long after it was told to: 10s, 500ms, never
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = Limit::parse)]
    pub kill_after: Limit,

    /// Wait so long for the output of what a worker leaves running: 2s, 500ms, 0s, never
    ///
    /// What is left runs on, with its output closed. A note names what keeps it open for a second.
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = Limit::parse)]
    pub linger: Limit,

    /// Tell a worker to end that takes longer, which is a failure; one alone: exit code 124
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Let so much time pass between two starts
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub delay: Option<Duration>,

    /// Start what has failed again, N times at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub retries: Option<u32>,

    /// Start what has ended again, after 0.1 s, and twice as long each time, up to 30 s
    #[arg(long, value_name = "WHEN", value_enum)]
    pub restart: Option<Restart>,

    /// Which worker reads the standard input: none, all (each gets a copy) or its number
    ///
    /// One alone does, several do not. For "all" it is read to its end before any is started.
    #[arg(long, value_name = "WHO", value_parser = Stdin::parse)]
    pub stdin: Option<Stdin>,

    /// Standard output and standard error through one pipe: in the order in which they are written
    #[arg(long, conflicts_with = "pty")]
    pub merge: bool,

    /// Give each worker a terminal, for its output and its error
    ///
    /// Programs that hold their lines back when they write to a pipe do not before a terminal, and
    /// use colours there (see --color always). The terminal has the size of this one, and what is
    /// typed here is typed there, for the one worker that reads the standard input (see --stdin):
    /// a line at a time, or key by key and not shown if it says so. Each worker leads a session of
    /// its own then.
    #[arg(long)]
    pub pty: bool,

    /// Begin each line with its worker: "[0] ", or what TEMPLATE says
    ///
    /// {worker} stands for the worker's number, {name} for its name in a Procfile, {stream} for
    /// stdout or stderr, {pid} for its process, {{ for a brace.
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "[{worker}] ", value_parser = Template::parse)]
    pub tag: Option<Template>,

    /// Print the lines of these workers alone: 0,2-4,web; all are kept (--output, --results)
    #[arg(long, value_name = "WORKERS")]
    pub show: Option<String>,

    /// Begin each line with the time of its first byte: utc (the default), local or elapsed
    ///
    /// "local" heeds TZ; "elapsed" is in seconds since the start.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "utc", value_enum)]
    pub timestamps: Option<Times>,

    /// How lines are printed
    #[arg(short = 'o', long, value_enum, default_value = "cat")]
    pub format: Format,

    /// Each worker's output together, at its end
    #[arg(long)]
    pub group: bool,

    /// Colour tags and times: on a terminal, unless NO_COLOR is set
    ///
    /// With "always" the workers' own colours are shown on a terminal too; they end with the line.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    pub color: clap::ColorChoice,

    /// Write what became of each job to this file, as a JSON object on a line for each end
    #[arg(long, value_name = "FILE")]
    pub joblog: Option<PathBuf>,

    /// Go on with the job log, and leave out what succeeded according to it
    #[arg(long, requires = "joblog")]
    pub resume: bool,

    /// Keep each worker's output as it is in files of this folder too: WORKER.stdout, WORKER.stderr
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,

    /// Say on the terminal how far it is
    #[arg(long)]
    pub progress: bool,

    /// Append everything to this file too, in the same format
    ///
    /// Goes on when standard output has no reader any more.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Begin a new output file when it has SIZE bytes, or after a time; the old one becomes FILE.1
    ///
    /// 10M, 1d or both: 10M,1d. K, M and G stand for 1024, 1024² and 1024³ bytes; a time has its
    /// unit: 90min, 12h, 1d. Lines are never divided, and no empty file is made.
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = Rotation::parse)]
    pub rotate: Option<Rotation>,

    /// Old output files that stay, 1 to 1000000
    #[arg(long, value_name = "N", default_value = "5", requires = "rotate", value_parser = within(1, 1_000_000))]
    pub keep: usize,

    /// Compress old output files: FILE.1.gz and so on; --keep counts both forms
    #[arg(long, requires = "rotate")]
    pub compress: bool,

    /// What is done when the ring is full
    ///
    /// "block" makes the workers wait, and loses nothing. With the others, lost lines are
    /// reported.
    #[arg(long, value_enum, default_value = "block")]
    pub on_full: OnFull,

    /// A lost or damaged line is a failure
    #[arg(long)]
    pub strict: bool,

    /// Say in the end what became of each copy; done anyway if one failed
    #[arg(long)]
    pub summary: bool,

    /// Lines (or parts of long lines) that the ring holds: 2048, or 256 for one worker
    #[arg(long, value_name = "N")]
    pub lines: Option<usize>,

    /// Bytes of one slot of the ring; a longer line takes several
    #[arg(long, value_name = "N", default_value = "2048")]
    pub line_bytes: usize,

    /// Keep the ring in this new file, which stays
    #[arg(long, value_name = "PATH", conflicts_with = "name")]
    pub file: Option<PathBuf>,

    /// Leave the reading of the ring to another process: linering forward, linering recover
    ///
    /// Nothing is printed but how workers end. Where the ring is full, workers wait until a process
    /// reads it. What is not read in the end stays in the file.
    #[arg(long, requires = "file", conflicts_with_all = ["group", "progress", "results"])]
    #[arg(conflicts_with_all = ["output", "strict", "summary", "tag"])]
    pub no_drain: bool,

    /// Give the ring this name in shared memory, while the command runs
    #[arg(long)]
    pub name: Option<String>,

    /// Bytes of the longest line that is kept whole; a longer one comes in pieces
    ///
    /// 4194304, or less with more than 2 workers, so that all together take no more than 16 MiB
    /// (or 128 KiB each).
    #[arg(long, value_name = "BYTES", value_parser = within(1, 1 << 30))]
    pub max_line: Option<usize>,

    /// The command, and its arguments
    #[arg(required_unless_present_any = ["commands", "procfile"])]
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  linering run -n 4 --tag -- sh -c 'echo worker $LINERING_WORKER of $LINERING_WORKERS'
  seq 1000000 | linering run -- cat
  ls *.png | linering run -j 4 --args - -- optipng {}
      where one typed: ls *.png | parallel -j4 --line-buffer optipng {}
      or: ls *.png | xargs -P4 -n1 optipng
  linering run --procfile Procfile --restart on-failure
      where one typed: foreman start
  linering run --tag --commands - <<< $'npm run css\nnpm run js'
      where one typed: concurrently 'npm run css' 'npm run js'
  linering run -n 4 --halt --tag --results logs -- python -u train.py
      where one typed: torchrun --nproc-per-node 4 --log-dir logs train.py
      (the number of a copy is in LINERING_WORKER, and not in RANK)
  linering run -j 8 --args list --joblog log --resume -- ./job
      where one typed: parallel -j8 --joblog log --resume-failed ./job :::: list

A program that shows nothing until it ends holds its lines back, since it writes to a pipe: --pty
gives it a terminal; or use stdbuf -oL, python -u, grep --line-buffered.

Signals: INT, TERM and HUP end the workers with all that they have started, and then this command,
which dies of that signal; the same one again within 5 seconds, or a third, kills. QUIT, USR1, USR2,
WINCH, TSTP and CONT are passed on to the workers.

Exit code: of one worker, its own (128+n after signal n); of several, how many failed (100 at most);
124 if one alone took too long, 125 if this command fails, or for wrong usage, 126 if the command
cannot be run, 127 if it was not found.";

/// Which worker reads the standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    None,
    All,
    One(usize),
}

impl Stdin {
    fn parse(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("none", _) => Ok(Self::None),
            ("all", _) => Ok(Self::All),
            (_, Ok(worker)) => Ok(Self::One(worker)),
            _ => Err("expected none, all, or a worker's number".to_owned()),
        }
    }
}

/// When a worker is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Restart {
    /// After a failure
    OnFailure,
    /// Whatever its end was
    Always,
}

/// Bytes that all long lines together take, if `--max-line` is not given.
const LONG_LINES: usize = 16 << 20;

/// Each copy has two mirrors, and may open one of its own.
pub const MAX_WORKERS: usize = 1000;

impl Args {
    /// Slots of the ring. Making one takes its time, and what does not fit into that of one worker
    /// waits in its pipe.
    pub fn lines(&self, workers: usize) -> usize {
        let is_small = workers == 1 && self.on_full == OnFull::Block && !self.outlives();
        self.lines.unwrap_or(if is_small { 256 } else { 2048 })
    }

    /// How the pump reads. A ring that overwrites holds a line of half its bytes at most.
    pub fn reads(&self, workers: usize) -> Reads {
        let half = self.lines(workers).saturating_mul(self.line_bytes.saturating_sub(32)) / 2;
        let most = if self.on_full == OnFull::Overwrite { half.max(2) } else { usize::MAX };
        let at_once = (most / 2).min(1 << 16);
        let slack = if most == usize::MAX { 4 } else { 0 };
        // What one worker writes is printed as it was written, however it is divided.
        let prompts = match workers {
            _ if self.format == Format::Json || self.group || self.no_drain => Prompts::None,
            1 => Prompts::All,
            _ => Prompts::Answered,
        };
        // Where lines are counted or numbered each is on its own.
        let is_packed = self.on_full == OnFull::Block && self.format != Format::Json;
        let packed = is_packed && !self.no_drain;
        // What is forwarded is to fit in a message of the engine.
        let most_of_line = if self.no_drain { 1 << 18 } else { 1 << 22 };
        let max_line = (LONG_LINES / (2 * workers)).clamp(1 << 17, most_of_line);
        let max_line = self.max_line.unwrap_or(max_line);
        Reads { at_once, cut: max_line.min(most - at_once), slack, packed, prompts }
    }

    /// What the supervisor keeps to.
    pub fn plan(&self, jobs: usize, done: BTreeSet<usize>) -> Result<Plan, Failure> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = match self.jobs_at_once {
            Some(at_once) => at_once,
            None if self.args.is_some() => processors(),
            None if jobs > MAX_WORKERS => {
                return Err(Failure::Usage(format!(
                    "found {jobs} commands, expected at most {MAX_WORKERS}, or -j N: so many at a \
                     time"
                )));
            }
            None => jobs,
        };
        // A bound of its own is one for failures.
        let on = self.restart.or(self.retries.map(|_| Restart::OnFailure));
        let most = on.map_or(0, |_| self.retries.unwrap_or(u32::MAX));
        Ok(Plan {
            jobs,
            done,
            at_once: at_once.min(jobs),
            delay: self.delay.unwrap_or_default(),
            timeout: self.timeout,
            restarts: Restarts { always: self.restart == Some(Restart::Always), most },
            halt: self.halt,
            kill_after: self.kill_after.0,
            linger: self.linger.0,
            has_terminals: self.pty,
        })
    }

    /// What each worker runs.
    pub fn jobs(&self) -> Result<Vec<Job>, Failure> {
        let lists = [&self.commands, &self.procfile, &self.args];
        let is_read = lists.into_iter().flatten().any(|path| path.as_os_str() == "-");
        if is_read && !matches!(self.stdin, None | Some(Stdin::None)) {
            return Err(Failure::Usage(
                "found --stdin for a worker and a list from -, expected one use of standard input"
                    .to_owned(),
            ));
        }
        if let Some(path) = &self.commands {
            return jobs::of_lines(path);
        }
        if let Some(path) = &self.procfile {
            return jobs::of_procfile(path);
        }
        if self.command[0].is_empty() {
            return Err(Failure::Usage("found an empty command, expected a program".to_owned()));
        }
        match &self.args {
            Some(path) => jobs::of_arguments(path, &self.command),
            None => Ok(jobs::copies(&self.command, self.workers)),
        }
    }

    pub fn outputs(&self) -> Outputs {
        match (self.pty, self.merge) {
            (true, _) => Outputs::Terminal,
            (false, true) => Outputs::Merged,
            (false, false) => Outputs::Pipes,
        }
    }

    /// What the standard input of each worker is.
    pub fn inputs(&self, jobs: usize) -> Result<Inputs, Failure> {
        let refused = |error| {
            Failure::Failed(format!("cannot keep the standard input for all workers: {error}"))
        };
        Ok(match self.stdin {
            None if jobs == 1 => Inputs::One(0),
            None | Some(Stdin::None) => Inputs::None,
            Some(Stdin::One(job)) if job < jobs => Inputs::One(job),
            Some(Stdin::One(job)) => {
                return Err(Failure::Usage(format!(
                    "found --stdin {job}, expected a worker's number, less than {jobs}"
                )));
            }
            Some(Stdin::All) => {
                let mut file = tempfile::tempfile().map_err(refused)?;
                io::copy(&mut io::stdin(), &mut file).map_err(refused)?;
                Inputs::All(file)
            }
        })
    }

    /// Which workers' lines are printed.
    fn shown(&self, jobs: &[Job]) -> Result<Vec<bool>, Failure> {
        let Some(list) = &self.show else { return Ok(vec![true; jobs.len()]) };
        let mut shown = vec![false; jobs.len()];
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let named = jobs.iter().position(|job| job.name == part);
            let range = match (named, first.parse::<usize>(), last.parse::<usize>()) {
                (Some(index), ..) => index..=index,
                (None, Ok(first), Ok(last)) if first <= last && last < jobs.len() => first..=last,
                _ => {
                    return Err(Failure::Usage(format!(
                        "found --show {part}, expected a worker's name or number, less than {}, or \
                         a range: 0-3",
                        jobs.len()
                    )));
                }
            };
            shown[range].fill(true);
        }
        Ok(shown)
    }

    pub fn style(&self, jobs: &[Job]) -> Result<Style, Failure> {
        if let Some(folder) = &self.results {
            std::fs::create_dir_all(folder)
                .map_err(|error| Failure::of_path("make", folder, &error))?;
        }
        let is_named = self.format == Format::Short || self.procfile.is_some();
        let tag = self.tag.clone().or_else(|| is_named.then(Template::of_worker));
        Ok(Style {
            tag,
            alone: jobs.len() == 1,
            group: self.group,
            merged: is_one_file(&io::stdout(), &io::stderr()),
            times: self.timestamps.unwrap_or_default(),
            shown: self.shown(jobs)?,
            results: self.results.clone(),
        })
    }

    /// Stdout, stderr, and the file if there is one.
    pub fn sinks(&self) -> Result<Vec<Sink>, Failure> {
        let plain = Look {
            format: self.format,
            timestamps: self.timestamps.is_some() || self.format == Format::Short,
            color: false,
            caret: false,
            sgr: self.color == clap::ColorChoice::Always,
        };
        let (out, err) = (io::stdout(), io::stderr());
        let out_look =
            Look { color: is_colored(self.color, &out), caret: out.is_terminal(), ..plain };
        let err_look =
            Look { color: is_colored(self.color, &err), caret: err.is_terminal(), ..plain };
        let mut sinks = vec![
            Sink::new("the standard output", out_look, own(&out)?),
            Sink::new("the standard error", err_look, own(&err)?),
        ];
        if let Some(path) = &self.output {
            let limit = self.rotate.and_then(|rotation| rotation.size).unwrap_or(u64::MAX);
            let file = RotatingFile::open(path, limit, self.keep as u32);
            let mut file = file.map_err(|error| Failure::of_path("write", path, &error))?;
            file.set_longest_time(self.rotate.and_then(|rotation| rotation.time));
            file.set_compressed(self.compress)
                .map_err(|error| Failure::Failed(format!("cannot compress files: {error}")))?;
            sinks.push(Sink::new(path.display().to_string(), plain, file));
        }
        Ok(sinks)
    }

    /// Whether the ring can be taken over when this process is gone.
    pub fn outlives(&self) -> bool {
        self.file.is_some() || self.name.is_some()
    }
}

/// Whether two descriptors write to one place.
fn is_one_file(one: &impl AsFd, other: &impl AsFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}
