//! What the demo has to say in the end.

use std::fmt::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use linering::End;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::signal_name;

use super::verify::{Progress, Verifier};
use super::writers::{Fate, Outcome};

/// The figures of a run, in aligned lines.
pub fn figures(
    verifier: &Verifier<'_>,
    kind: &str,
    elapsed: Duration,
    found_full: u64,
    interrupted: bool,
) -> String {
    let mut report = String::new();
    let mut row = |name: &str, value: String, note: &str| {
        // Into a string: cannot fail.
        let _ = writeln!(report, "{}", format!("{name:<18}{value:>16}  {note}").trim_end());
    };
    let lines = verifier.sum(|worker| worker.lines);
    let bytes = verifier.sum(|worker| worker.bytes);
    let cut = verifier.sum(|worker| worker.cut);
    let lost = verifier.sum(|worker| worker.lost);
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let state = if interrupted {
        "interrupted; verified as far as they came"
    } else {
        "verified: order, bytes, count"
    };
    row("workers", grouped(verifier.workers.len()), kind);
    row("lines", grouped(lines), state);
    if cut + lost > 0 {
        row("lines cut", grouped(cut), "of those");
        row("lines lost", grouped(lost), "besides those");
        row("lines written", grouped(verifier.sum(|worker| worker.total)), written_note(verifier));
    }
    row("seconds", format!("{seconds:.3}"), "");
    row("lines/s", grouped((lines as f64 / seconds) as u64), "");
    row("bytes/s", grouped((bytes as f64 / seconds) as u64), "");
    let (mean, spread) = cost(verifier);
    row("writers' ns/line", mean, &spread);
    row("ring found full", grouped(found_full), "times");
    report
}

/// Whether delivered and lost lines make up what was written.
fn written_note(verifier: &Verifier<'_>) -> &'static str {
    if verifier.workers.iter().all(Progress::is_complete) {
        "as many as came and were lost"
    } else {
        "had they ended"
    }
}

/// What a line cost its writer: on average, and from the cheapest worker to the dearest.
fn cost(verifier: &Verifier<'_>) -> (String, String) {
    let figures = || verifier.workers.iter().filter_map(|w| w.figures).filter(|f| f.written > 0);
    let each = || figures().map(|f| f.nanoseconds / f.written);
    let (Some(least), Some(most)) = (each().min(), each().max()) else {
        return ("-".to_owned(), "no worker came to say it".to_owned());
    };
    let sum = figures().fold((0_u128, 0_u128), |(nanoseconds, lines), f| {
        (nanoseconds + u128::from(f.nanoseconds), lines + u128::from(f.written))
    });
    let mean = grouped((sum.0 / sum.1) as u64);
    (mean, format!("{} to {} by worker, waiting included", grouped(least), grouped(most)))
}

/// What went wrong with workers, a sentence each.
pub fn problems(verifier: &Verifier<'_>, outcome: &Outcome) -> Vec<String> {
    let ended = verifier.workers.iter().zip(&outcome.fates).enumerate();
    ended
        .filter_map(|(number, (worker, fate))| problem(number, worker, fate, outcome.interrupted))
        .collect()
}

fn problem(number: usize, worker: &Progress<'_>, fate: &Fate, interrupted: bool) -> Option<String> {
    let came =
        format!("after {} of {} lines", grouped(worker.lines + worker.lost), grouped(worker.total));
    if let Some(error) = &worker.error {
        return Some(format!("worker {number} failed {came}: {error}"));
    }
    if worker.end == Some(End::Eof) {
        let early = !worker.is_complete() && !interrupted;
        return early.then(|| format!("worker {number} has ended {came}"));
    }
    match fate {
        Fate::Exited(status) => match (status.signal(), status.code()) {
            (Some(SIGINT | SIGTERM), _) if interrupted => None,
            (Some(signal), _) => {
                let name =
                    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
                Some(format!("worker {number} was killed by {name} {came}"))
            }
            (None, code) => {
                Some(format!("worker {number} exited with {} {came}", code.unwrap_or(-1)))
            }
        },
        Fate::Failed(error) => Some(format!("worker {number} failed {came}: {error}")),
        Fate::Unknown => Some(format!("worker {number} ended {came}, how is unknown")),
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let numbers = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in numbers {
            assert_eq!(grouped(number), text);
        }
    }
}
