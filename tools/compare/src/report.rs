//! What was measured: as JSON, with every repetition, and as tables.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::case::{Case, Figures, Measure, Named, Outcome};
use crate::distance::Distance;
use crate::stats::Spread;
use crate::transport::{Kind, Mode, Reading};

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    /// Seconds since 1970.
    pub when: u64,
    /// Nanoseconds of a round trip from which on processors are far; nothing where it is not timed.
    #[serde(default)]
    pub far_ns: f64,
    pub measured: Vec<Measured>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub processors: usize,
    pub model: String,
    pub kernel: String,
}

impl Machine {
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: model.unwrap_or("unknown").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// One case and its repetitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub kind: Kind,
    pub case: Case,
    pub outcomes: Vec<Outcome>,
}

impl Measured {
    /// The repetitions of this distance alone, and those that went wrong.
    fn at(&self, wanted: Distance, far_ns: f64) -> Self {
        let is_there = |outcome: &&Outcome| match outcome {
            Outcome::Good(figures) => figures.distance(far_ns) == Some(wanted),
            Outcome::Fault(_) => true,
        };
        let outcomes = self.outcomes.iter().filter(is_there).cloned().collect();
        Self { outcomes, kind: self.kind, case: self.case.clone() }
    }

    /// What went wrong, if anything did.
    pub fn fault(&self) -> Option<&str> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Fault(words) => Some(words.as_str()),
            Outcome::Good(_) => None,
        })
    }

    /// One figure over all repetitions; `None` if one of them went wrong.
    pub fn spread(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        let figures = self.outcomes.iter().map(|outcome| match outcome {
            Outcome::Good(figures) => figure(figures),
            Outcome::Fault(_) => None,
        });
        Spread::of(figures.collect::<Option<Vec<f64>>>()?)
    }

    pub fn lines_per_second(&self) -> Option<Spread> {
        self.spread(|figures| Some(figures.lines_per_second()))
    }

    fn cell(&self, scale: f64, figure: impl Fn(&Figures) -> Option<f64>) -> String {
        if let Some(words) = self.fault() {
            return words.replace('|', "/");
        }
        let Some(spread) = self.spread(figure) else { return String::new() };
        let [median, min, max] =
            [spread.median, spread.min, spread.max].map(|value| number(value / scale));
        match self.outcomes.len() {
            1 => median,
            times => format!("{median} ({min}..{max}; {times})"),
        }
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 0.001 => format!("{value:.1e}"),
        value if value < 1.0 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// What distinguishes one table from another.
type Table = (Measure, Mode, usize, Reading, usize);

impl Results {
    /// All tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        let mut tables: Vec<Table> = self.measured.iter().map(|one| table_of(&one.case)).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            let rows: Vec<_> =
                self.measured.iter().filter(|one| table_of(&one.case) == table).collect();
            let distances = self.distances(&rows);
            for distance in &distances {
                self.table(&mut text, &table, &rows, *distance);
            }
            if distances.is_empty() {
                text += &table_text(&table, &rows, "");
            }
            text += &self.changed(&rows);
            text += &rooms(&rows);
            text.push('\n');
        }
        text
    }

    /// The distances at which repetitions of these were measured.
    fn distances(&self, rows: &[&Measured]) -> Vec<Distance> {
        let known = |wanted: &Distance| !self.round_trips(rows, *wanted).is_empty();
        [Distance::Near, Distance::Far].into_iter().filter(known).collect()
    }

    /// All round trips beside repetitions at this distance.
    fn round_trips(&self, rows: &[&Measured], wanted: Distance) -> Vec<f64> {
        let figures =
            rows.iter().flat_map(|one| &one.outcomes).filter_map(|outcome| match outcome {
                Outcome::Good(figures) if figures.distance(self.far_ns) == Some(wanted) => {
                    figures.round_trips
                }
                _ => None,
            });
        figures.flat_map(|trips| [trips.before_ns, trips.after_ns]).collect()
    }

    fn table(&self, text: &mut String, table: &Table, rows: &[&Measured], distance: Distance) {
        let at: Vec<Measured> = rows.iter().map(|one| one.at(distance, self.far_ns)).collect();
        let at: Vec<&Measured> = at.iter().collect();
        let words = Spread::of(self.round_trips(rows, distance)).map_or(String::new(), |trips| {
            let [median, min, max] = [trips.median, trips.min, trips.max].map(number);
            format!(", processors {} ({median} ns a round trip, {min}..{max})", distance.name())
        });
        *text += &table_text(table, &at, &words);
        text.push('\n');
    }

    /// The repetitions that are in no table.
    fn changed(&self, rows: &[&Measured]) -> String {
        match self.round_trips(rows, Distance::Changed).len() / 2 {
            0 => String::new(),
            times => format!(
                "\nRepetitions during which the distance of the processors changed, and which are \
                 in no table: {times}.\n"
            ),
        }
    }

    /// What can stand in one picture: the repetitions of the distance that most of them have.
    pub fn of_usual_distance(self) -> Vec<Measured> {
        let rows: Vec<&Measured> = self.measured.iter().collect();
        let count = |distance| self.round_trips(&rows, distance).len();
        let usual = match (count(Distance::Near), count(Distance::Far)) {
            (0, 0) => return self.measured,
            (near, far) if near >= far => Distance::Near,
            _ => Distance::Far,
        };
        let at = |one: &Measured| match one.case.measure.is_timed() {
            true => one.at(usual, self.far_ns),
            false => one.clone(),
        };
        self.measured.iter().map(at).filter(|one| !one.outcomes.is_empty()).collect()
    }

    /// What linering itself did wrong.
    pub fn failures(&self) -> Vec<String> {
        let ours = self.measured.iter().filter(|one| one.kind == Kind::Linering);
        ours.filter_map(|one| {
            let case = &one.case;
            let words = one.fault()?;
            Some(format!(
                "linering, {}, {}, {} writers: {words}",
                case.measure.name(),
                case.mode.name(),
                case.writers
            ))
        })
        .collect()
    }
}

