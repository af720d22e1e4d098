//! Processes that something was taken from: `/proc`, descriptors, rights, memory, system calls,
//! their peer's time.
//!
//! Each operation of a writer and of a reader is tried in each such process. What comes of it is a
//! value or an error with its sentence: never a hang, and never the process's death. What needs
//! nothing of the system works everywhere.
//!
//! Alone in its program: a process without further memory lives on what the program has, which
//! other tests would use up or leave in pieces.
//!
//! `taken` has the processes, `operations` what is tried in them, and this file the matrix of both.

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use linering::{LineRing, Options};

use crate::common::{Child, fork, not_run};

#[path = "../../it/common/mod.rs"]
#[allow(dead_code, reason = "tests/it uses the rest")]
mod common;
mod control_groups;
mod operations;
mod taken;

use operations::{AWAITING, Held, OPENING, Operation, READING, WRITING, told};
use taken::{ALL, Stripped, only};

/// Seconds after which a process that hangs is ended, and its operation with it.
const PATIENCE: u32 = 6;
/// What a writer of a full ring without a reader waits for one.
const GRACE: Duration = Duration::from_millis(150);

/// Text that a process leaves where no system call is needed for it.
#[derive(Clone, Copy)]
struct Said(&'static [AtomicU8; 4096]);

impl Said {
    fn new() -> Self {
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice, which stays; zeros are valid
        // atomics.
        unsafe {
            let page = libc::mmap(core::ptr::null_mut(), 4096, access, flags, -1, 0);
            assert!(page != libc::MAP_FAILED, "there is memory");
            Self(&*page.cast())
        }
    }

    fn say(self, text: &str) {
        self.0.iter().zip(text.bytes()).for_each(|(to, byte)| to.store(byte, SeqCst));
    }

    fn text(self) -> String {
        let bytes = self.0.iter().map(|byte| byte.load(SeqCst)).take_while(|byte| *byte != 0);
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    }
}

/// Exit code and word of a process from which something may not be taken here.
const MAY_NOT: u8 = 100;
const NOT_PERMITTED: &str = "not permitted";

/// Begins `work` in a process, and a process group, of its own.
fn begin(said: Said, work: impl FnOnce() -> Result<(), String>) -> Child {
    fork(|| {
        // SAFETY: plain system calls.
        unsafe {
            libc::setpgid(0, 0);
            libc::alarm(PATIENCE);
        }
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => 0,
            Ok(Err(text)) => {
                said.say(&text);
                if text == NOT_PERMITTED { MAY_NOT } else { 1 }
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                said.say(&text.unwrap_or_default());
                2
            }
        }
    })
}

/// How the process ended, in words; nothing if it is well. Its own children are ended.
fn end_of(child: Child, said: Said) -> Option<String> {
    let group = child.0;
    let status = child.status();
    // SAFETY: a plain system call; the group is that of the child and its children.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    match status.code() {
        Some(0) => None,
        Some(_) => Some(said.text()),
        None if std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGALRM) => {
            Some("it hangs".to_owned())
        }
        None => Some(format!("it died, {status}")),
    }
}

fn ring(options: Options, path: Option<&Path>) -> LineRing {
    let options = options.lines(4).line_bytes(64).mirrors(4).seats(64);
    match path {
        None => LineRing::new(options),
        Some(path) => LineRing::create_file(path, options),
    }
    .expect("a ring")
}

/// An operation under way in a stripped process.
struct Begun {
    what: String,
    child: Child,
    said: Said,
    place: PathBuf,
    name: String,
}

fn begin_one(folder: &Path, stripped: &Stripped, operation: &Operation) -> Begun {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    let [path, place, empty] =
        ["ring", "made", "empty"].map(|end| folder.join(format!("{number}.{end}")));
    fs::create_dir(&empty).expect("a folder");
    let name = format!("linering-stripped-{}-{number}", std::process::id());
    let said = Said::new();
    let child = begin(said, || {
        let ring = ring((operation.options)(Options::new()), stripped.in_file.then_some(&path));
        let (place, name) = (place.clone(), name.clone());
        let mut held = Held { ring, mirror: None, reader: None, seat: None, place, name };
        (operation.prepare)(&mut held);
        if let Err(error) = (stripped.strip)(&empty) {
            let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
            return Err(if is_refused { NOT_PERMITTED.to_owned() } else { error.to_string() });
        }
        (operation.act)(&mut held)
    });
    Begun { what: format!("{} {}", stripped.name, operation.name), child, said, place, name }
}

impl Begun {
    /// What went wrong, and what was left behind that is no ring.
    fn faults(self) -> Vec<String> {
        let mut faults: Vec<String> = end_of(self.child, self.said).into_iter().collect();
        if self.place.exists() && LineRing::open_file(&self.place).is_err() {
            faults.push("a file was left that is no ring".to_owned());
        }
        let shown = Path::new("/dev/shm").join(self.name);
        if shown.exists() {
            let _ = fs::remove_file(shown);
            faults.push("a name was left".to_owned());
        }
        faults.into_iter().map(|fault| format!("{}: {fault}", self.what)).collect()
    }
}

/// How many stripped processes' operations are under way at a time: mostly they wait.
const AT_A_TIME: usize = 4;

/// The whole matrix of these operations; tells of all that fail.
fn try_everywhere(operations: &[Operation]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut faults = Vec::new();
    for some in ALL.chunks(AT_A_TIME) {
        let pairs = some
            .iter()
            .flat_map(|stripped| operations.iter().map(move |operation| (stripped, operation)));
        let begun: Vec<Begun> = pairs
            .map(|(stripped, operation)| begin_one(folder.path(), stripped, operation))
            .collect();
        faults.extend(begun.into_iter().flat_map(Begun::faults));
    }
    let all = faults.len();
    faults.retain(|fault| !fault.ends_with(NOT_PERMITTED));
    if faults.len() < all {
        not_run("to change the root, the user and the mounts (as root, say)");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_stripped_writer_writes_or_says_why_not() {
    try_everywhere(&WRITING);
}

#[test]
fn a_stripped_process_opens_or_makes_a_ring_or_says_why_not() {
    try_everywhere(&OPENING);
}

#[test]
fn a_stripped_reader_reads_or_says_why_not() {
    try_everywhere(&READING);
}

#[test]
fn a_stripped_reader_does_not_wait_for_a_dead_writer_for_ever() {
    try_everywhere(&AWAITING);
}

#[test]
fn a_write_on_a_ring_with_room_needs_no_system_call() {
    let said = Said::new();
    let child = begin(said, || {
        let mut mirror = ring(Options::new(), None).mirror().map_err(told)?;
        only(&[libc::SYS_exit_group], libc::SECCOMP_RET_KILL_PROCESS).map_err(told)?;
        mirror.write_line(b"line").map_err(told)?;
        mirror.write_all(b"second\nunfini").and_then(|()| mirror.flush()).map_err(told)?;
        // What it has is given back with system calls.
        std::mem::forget(mirror);
        Ok(())
    });
    assert_eq!(end_of(child, said), None);
}
