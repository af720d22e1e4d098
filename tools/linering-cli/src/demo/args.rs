//! The options of `linering demo`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::generator::MAX_LINES;
use crate::on_full::OnFull;
use crate::value_parser::within;

/// Let workers write lines into a ring while one reader drains and verifies them
///
/// Worker processes (or threads) write straight into shared memory. The reader checks each line
/// against what its worker wrote: the order, the bytes and the count. Then the figures are printed
/// on standard output; the first line that is not as expected ends the demo with exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Workers that write, 1 to 1000
    #[arg(short, long, value_name = "N", default_value = "2", value_parser = within(1, MAX_WORKERS))]
    pub workers: usize,

    /// Lines in all, shared out evenly
    #[arg(short = 'n', long, value_name = "M", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_LINES), conflicts_with = "input")]
    pub lines: u64,

    /// What the workers are
    #[arg(short, long, value_enum, default_value = "procs")]
    pub mode: Mode,

    /// Bytes of each line, 0 to 1 GiB
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = within(0, 1 << 30), conflicts_with = "input")]
    pub len: usize,

    /// Write the lines of this file instead: any bytes, but it must not change meanwhile
    ///
    /// Each worker gets a contiguous share of about the same size, cut at ends of lines. Nothing
    /// in a line is changed, and none is too long.
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Write the drained lines into this file; - is standard output, and the figures then go to
    /// standard error
    ///
    /// Each worker's lines are in its order; the workers' lines are mixed. An input's last line
    /// without an end stays without one if there is one worker; with more, it gets one, since
    /// others may come after it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Lines (or parts of long lines) that the ring holds [default: 4096]
    #[arg(long, value_name = "N")]
    pub ring_lines: Option<usize>,

    /// Bytes of one slot of the ring; a longer line takes several [default: 256]
    #[arg(long, value_name = "N")]
    pub line_bytes: Option<usize>,

    /// What a writer does when the ring is full
    ///
    /// With "drop" and "overwrite", lost lines are reported, and it is verified that those and the
    /// ones that came make up what was written.
    #[arg(long, value_enum, default_value = "block")]
    pub policy: OnFull,
}

/// Far more than keep a machine busy.
const MAX_WORKERS: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  linering demo
  linering demo --workers 4 --lines 10000000 --mode threads
  linering demo --input /var/log/dpkg.log --output drained.log
  linering demo --policy overwrite --ring-lines 64

Exit code: 0 when each line came whole and in its order, 1 for a failure, 2 for wrong usage, 130
after Ctrl-C.";

/// What the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Forked processes
    Procs,
    /// Threads of one process
    Threads,
}
