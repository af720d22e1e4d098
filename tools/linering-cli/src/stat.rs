//! `linering stat`: what a ring is, how far it has come, and who writes into it.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use linering::{End, Statistics, WriterState, WriterStatistics, turn_sigbus_into_errors};
use serde::Serialize;

use crate::cat::OneRing;
use crate::failure::Failure;
use crate::tail::{is_unread, pause};

/// Show what a ring is, how far it has come, and who writes into it
///
/// The writers are those that are open, and those whose end no reader has accepted. Changes
/// nothing in the ring, and keeps no writer waiting.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,

    /// How it is printed
    #[arg(short = 'o', long, value_enum, default_value = "short")]
    format: Form,

    /// Print it each second, until no process uses the ring any more
    #[arg(long)]
    watch: bool,
}

const EXAMPLES: &str = "\
Examples:
  linering stat builds
  linering stat --watch builds
  linering stat -o prometheus builds > /var/lib/node_exporter/builds.prom

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// How a ring's numbers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A table
    Short,
    /// A JSON object
    Json,
    /// Metrics, as Prometheus reads them
    Prometheus,
}

/// Shows them.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot read {}: {error}", args.ring))
    };
    turn_sigbus_into_errors().map_err(|error| failed(&error))?;
    let observer = args.ring.observer().map_err(|error| failed(&error))?;
    let mut out = std::io::stdout();
    loop {
        let is_used = observer.is_used_now();
        let found = observer.statistics().map_err(|error| failed(&error))?;
        let mut text = match args.format {
            Form::Short => table(&args.ring.name, &found),
            Form::Json => json(&args.ring.name, &found),
            Form::Prometheus => prometheus(&args.ring.name, &found),
        };
        if args.watch && args.format == Form::Short && out.is_terminal() {
            text.insert_str(0, "\x1b[H\x1b[2J");
        }
        out.write_all(text.as_bytes())
            .map_err(|error| Failure::of_write("the standard output", &error))?;
        if !args.watch || !is_used || is_unread() {
            return Ok(ExitCode::SUCCESS);
        }
        for _ in 0..10 {
            pause(Duration::from_millis(100));
        }
    }
}

/// What a writer does, in one word.
pub fn state(writer: &WriterStatistics) -> &'static str {
    match writer.state {
        WriterState::Waiting => "waiting",
        WriterState::Open => "open",
        WriterState::Gone => "gone",
        WriterState::Ended(End::Eof) => "eof",
        WriterState::Ended(End::Error) => "error",
        WriterState::Ended(End::Died) => "died",
        WriterState::Ended(End::Cancelled) => "cancelled",
        WriterState::Ended(End::NeverOpened) => "never-opened",
        _ => "?",
    }
}

