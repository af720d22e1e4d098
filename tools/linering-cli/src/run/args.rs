//! The options of `linering run`, and what follows from them.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use linering::RotatingFile;

use super::printer::Style;
use super::pump::Reads;
use crate::failure::Failure;
use crate::on_full::OnFull;
use crate::output::{Format, Look, Sink, Template, is_colored, own};
use crate::value_parser::{bytes, within};

/// Run copies of a command, every line of their output whole and in one order
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
    /// All at the same time. Empty lines and those that begin with # are left out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "command"])]
    pub commands: Option<PathBuf>,

    /// End the others as soon as one has failed
    #[arg(long)]
    pub halt: bool,

    /// Begin each line with its worker: "[0] ", or what TEMPLATE says
    ///
    /// {worker} stands for the worker's number, {stream} for stdout or stderr, {pid} for its
    /// process, {{ for a brace.
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "[{worker}] ", value_parser = Template::parse)]
    pub tag: Option<Template>,

    /// Begin each line with the time of its first byte
    #[arg(long)]
    pub timestamps: bool,

    /// How lines are printed
    #[arg(short = 'o', long, value_enum, default_value = "cat")]
    pub format: Format,

    /// Each worker's output together, at its end
    #[arg(long)]
    pub group: bool,

    /// Colour tags and times: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    pub color: clap::ColorChoice,

    /// Say on the terminal how far it is
    #[arg(long)]
    pub progress: bool,

    /// Append everything to this file too, in the same format
    ///
    /// Goes on when standard output has no reader any more.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Begin a new output file when it has SIZE bytes; the old one becomes FILE.1
    ///
    /// K, M and G stand for 1024, 1024² and 1024³ bytes. Lines are never divided.
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = bytes)]
    pub rotate: Option<u64>,

    /// Old output files that stay, 1 to 1000000
    #[arg(long, value_name = "N", default_value = "5", requires = "rotate", value_parser = within(1, 1_000_000))]
    pub keep: usize,

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

    /// Lines (or parts of long lines) that the ring holds
    #[arg(long, value_name = "N", default_value = "2048")]
    pub lines: usize,

    /// Bytes of one slot of the ring; a longer line takes several
    #[arg(long, value_name = "N", default_value = "2048")]
    pub line_bytes: usize,

    /// Keep the ring in this new file, which stays
    #[arg(long, value_name = "PATH", conflicts_with = "name")]
    pub file: Option<PathBuf>,

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
    #[arg(required_unless_present = "commands", trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  linering run -n 4 --tag -- sh -c 'echo worker $LINERING_WORKER of $LINERING_WORKERS'
  seq 1000000 | linering run -- cat

Exit code: how many copies failed (100 at most); 2 for wrong usage, 127 if the command cannot be started, 125 if something
else went wrong.";

/// Bytes that all long lines together take, if `--max-line` is not given.
const LONG_LINES: usize = 16 << 20;

/// Each copy has two mirrors, and may open one of its own.
const MAX_WORKERS: usize = 1000;

impl Args {
    /// How the pump reads. A ring that overwrites holds a line of half its bytes at most.
    pub fn reads(&self, workers: usize) -> Reads {
        let half = self.lines.saturating_mul(self.line_bytes.saturating_sub(32)) / 2;
        let most = if self.on_full == OnFull::Overwrite { half.max(2) } else { usize::MAX };
        let at_once = (most / 2).min(1 << 16);
        // Where lines are counted or numbered each is on its own.
        let packed = self.on_full == OnFull::Block && self.format != Format::Json;
        let max_line =
            self.max_line.unwrap_or((LONG_LINES / (2 * workers)).clamp(1 << 17, 1 << 22));
        Reads { at_once, cut: max_line.min(most - at_once), packed }
    }

    /// What each worker runs.
    pub fn commands(&self) -> Result<Vec<Vec<OsString>>, Failure> {
        let Some(path) = &self.commands else {
            if self.command[0].is_empty() {
                return Err(Failure::Usage(
                    "found an empty command, expected a program".to_owned(),
                ));
            }
            return Ok(vec![self.command.clone(); self.workers]);
        };
        let text = std::fs::read(path).map_err(|error| Failure::of_path("read", path, &error))?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        let command = |line| vec!["sh".into(), "-c".into(), OsStr::from_bytes(line).to_owned()];
        let commands: Vec<_> = lines.map(command).collect();
        if (1..=MAX_WORKERS).contains(&commands.len()) {
            return Ok(commands);
        }
        let (path, found) = (path.display(), commands.len());
        Err(Failure::Usage(format!("{path} has {found} commands, expected 1 to {MAX_WORKERS}")))
    }

    pub fn style(&self, workers: usize) -> Style {
        let tag =
            self.tag.clone().or_else(|| (self.format == Format::Short).then(Template::of_worker));
        Style {
            tag,
            alone: workers == 1,
            group: self.group,
            merged: is_one_file(&io::stdout(), &io::stderr()),
        }
    }

    /// Stdout, stderr, and the file if there is one.
    pub fn sinks(&self) -> Result<Vec<Sink>, Failure> {
        let plain = Look {
            format: self.format,
            timestamps: self.timestamps || self.format == Format::Short,
            color: false,
            caret: false,
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
            let limit = self.rotate.unwrap_or(u64::MAX);
            let file = RotatingFile::open(path, limit, self.keep as u32);
            let file = file.map_err(|error| Failure::of_path("write", path, &error))?;
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