fn table_text(table: &Table, rows: &[&Measured], distance: &str) -> String {
    let body = match table.0 {
        Measure::Throughput => throughput(rows),
        _ => one_a_row(rows),
    };
    format!("## {}{distance}\n\n{body}", title(table, rows))
}

fn table_of(case: &Case) -> Table {
    // Writers are columns where it is how many go through.
    let writers = if case.measure == Measure::Throughput { 0 } else { case.writers };
    // Elsewhere who waits otherwise than the others stands among them, and says so.
    let reading = if case.measure == Measure::Paced { case.reading } else { Reading::Polling };
    (case.measure, case.mode, case.bytes, reading, writers)
}

/// The transports that have other room than was asked for.
fn rooms(rows: &[&Measured]) -> String {
    let mut words: Vec<String> = Vec::new();
    for one in
        rows.iter().filter(|one| one.case.measure == Measure::Throughput && one.kind == Kind::Rival)
    {
        let room = one.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Good(figures) => Some(figures.room),
            Outcome::Fault(_) => None,
        });
        let said = match room {
            None => continue,
            Some(Some(room)) if room == one.case.room => continue,
            Some(Some(room)) => format!("{} {room}", one.case.transport),
            Some(None) => format!("{} unknown", one.case.transport),
        };
        if !words.contains(&said) {
            words.push(said);
        }
    }
    match rows.first() {
        Some(first) if !words.is_empty() => {
            format!("\nRoom other than {} lines: {}.\n", first.case.room, words.join(", "))
        }
        _ => String::new(),
    }
}

/// How most readers of a table wait: as linering's, if it is there.
fn usual(rows: &[&Measured]) -> Option<Reading> {
    let ours = rows.iter().find(|one| one.kind == Kind::Linering);
    ours.or(rows.first()).map(|one| one.case.reading)
}

