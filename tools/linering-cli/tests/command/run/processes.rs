//! What tests of processes need: runs whose every process can be found, signals, and waiting for
//! what is to happen.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::linering;
use crate::common::start_anew;

/// Far longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const MARK: &str = "LINERING_TEST_RUN";

/// A run in a session of its own, all of whose processes are found by a mark in their environment.
pub struct Marked {
    pub child: Child,
    pub stdout: BufReader<Box<dyn Read>>,
    mark: String,
}

/// None outlives its test.
impl Drop for Marked {
    fn drop(&mut self) {
        self.processes().iter().for_each(|process| send(process.id, libc::SIGKILL));
    }
}

/// A process that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: i32,
    pub parent: i32,
    pub name: String,
}

/// Runs `linering run` with these arguments; its stdout is a pipe to read, its stderr a pipe too.
pub fn marked(args: &[&str]) -> Marked {
    of(linering(args))
}

pub fn of(command: Command) -> Marked {
    of_with(command, |_| {})
}

/// As `of`, with what `change` changes.
pub fn of_with(mut command: Command, change: impl FnOnce(&mut Command)) -> Marked {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    command.env(MARK, &mark).stdout(Stdio::piped()).stderr(Stdio::piped());
    start_anew(&mut command);
    // SAFETY: one plain system call, which a forked child may make.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(|_| ())?)) };
    change(&mut command);
    let mut child = command.spawn().expect("it starts");
    let stdout = child.stdout.take().map(|stdout| Box::new(stdout) as Box<dyn Read>);
    let stdout = BufReader::new(stdout.unwrap_or_else(|| Box::new(io::empty())));
    Marked { child, stdout, mark }
}

impl Marked {
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// The next line of its stdout.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line
    }

    /// Waits for so many lines, which are all this one.
    pub fn await_lines(&mut self, count: usize, line: &str) {
        for _ in 0..count {
            assert_eq!(self.line().trim_end(), line);
        }
    }

    pub fn signal(&self, signal: i32) {
        send(self.id(), signal);
    }

    /// Its living processes.
    pub fn processes(&self) -> Vec<Found> {
        left(&self.mark)
    }

    /// Waits for its end, and that of its outputs: that, and the rest of its stdout and its stderr.
    pub fn end(mut self) -> (ExitStatus, String, String) {
        self.await_end()
    }

    fn await_end(&mut self) -> (ExitStatus, String, String) {
        let mut err = self.child.stderr.take();
        let err = thread::spawn(move || {
            let mut text = String::new();
            err.as_mut().map(|err| err.read_to_string(&mut text).expect("UTF-8"));
            text
        });
        let mut out = Vec::new();
        self.stdout.read_to_end(&mut out).expect("bytes");
        let status = self.child.wait().expect("ours");
        let out = String::from_utf8_lossy(&out).into_owned();
        (status, out, err.join().expect("no panic"))
    }

    /// As `end`, and that no process is left.
    pub fn end_alone(self) -> (ExitStatus, String, String) {
        self.end_and_look(|left| assert!(left.is_empty(), "{left:?} are left"))
    }

    /// As `end`, with a look at what is left.
    pub fn end_and_look(mut self, look: impl FnOnce(&[Found])) -> (ExitStatus, String, String) {
        let ended = self.await_end();
        look(&self.processes());
        ended
    }
}

/// The living processes of a run.
fn left(mark: &str) -> Vec<Found> {
    let mark = format!("{MARK}={mark}");
    all().into_iter().filter(|process| has_in_environment(process.id, &mark)).collect()
}

/// All living processes.
pub fn all() -> Vec<Found> {
    let entries = fs::read_dir("/proc").expect("a folder");
    let found = entries.filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let name = head.split_once('(')?.1.to_owned();
        (!has_ended).then_some(Found { id, parent, name })
    });
    found.collect()
}

/// A process's state, as /proc has it: T if it was stopped.
pub fn state(id: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

fn has_in_environment(id: i32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
}

pub fn send(process: i32, signal: i32) {
    // SAFETY: a plain system call, on a child that was not awaited, on its group, or on processes
    // that it was found to have begotten.
    unsafe { libc::kill(process, signal) };
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited for {what} in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file's text, once it is there and ends with a line's end.
pub fn text_of(path: &Path) -> String {
    let mut text = String::new();
    until(&format!("{}", path.display()), || {
        text = fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text
}
