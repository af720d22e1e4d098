//! Compares linering with other ways of bringing lines from many writers to one reader. `README.md`
//! says how.
//!
//! A supervisor ([`supervise`]) runs this program once for each measurement, `compare one ...`,
//! with a time limit. That process makes one [`transport`], starts its writers as threads or forked
//! children, reads and checks every line ([`mod@line`]), and prints one line of JSON. The
//! supervisor takes repetitions in turns, and gives medians with their spread.
//!
//! The rooms, from the top down; a room imports only rooms below it:
//!
//! ```text
//! main
//! supervise  plot             processes with a time limit; pictures of their results
//! transports                  the table of transports, one file each; runs the case that is named
//! measure  report             one measurement of a given transport; results as JSON and tables
//! case                        what is asked for, what came out
//! transport                   the trait that every transport has
//! clock  distance  line  shared  stats
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};

mod case;
mod clock;
mod distance;
mod line;
mod measure;
mod plot;
mod report;
mod shared;
mod stats;
mod supervise;
mod transport;
mod transports;

use case::{Case, LENGTHS, Measure, Named, ROOM};
use report::{Machine, Results};
use supervise::Group;
use transport::{Kind, Mode, Reading};
use transports::{ALL, Listed};

/// Compares linering with other ways of bringing lines from many writers to one reader.
#[derive(Debug, Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// One measurement, in this process
    #[command(hide = true)]
    One(Case),
    /// Draw the pictures of results
    Plot {
        /// What `--out` wrote, of one run or of several
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// The folder for the pictures
        #[arg(long, default_value = ".")]
        to: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Throughput,
    Paced,
    Memory,
    Syscalls,
    All,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Everything once, with few lines: shows that it works; its figures say little
    #[arg(long)]
    quick: bool,
    /// Threads, processes, or both
    #[arg(long, value_delimiter = ',')]
    mode: Vec<Mode>,
    /// Only these, by their names in the tables
    #[arg(long, value_delimiter = ',')]
    transport: Vec<String>,
    /// How many writers [default: 1,2,8, and 16 where there are as many processors]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256))]
    writers: Vec<u16>,
    /// Bytes of a line: 32, 100, 256, 1000 or 4000
    #[arg(long, value_delimiter = ',', default_value = "100")]
    bytes: Vec<usize>,
    /// Lines that each transport should have room for
    #[arg(long, default_value_t = ROOM as u32, value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    room: u32,
    /// Nanoseconds of a round trip of a cache line from which on processors are far from each
    /// other: repetitions of one distance are compared with each other, and no others
    #[arg(long, default_value = "100", value_name = "NS")]
    far: f64,
    /// Repetitions of each measurement [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: Option<u16>,
    #[arg(long, default_value = "all")]
    measure: Wanted,
    /// How the reader waits, for throughput and system calls [default: polling if it can; blocking
    /// if it can for system calls]
    #[arg(long)]
    reading: Option<Reading>,
    /// Lines of a measurement [default: as many as take about a second]
    #[arg(long)]
    lines: Option<u64>,
    /// Seconds after which a measurement is given up [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3600))]
    limit: Option<u16>,
    /// The file for all results, as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/results.json"))]
    out: PathBuf,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return wrong(&first_sentence(&error.to_string())),
        Err(help) => help.exit(),
    };
    match cli.command {
        Some(Sub::One(case)) => {
            transports::run_case(&case);
            ExitCode::SUCCESS
        }
        Some(Sub::Plot { results, to }) => match plot::all(&results, &to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => wrong(&words),
        },
        None => run(&cli.run),
    }
}

/// Wrong arguments: one sentence, and the exit code that says so.
fn wrong(words: &str) -> ExitCode {
    eprintln!("compare: {words}");
    ExitCode::from(2)
}