/// A transport's name, and how its reader waits if that is not as with the others.
fn row_name(one: &Measured, rows: &[&Measured]) -> String {
    match usual(rows) {
        Some(reading) if reading != one.case.reading && one.kind == Kind::Rival => {
            format!("{} ({})", one.case.transport, one.case.reading.name())
        }
        _ => one.case.transport.clone(),
    }
}

fn title((measure, mode, bytes, _, writers): &Table, rows: &[&Measured]) -> String {
    let lines = rows.first().map_or(0, |one| one.case.lines);
    let from = match (mode, writers) {
        (_, 0) => mode.name(),
        (Mode::Threads, 1) => "one thread".into(),
        (Mode::Processes, 1) => "one process".into(),
        (mode, writers) => format!("{writers} {}", mode.name()),
    };
    let reading = match usual(rows) {
        Some(Reading::Blocking) => "reader blocking",
        _ => "reader polling",
    };
    match measure {
        Measure::Throughput => {
            format!("Million lines of {bytes} bytes a second, lossless, {from}, {reading}")
        }
        Measure::Paced => {
            format!(
                "Nanoseconds of one call, one each 2 µs, lines of {bytes} bytes, {from}, {reading}"
            )
        }
        Measure::Memory => {
            format!(
                "Resident memory (MiB) of the reading process at its highest, {lines} lines of {bytes} bytes, {from}"
            )
        }
        Measure::Syscalls => {
            format!("System calls per line, {lines} lines of {bytes} bytes, {from}, {reading}")
        }
    }
}