/// A time, in its largest unit.
pub fn age(since: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(since).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number of bytes, in its largest unit.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

fn table(ring: &str, found: &Statistics) -> String {
    let mut text = String::new();
    let reads = match (found.is_used, found.has_reader) {
        (_, true) => "a process reads it",
        (true, false) => "no process reads it",
        (false, _) => "no process uses it",
    };
    let checks = if found.checksums { ", checksums" } else { "" };
    let stopped = if found.stopped { ", writers were told to stop" } else { "" };
    let _ = writeln!(
        text,
        "{ring}: {} lines of up to {} bytes, {}, {}{checks}, made {} ago",
        found.lines,
        found.line_bytes,
        size(found.bytes),
        found.policy,
        age(found.created)
    );
    let counts = &found.counts;
    let _ = writeln!(
        text,
        "positions {} to {}, {} unread; found full {} times; {reads}{stopped}",
        found.accepted,
        found.next,
        found.unread(),
        counts.found_full
    );
    let _ = writeln!(
        text,
        "writers: {} open, {} seats, {} ended, {} with an error, {} died",
        counts.live, counts.seats, counts.eofs, counts.errors, counts.deaths
    );
    if found.writers.is_empty() {
        return text;
    }
    let mut rows = vec![["WRITER", "LABEL", "PID", "STATE", "LINES", "DROPPED"].map(str::to_owned)];
    rows.extend(found.writers.iter().map(|writer| {
        [
            writer.writer_id.to_string(),
            writer.label.clone(),
            writer.process.map_or_else(String::new, |process| process.to_string()),
            state(writer).to_owned(),
            writer.lines.to_string(),
            writer.dropped.to_string(),
        ]
    }));
    text.push_str(&aligned(&rows, &[true, false, true, false, true, true]));
    text
}

/// Rows with their columns one below the other; those of numbers end alike.
pub fn aligned<const N: usize>(rows: &[[String; N]], numbers: &[bool; N]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            let _ = match numbers[column] {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[derive(Serialize)]
struct Object<'s> {
    ring: &'s str,
    created: String,
    policy: &'static str,
    lines: u64,
    line_bytes: u64,
    max_line: u64,
    bytes: u64,
    checksums: bool,
    first: u64,
    accepted: u64,
    next: u64,
    unread: u64,
    stopped: bool,
    reader: bool,
    used: bool,
    open: u64,
    seats: u64,
    eofs: u64,
    errors: u64,
    deaths: u64,
    found_full: u64,
    writers: Vec<Writer<'s>>,
}

#[derive(Serialize)]
struct Writer<'s> {
    writer: u32,
    label: &'s str,
    pid: Option<u32>,
    state: &'static str,
    lines: u64,
    dropped: u64,
    unfinished: u64,
}

/// A ring's numbers as one JSON object, and an end of line.
pub fn json(ring: &str, found: &Statistics) -> String {
    let counts = &found.counts;
    let created = jiff::Timestamp::try_from(found.created);
    let object = Object {
        ring,
        created: created.map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}")),
        policy: found.policy.as_str(),
        lines: found.lines,
        line_bytes: found.line_bytes,
        max_line: found.max_line,
        bytes: found.bytes,
        checksums: found.checksums,
        first: found.first,
        accepted: found.accepted,
        next: found.next,
        unread: found.unread(),
        stopped: found.stopped,
        reader: found.has_reader,
        used: found.is_used,
        open: counts.live,
        seats: counts.seats,
        eofs: counts.eofs,
        errors: counts.errors,
        deaths: counts.deaths,
        found_full: counts.found_full,
        writers: found
            .writers
            .iter()
            .map(|writer| Writer {
                writer: writer.writer_id,
                label: &writer.label,
                pid: writer.process,
                state: state(writer),
                lines: writer.lines,
                dropped: writer.dropped,
                unfinished: writer.unfinished,
            })
            .collect(),
    };
    // Strings and numbers: cannot fail.
    let mut text = serde_json::to_string(&object).unwrap_or_default();
    text.push('\n');
    text
}

/// Metrics, each with what it means.
fn prometheus(ring: &str, found: &Statistics) -> String {
    let mut text = String::new();
    let ring = label_of(ring);
    let counts = &found.counts;
    let mut metric = |name: &str, kind: &str, help: &str, values: &[(String, String)]| {
        let _ = writeln!(text, "# HELP linering_{name} {help}\n# TYPE linering_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "linering_{name}{{ring=\"{ring}\"{labels}}} {value}");
        }
    };
    let of = |value: u64| vec![(String::new(), value.to_string())];
    let positions = found.next.wrapping_sub(found.first);
    metric("slots_written_total", "counter", "Slots that were filled.", &of(positions));
    let accepted = found.accepted.wrapping_sub(found.first);
    metric("slots_accepted_total", "counter", "Slots that a reader has accepted.", &of(accepted));
    metric("unread_slots", "gauge", "Slots that no reader has accepted.", &of(found.unread()));
    metric("capacity_slots", "gauge", "Slots of the ring.", &of(found.lines));
    metric("size_bytes", "gauge", "Bytes of its memory or file.", &of(found.bytes));
    let seconds = found.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = vec![(String::new(), format!("{:.3}", seconds.as_secs_f64()))];
    metric("created_timestamp_seconds", "gauge", "When it was made.", &seconds);
    metric(
        "readers",
        "gauge",
        "Processes that read it: one, or none.",
        &of(found.has_reader.into()),
    );
    metric("open_writers", "gauge", "Mirrors that are open.", &of(counts.live));
    metric("waiting_seats", "gauge", "Seats that no process has opened.", &of(counts.seats));
    let ended = [("eof", counts.eofs), ("error", counts.errors), ("death", counts.deaths)]
        .map(|(how, count)| (format!(",how=\"{how}\""), count.to_string()));
    metric("ended_writers_total", "counter", "Mirrors that have ended.", &ended);
    metric(
        "found_full_total",
        "counter",
        "How often a writer found it full.",
        &of(counts.found_full),
    );
    let each = |value: fn(&WriterStatistics) -> u64| -> Vec<_> {
        let writers = found.writers.iter();
        writers
            .map(|writer| {
                let (number, label) = (writer.writer_id, label_of(&writer.label));
                (format!(",writer=\"{number}\",label=\"{label}\""), value(writer).to_string())
            })
            .collect()
    };
    metric("writer_lines_total", "counter", "Lines of a writer.", &each(|it| it.lines));
    metric("writer_dropped_total", "counter", "Lines that it dropped.", &each(|it| it.dropped));
    text
}

/// A label's value, between quotes.
fn label_of(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