/// clap's own words without its advice.
fn first_sentence(error: &str) -> String {
    let first = error.split("\n\n").next().unwrap_or(error);
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

fn run(args: &RunArgs) -> ExitCode {
    if let Err(words) = check(args) {
        return wrong(&words);
    }
    let traced = match args.measure {
        Wanted::Syscalls | Wanted::All => supervise::can_trace(),
        _ => Ok(()),
    };
    if let (Wanted::Syscalls, Err(words)) = (args.measure, &traced) {
        return wrong(words);
    }
    if let Err(words) = &traced {
        eprintln!("{words}");
    }
    let repeat = args.repeat.map_or(if args.quick { 1 } else { 5 }, usize::from);
    let groups = groups(args, traced.is_ok());
    if groups.is_empty() {
        return wrong("none of these transports does that in this mode");
    }
    let measured = groups.into_iter().flat_map(|group| group.run(repeat)).collect();
    let when = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let results = Results { machine: Machine::this(), when, far_ns: args.far, measured };
    println!("{}", results.tables());
    let text = serde_json::to_string_pretty(&results).expect("figures and words are JSON");
    let folder = args.out.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| std::fs::write(&args.out, text)) {
        eprintln!("compare: cannot write {}: {error}", args.out.display());
        return ExitCode::FAILURE;
    }
    eprintln!("All results: {}", args.out.display());
    let failures = results.failures();
    failures.iter().for_each(|words| eprintln!("FAILED: {words}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(args: &RunArgs) -> Result<(), String> {
    if let Some(bytes) = args.bytes.iter().find(|bytes| !LENGTHS.contains(bytes)) {
        return Err(format!(
            "lines of {bytes} bytes are not compiled in; there are 32, 100, 256, 1000 and 4000"
        ));
    }
    if let Some(name) =
        args.transport.iter().find(|name| ALL.iter().all(|listed| listed.name != **name))
    {
        let known =
            ALL.iter().filter(|listed| listed.kind != Kind::Faulty).map(|listed| listed.name);
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        known.dedup();
        return Err(format!("there is no transport '{name}'; there are {}", known.join(", ")));
    }
    Ok(())
}

/// All measurements that are asked for, those that are compared with each other together.
fn groups(args: &RunArgs, can_trace: bool) -> Vec<Group> {
    let wants = |measure| args.measure == measure || args.measure == Wanted::All;
    let mut groups = Vec::new();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let given: Vec<usize> = args.writers.iter().map(|count| usize::from(*count)).collect();
    let or = |usual: &[usize]| if given.is_empty() { usual.to_vec() } else { given.clone() };
    let usual: &[usize] = match processors {
        _ if args.quick => &[1, 2],
        16.. => &[1, 2, 8, 16],
        _ => &[1, 2, 8],
    };
    let polling = args.reading.unwrap_or(Reading::Polling);
    let all_modes = [Mode::Threads, Mode::Processes];
    for mode in
        all_modes.into_iter().filter(|mode| args.mode.is_empty() || args.mode.contains(mode))
    {
        for &bytes in &args.bytes {
            let mut add = |measure, reading, writers, lines: [u64; 2]| {
                let lines = args.lines.unwrap_or(lines[usize::from(args.quick)]);
                let case = Case {
                    transport: String::new(),
                    mode,
                    measure,
                    reading,
                    writers,
                    lines,
                    bytes,
                    room: args.room as usize,
                    limit: args.limit.unwrap_or(if args.quick { 10 } else { 20 }).into(),
                };
                groups.extend(group(args, &case));
            };
            if wants(Wanted::Throughput) {
                or(usual).iter().for_each(|&writers| {
                    add(Measure::Throughput, polling, writers, [0, 20_000]);
                });
            }
            if wants(Wanted::Paced) {
                for writers in or(if args.quick { &[1] } else { &[1, 2] }) {
                    for reading in [Reading::Polling, Reading::Blocking] {
                        add(Measure::Paced, reading, writers, [200_000, 2_000]);
                    }
                }
            }
            if wants(Wanted::Memory) {
                or(&[1]).iter().for_each(|&writers| {
                    add(Measure::Memory, polling, writers, [1_000_000, 20_000]);
                });
            }
            if wants(Wanted::Syscalls) && can_trace {
                or(&[1]).iter().for_each(|&writers| {
                    let reading = args.reading.unwrap_or(Reading::Blocking);
                    add(Measure::Syscalls, reading, writers, [20_000, 1_000]);
                });
            }
        }
    }
    groups
}

/// The transports that can be measured like this.
fn group(args: &RunArgs, like: &Case) -> Option<Group> {
    let named = |listed: &&Listed| match args.transport.is_empty() {
        true => listed.kind != Kind::Faulty,
        false => args.transport.iter().any(|name| name == listed.name),
    };
    let fits = |listed: &&Listed| {
        // Where two ways of waiting are compared, each stands in its own table; else a transport
        // waits as it can.
        let waits = like.measure != Measure::Paced || listed.reading.contains(&like.reading);
        let measured = match listed.kind {
            Kind::Limit => matches!(like.measure, Measure::Throughput | Measure::Paced),
            Kind::Alone => matches!(like.measure, Measure::Throughput | Measure::Memory),
            Kind::Linering | Kind::Rival | Kind::Faulty => true,
        };
        listed.mode == like.mode && waits && measured
    };
    let cases: Vec<_> = ALL
        .iter()
        .filter(named)
        .filter(fits)
        .map(|listed| {
            let can = listed.reading.contains(&like.reading);
            let reading = if can { like.reading } else { listed.reading[0] };
            (*listed, Case { transport: listed.name.into(), reading, ..like.clone() })
        })
        .collect();
    let title = format!(
        "{}, {}, {} writers, {} bytes, reader {}",
        like.measure.name(),
        like.mode.name(),
        like.writers,
        like.bytes,
        like.reading.name()
    );
    let pilots = like.measure == Measure::Throughput && like.lines == 0;
    (!cases.is_empty()).then_some(Group { title, cases, pilots })
}
