//! Runs each measurement in a process of its own, with a time limit, repetitions interleaved.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Measure, Outcome};
use crate::report::Measured;
use crate::transports::Listed;

/// What a process gets beyond its limit, to say itself how far it came.
const GRACE: Duration = Duration::from_secs(3);
/// Lines of a first, short run, which tells how many take long enough.
const PILOT: u64 = 50_000;
/// How long a measured run should take, and how many lines it has in any case.
const RUN: Duration = Duration::from_secs(1);
const LEAST: u64 = 20_000;
const MOST: u64 = 20_000_000;
/// Bytes at most in what keeps all lines.
const KEPT: u64 = 200 << 20;

/// Cases that are compared with each other, and so measured in turns: A B C, A B C, ...
#[derive(Debug)]
pub struct Group {
    pub title: String,
    pub cases: Vec<(Listed, Case)>,
    /// Whether a first run is to tell how many lines each case has.
    pub pilots: bool,
}

impl Group {
    pub fn run(mut self, repeat: usize) -> Vec<Measured> {
        eprintln!("{}", self.title);
        if self.pilots {
            self.cases.iter_mut().for_each(|(listed, case)| case.lines = lines_for(listed, case));
        }
        let mut measured: Vec<Measured> = self
            .cases
            .into_iter()
            .map(|(listed, case)| Measured { kind: listed.kind, case, outcomes: Vec::new() })
            .collect();
        for _ in 0..repeat {
            for one in &mut measured {
                // What went wrong once is known; a hang would cost its time limit again.
                if one.fault().is_none() {
                    one.outcomes.push(run(&one.case));
                }
            }
        }
        measured
    }
}

/// As many lines as take about [`RUN`].
fn lines_for(listed: &Listed, case: &Case) -> u64 {
    let pilot = Case { lines: PILOT, ..case.clone() };
    let most = if listed.keeps { KEPT / case.bytes as u64 } else { MOST };
    match run(&pilot) {
        Outcome::Good(figures) => {
            let lines = figures.lines_per_second() * RUN.as_secs_f64();
            (lines as u64).clamp(LEAST, most) / case.writers as u64 * case.writers as u64
        }
        Outcome::Fault(_) => PILOT,
    }
}

/// Runs one case in a process of its own.
pub fn run(case: &Case) -> Outcome {
    match case.measure {
        Measure::Syscalls => with_syscalls(case),
        _ => in_process(Command::new(this_program()), case),
    }
}

fn this_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into())
}

fn in_process(mut command: Command, case: &Case) -> Outcome {
    // For what transports put into files: one that is killed leaves none behind.
    let scratch = std::env::temp_dir().join(format!("linering-compare-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir_all(&scratch) {
        return Outcome::Fault(format!("cannot make {}: {error}", scratch.display()));
    }
    command.arg("one").args(case.arguments()).env("TMPDIR", &scratch);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: one system call between fork and exec: the child dies with this process (Ctrl-C
    // reaches this one alone).
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Fault(format!("cannot be started: {error}")),
    };
    let (out, err) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let status = wait(&mut child, Duration::from_secs(case.limit) + GRACE);
    let _ = std::fs::remove_dir_all(&scratch);
    let read = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    judge(status, &read(out), &read(err), case.limit)
}

/// Reads all that comes, beside the waiting.
fn gather(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until the process ends, `limit` at most, and leaves no process of its group behind.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if start.elapsed() < limit => thread::sleep(Duration::from_millis(2)),
            _ => break None,
        }
    };
    // SAFETY: a signal to the group that was made for this child, whose number is not free before
    // it was waited for. Where it has been, the group's number is kept by the processes that are
    // left in it, or is not in use yet.
    unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
    let _ = child.wait();
    status
}