fn throughput(rows: &[&Measured]) -> String {
    let mut writers: Vec<usize> = rows.iter().map(|one| one.case.writers).collect();
    writers.sort_unstable();
    writers.dedup();
    let mut text = String::from("| |");
    for count in &writers {
        let _ = write!(text, " {count} writer{} |", if *count == 1 { "" } else { "s" });
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(writers.len()));
    for name in names(rows) {
        let _ = write!(text, "| {name} |");
        for count in &writers {
            let one =
                rows.iter().find(|one| row_name(one, rows) == name && one.case.writers == *count);
            let cell = one.map(|one| one.cell(1e6, |figures| Some(figures.lines_per_second())));
            let _ = write!(text, " {} |", cell.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// The transports, each once, in the order in which they were measured.
fn names(rows: &[&Measured]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().map(|one| row_name(one, rows)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A figure of a run.
type Figure = fn(&Figures) -> Option<f64>;

fn one_a_row(rows: &[&Measured]) -> String {
    let columns: &[(&str, Figure)] = match rows[0].case.measure {
        Measure::Throughput => &[],
        Measure::Paced => &[
            ("average of the lowest 99 %", |figures| figures.cost_ns.map(|cost| cost.mean99)),
            ("p50", |figures| figures.cost_ns.map(|cost| cost.p50)),
            ("p99", |figures| figures.cost_ns.map(|cost| cost.p99)),
            ("p99.9", |figures| figures.cost_ns.map(|cost| cost.p999)),
        ],
        Measure::Memory => {
            &[("MiB", |figures| figures.resident_kib.map(|kib| kib as f64 / 1024.0))]
        }
        Measure::Syscalls => &[("calls per line", |figures| figures.syscalls)],
    };
    let mut text = String::from("| |");
    columns.iter().for_each(|(head, _)| text += &format!(" {head} |"));
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
    for one in rows {
        let _ = write!(text, "| {} |", row_name(one, rows));
        let cells = columns.iter().map(|(_, figure)| one.cell(1.0, figure));
        // What went wrong is said once.
        let shown = if one.fault().is_some() { 1 } else { columns.len() };
        cells.enumerate().for_each(|(column, cell)| {
            let _ = write!(text, " {} |", if column < shown { cell.as_str() } else { "" });
        });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::ROOM;
    use crate::distance::RoundTrips;

    fn measured(kind: Kind, outcomes: Vec<Outcome>) -> Measured {
        let case = Case {
            transport: "one".into(),
            mode: Mode::Threads,
            measure: Measure::Throughput,
            reading: Reading::Polling,
            writers: 2,
            lines: 1000,
            bytes: 100,
            room: ROOM,
            limit: 5,
        };
        Measured { kind, case, outcomes }
    }

    fn good(seconds: f64) -> Outcome {
        Outcome::Good(Figures { lines: 1_000_000, seconds, ..Figures::default() })
    }

    fn results(measured: Vec<Measured>) -> Results {
        Results { machine: Machine::this(), when: 0, far_ns: 100.0, measured }
    }

    #[test]
    fn a_table_has_medians_with_their_spread() {
        let one = measured(Kind::Rival, vec![good(0.1), good(0.05), good(0.2)]);
        assert!(results(vec![one]).tables().contains("| one | 10.0 (5.00..20.0; 3) |"));
    }

    #[test]
    fn repetitions_of_two_distances_are_in_two_tables_and_others_in_none() {
        let at = |seconds, before_ns, after_ns| {
            let round_trips = Some(RoundTrips { before_ns, after_ns });
            let figures = Figures { lines: 1_000_000, seconds, round_trips, ..Figures::default() };
            Outcome::Good(figures)
        };
        let outcomes = vec![at(0.1, 50.0, 60.0), at(0.5, 150.0, 140.0), at(0.2, 50.0, 150.0)];
        let text = results(vec![measured(Kind::Rival, outcomes)]).tables();
        let (near, far) = text.split_once("processors far").expect("two tables");
        assert!(near.contains("processors near (55.0 ns a round trip, 50.0..60.0)"), "{text}");
        assert!(near.contains("| one | 10.0 |"), "{text}");
        assert!(far.contains("| one | 2.00 |"), "{text}");
        assert!(far.contains("changed, and which are in no table: 1."), "{text}");
    }

    #[test]
    fn no_figure_is_given_if_one_repetition_went_wrong() {
        let one = measured(Kind::Rival, vec![good(0.1), Outcome::Fault("lost 3 of 1000".into())]);
        assert_eq!(one.lines_per_second(), None);
        assert!(results(vec![one]).tables().contains("| one | lost 3 of 1000 |"));
    }

    #[test]
    fn a_fault_is_a_failure_if_it_is_linerings() {
        let fault = || vec![Outcome::Fault("lost 3 of 1000".into())];
        assert_eq!(results(vec![measured(Kind::Rival, fault())]).failures(), Vec::<String>::new());
        let failures = results(vec![measured(Kind::Linering, fault())]).failures();
        assert_eq!(failures, ["linering, throughput, threads, 2 writers: lost 3 of 1000"]);
    }

    #[test]
    fn what_was_written_can_be_read_again() {
        let results = results(vec![measured(Kind::Linering, vec![good(0.3)])]);
        let text = serde_json::to_string(&results).expect("JSON");
        let again: Results = serde_json::from_str(&text).expect("the same");
        assert_eq!(again.tables(), results.tables());
    }

    /// As outside/python_queues.py writes them, and as `compare` did.
    #[test]
    fn results_without_distances_and_room_can_be_read_too() {
        let text = r#"{"machine": {"processors": 2, "model": "m", "kernel": "k"}, "when": 1,
            "measured": [{"kind": "rival", "case": {"transport": "queue", "mode": "threads",
            "measure": "throughput", "reading": "blocking", "writers": 1, "lines": 1000,
            "bytes": 100, "limit": 60}, "outcomes": [{"good": {"lines": 1000, "seconds": 0.5}}]}]}"#;
        let results: Results = serde_json::from_str(text).expect("results");
        assert!(results.tables().contains("| queue |"));
        let [one] = &results.of_usual_distance()[..] else { panic!("one is in a picture") };
        assert_eq!((one.case.room, one.outcomes.len()), (ROOM, 1));
    }
}