/// What a process's end and its words say.
fn judge(status: Option<ExitStatus>, out: &str, err: &str, limit: u64) -> Outcome {
    let result = out.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let why = panic_of(err).map(|words| format!(" ({words})")).unwrap_or_default();
    match (result, status) {
        (Some(Outcome::Fault(words)), _) => Outcome::Fault(format!("{words}{why}")),
        (Some(good), Some(status)) if status.success() => good,
        (_, None) => Outcome::Fault(format!("hangs: nothing in {limit} s{why}")),
        (_, Some(status)) => match (status.signal(), status.code()) {
            (Some(signal), _) => Outcome::Fault(format!("killed by signal {signal}{why}")),
            (_, code) => Outcome::Fault(format!("ends with exit code {}{why}", code.unwrap_or(-1))),
        },
    }
}

/// The words of the first panic.
fn panic_of(err: &str) -> Option<String> {
    let mut lines = err.lines().skip_while(|line| !line.contains("panicked at"));
    lines.next()?;
    lines.next().map(|line| line.chars().take(200).collect())
}

// ------------------------------------------------------------------------------------ system calls

/// Counts system calls with strace: those of the run, less those of a run without lines.
fn with_syscalls(case: &Case) -> Outcome {
    let (mut outcome, all) = match traced(case) {
        Ok(traced) => traced,
        Err(words) => return Outcome::Fault(words),
    };
    let base = match traced(&Case { lines: 0, ..case.clone() }) {
        Ok((_, base)) => base,
        Err(words) => return Outcome::Fault(words),
    };
    if let Outcome::Good(figures) = &mut outcome {
        figures.syscalls = Some((all - base).max(0.0) / figures.lines as f64);
    }
    outcome
}

fn traced(case: &Case) -> Result<(Outcome, f64), String> {
    let table =
        std::env::temp_dir().join(format!("linering-compare-{}.strace", std::process::id()));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-c", "-o"]).arg(&table).arg("--").arg(this_program());
    let outcome = in_process(command, case);
    let text = std::fs::read_to_string(&table);
    let _ = std::fs::remove_file(&table);
    match (outcome, text) {
        (Outcome::Fault(words), _) => Err(words),
        (outcome, Ok(text)) => Ok((outcome, calls(&text))),
        (_, Err(error)) => Err(format!("strace has written no table: {error}")),
    }
}

/// The calls in strace's table. Giving the processor to others is not counted: that is the
/// harness's own waiting.
fn calls(table: &str) -> f64 {
    let calls_of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, seconds, _, calls, .., name] = words[..] else { return None };
        seconds.parse::<f64>().ok()?;
        (!["total", "sched_yield"].contains(&name)).then(|| calls.parse::<f64>().ok())?
    };
    table.lines().filter_map(calls_of).sum()
}

/// Whether system calls can be counted here; what to install, if not.
pub fn can_trace() -> Result<(), String> {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Err(_) => {
            Err("system calls are not counted: install strace (Debian's package strace)".into())
        }
        Ok(output) if !output.status.success() => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "system calls are not counted: {}",
                words.lines().next().unwrap_or("strace fails")
            ))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_table_are_added_up_without_yields() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     52.00    0.000520          10        52         3 futex\n \
                     40.00    0.000400           1       400           sched_yield\n  \
                     8.00    0.000080           8        10           write\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.001000           2       462         3 total\n";
        assert_eq!(calls(table), 62.0);
    }

    #[test]
    fn a_process_that_says_nothing_is_said_to_hang_or_how_it_ended() {
        let fault = |status, out: &str, err: &str| match judge(status, out, err, 7) {
            Outcome::Fault(words) => words,
            Outcome::Good(_) => "good".into(),
        };
        assert_eq!(fault(None, "", ""), "hangs: nothing in 7 s");
        let killed = ExitStatus::from_raw(libc::SIGSEGV);
        assert_eq!(fault(Some(killed), "", ""), "killed by signal 11");
        let err = "thread 'main' panicked at src/main.rs:1:1:\nno room\nnote: a backtrace\n";
        assert_eq!(
            fault(Some(ExitStatus::from_raw(101 << 8)), "", err),
            "ends with exit code 101 (no room)"
        );
        assert_eq!(
            fault(Some(ExitStatus::from_raw(0)), "noise\n{\"fault\":\"lost 1\"}\n", ""),
            "lost 1"
        );
    }
}
