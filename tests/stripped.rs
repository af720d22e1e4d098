//! Processes that something was taken from: `/proc`, descriptors, rights, memory, system calls,
//! their peer's time.
//!
//! Each operation of a writer and of a reader is tried in each such process. What comes of it is a
//! value or an error with its sentence: never a hang, and never the process's death. What needs
//! nothing of the system works everywhere.

mod common;

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::thread::yield_now;
use std::time::Duration;

use common::{Child, Gate, fork, not_run, wait_for_the_end};
use linering::{
    CreateError, End, Item, LineProcMirror, LineRing, Observer, Options, Policy, Reader, Seat,
    WriteError,
};

/// Seconds after which a process that hangs is ended, and its operation with it.
const PATIENCE: u32 = 6;
/// What a writer of a full ring without a reader waits for one.
const GRACE: Duration = Duration::from_millis(150);

// ----------------------------------------------------------------------------------- what is taken

/// Takes something from this process; the system's refusal, where that is not permitted.
type Strip = fn(&Path) -> io::Result<()>;

struct Stripped {
    name: &'static str,
    strip: Strip,
    /// The ring is a file of this user's alone.
    in_file: bool,
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_string(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no zeros")
}

/// Makes an empty folder all that this process finds by paths.
fn no_paths(empty: &Path) -> io::Result<()> {
    // SAFETY: plain system calls, with strings that live during them.
    unsafe {
        checked(libc::chroot(c_string(empty).as_ptr()))?;
        checked(libc::chdir(c"/".as_ptr()))
    }
}

fn no_proc(_: &Path) -> io::Result<()> {
    let (none, private) = (core::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: plain system calls, with strings that have their ends, and null where nothing is
    // needed.
    unsafe {
        checked(libc::unshare(libc::CLONE_NEWNS))?;
        checked(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast()))?;
        checked(libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH))
    }
}

fn no_descriptors(_: &Path) -> io::Result<()> {
    // SAFETY: closes what is this process's own; its standard streams stay.
    checked(unsafe { libc::close_range(3, u32::MAX, 0) })
}

fn other_user(_: &Path) -> io::Result<()> {
    // SAFETY: plain system calls.
    unsafe {
        checked(libc::setgroups(0, core::ptr::null()))?;
        checked(libc::setresgid(65534, 65534, 65534))?;
        checked(libc::setresuid(65534, 65534, 65534))
    }
}

fn limit(what: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the struct lives during the call.
    checked(unsafe { libc::setrlimit(what, &raw const limit) })
}

/// No further memory but what the allocator has.
fn no_memory(_: &Path) -> io::Result<()> {
    // The allocator keeps what is given back to it: what a process needs for itself is not tried
    // here.
    drop(std::hint::black_box(vec![1_u8; 100 << 10]));
    limit(libc::RLIMIT_AS, 0)
}

/// What every process that does anything calls.
const FEW_CALLS: [libc::c_long; 8] = [
    libc::SYS_write,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
];

/// From now on these system calls are permitted, and what becomes of all others is `refusal`.
fn only(calls: &[libc::c_long], refusal: u32) -> io::Result<()> {
    let statement =
        |code: u32, jump_true, k| libc::sock_filter { code: code as u16, jt: jump_true, jf: 0, k };
    // The number of the call is the first word of what the filter sees.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let over_the_rest = (calls.len() - index) as u8;
        filter.push(statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            over_the_rest,
            *call as u32,
        ));
    }
    for answer in [refusal, libc::SECCOMP_RET_ALLOW] {
        filter.push(statement(libc::BPF_RET | libc::BPF_K, 0, answer));
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live during the call.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
    }
}

fn few_calls(_: &Path) -> io::Result<()> {
    only(&FEW_CALLS, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32)
}

const fn stripped(name: &'static str, strip: Strip) -> Stripped {
    Stripped { name, strip, in_file: false }
}

const ALL: [Stripped; 16] = [
    stripped("a process of which nothing was taken", |_| Ok(())),
    stripped("a process in an empty root", no_paths),
    stripped("a process without /proc", no_proc),
    stripped("a process without descriptors", no_descriptors),
    stripped("a process without descriptors and paths", |empty| {
        no_descriptors(empty).and_then(|()| no_paths(empty))
    }),
    stripped("a process without free descriptors", |_| limit(libc::RLIMIT_NOFILE, 0)),
    stripped("a process of another user", other_user),
    Stripped {
        name: "a process of another user than the file's",
        strip: other_user,
        in_file: true,
    },
    Stripped { name: "a process in an empty root, of a file", strip: no_paths, in_file: true },
    stripped("a process that may write no file", |_| limit(libc::RLIMIT_FSIZE, 0)),
    stripped("a process that may write short files", |_| limit(libc::RLIMIT_FSIZE, 1 << 12)),
    stripped("a process without further memory", no_memory),
    stripped("a process that may make no other", |empty| {
        limit(libc::RLIMIT_NPROC, 0).and_then(|()| other_user(empty))
    }),
    stripped("a process that may lock no memory", |_| limit(libc::RLIMIT_MEMLOCK, 0)),
    stripped("a process with hardly any stack or core", |_| {
        limit(libc::RLIMIT_CORE, 0).and_then(|()| limit(libc::RLIMIT_STACK, 64 << 10))
    }),
    stripped("a process with few system calls", few_calls),
];

// -------------------------------------------------------------------------------------- operations

/// What a process has before something is taken from it.
struct Held {
    ring: LineRing,
    mirror: Option<LineProcMirror>,
    reader: Option<Reader>,
    seat: Option<Seat>,
    /// A place for what it makes, and a name.
    place: PathBuf,
    name: String,
}

impl Held {
    fn mirror(&mut self) -> &mut LineProcMirror {
        self.mirror.as_mut().expect("it has one")
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it has one")
    }
}

struct Operation {
    name: &'static str,
    options: fn(Options) -> Options,
    prepare: fn(&mut Held),
    act: fn(&mut Held) -> Result<(), String>,
}

/// Any error will do that says something.
fn value_or_sentence<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<(), String> {
    match result {
        Err(error) if error.to_string().is_empty() => Err("an error without a sentence".to_owned()),
        _ => Ok(()),
    }
}

fn told<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

const SAME: fn(Options) -> Options = |options| options;
const NOTHING: fn(&mut Held) = |_| {};

fn write_four(held: &mut Held) {
    let mirror = held.mirror.insert(held.ring.mirror().expect("a mirror"));
    (0..4).for_each(|line| mirror.write_line(line.to_string().as_bytes()).expect("room"));
}

fn with_mirror(held: &mut Held) {
    held.mirror = Some(held.ring.mirror().expect("a mirror"));
}

/// A process that becomes the reader, says so, and goes on with `then`. It ends with the test.
fn reading_peer(held: &Held, then: fn(&mut Reader) -> u8) -> Child {
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(mut reader) = held.ring.reader() else { return 1 };
        gate.open();
        then(&mut reader)
    });
    gate.pass();
    child
}

fn expect_gone(held: &mut Held) -> Result<(), String> {
    for _ in 0..2 {
        match held.mirror().write_line(b"one more") {
            Err(WriteError::ReaderGone(GRACE)) => {}
            other => return Err(format!("expected that the reader is gone: {other:?}")),
        }
    }
    Ok(())
}

const PATIENT: Duration = Duration::from_millis(800);
/// As many lines as a slow reader takes in more than that time.
const SLOWLY: usize = 16;

fn read_slowly(reader: &mut Reader) -> u8 {
    // The time between two lines is what is tried here, not a wait for anything.
    while matches!(reader.recv(), Ok(Some(_))) {
        std::thread::sleep(PATIENT / 10);
    }
    0
}

const WRITING: [Operation; 11] = [
    Operation {
        name: "writes, appends and flushes on a ring with room",
        options: SAME,
        prepare: with_mirror,
        act: |held| {
            let mirror = held.mirror();
            mirror.write_line(b"line").map_err(told)?;
            mirror.write_all(b"second\nunfini").and_then(|()| mirror.flush()).map_err(told)?;
            mirror.write_all(b"shed").map_err(told)?;
            mirror.finish_line().map_err(told)
        },
    },
    Operation {
        name: "ends with an EOF",
        options: SAME,
        prepare: with_mirror,
        act: |held| held.mirror().send_eof().map_err(told),
    },
    Operation {
        name: "ends with an error",
        options: SAME,
        prepare: with_mirror,
        act: |held| held.mirror().send_error(&io::Error::other("reason")).map_err(told),
    },
    Operation {
        name: "drops its mirror and ring",
        options: SAME,
        prepare: with_mirror,
        act: |held| {
            drop(held.mirror.take());
            Ok(())
        },
    },
    Operation {
        name: "writes into a full ring whose reader died",
        options: |options| options.reader_grace(GRACE),
        prepare: |held| {
            write_four(held);
            let reader = reading_peer(held, |_| 0);
            reader.succeeds();
        },
        act: expect_gone,
    },
    Operation {
        name: "writes into a full ring that never had a reader",
        options: |options| options.reader_grace(GRACE),
        prepare: write_four,
        act: expect_gone,
    },
    Operation {
        name: "writes into a ring that is read slowly, for longer than the grace time",
        options: |options| options.reader_grace(PATIENT),
        prepare: |held| {
            write_four(held);
            reading_peer(held, read_slowly);
        },
        act: |held| {
            (0..SLOWLY).try_for_each(|_| held.mirror().write_line(b"one more").map_err(told))
        },
    },
    Operation {
        name: "writes into a full ring with a limit of its own and an idle reader",
        options: |options| options.block_limit(GRACE),
        prepare: |held| {
            write_four(held);
            reading_peer(held, |_| wait_for_the_end());
        },
        act: |held| match held.mirror().write_line(b"one more") {
            Err(WriteError::TimedOut(GRACE)) => Ok(()),
            other => Err(format!("expected that the time is over: {other:?}")),
        },
    },
    Operation {
        name: "drops the newest line of a full ring",
        options: |options| options.policy(Policy::DropNewest),
        prepare: write_four,
        act: |held| held.mirror().write_line(b"one more").map_err(told),
    },
    Operation {
        name: "overwrites the oldest line of a full ring",
        options: |options| options.policy(Policy::OverwriteOldest),
        prepare: write_four,
        act: |held| held.mirror().write_line(b"one more").map_err(told),
    },
    Operation {
        name: "opens its mirror again",
        options: SAME,
        prepare: with_mirror,
        act: |held| value_or_sentence(held.mirror().reopen()),
    },
];

const OPENING: [Operation; 9] = [
    Operation {
        name: "opens a mirror",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.mirror()),
    },
    Operation {
        name: "keeps a seat",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.seat()),
    },
    Operation {
        name: "opens a seat",
        options: SAME,
        prepare: |held| held.seat = Some(held.ring.seat().expect("a seat")),
        act: |held| value_or_sentence(held.seat.as_ref().expect("it has one").open()),
    },
    Operation {
        name: "becomes the reader",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.reader()),
    },
    Operation {
        name: "attaches",
        options: SAME,
        prepare: NOTHING,
        act: |held| match held.ring.descriptor() {
            Ok(descriptor) => value_or_sentence(LineRing::attach(descriptor)),
            Err(error) => value_or_sentence::<(), _>(Err(error)),
        },
    },
    Operation {
        name: "observes",
        options: SAME,
        prepare: write_four,
        act: |held| match held.ring.descriptor() {
            Ok(descriptor) => match Observer::attach(descriptor) {
                Ok(observer) => value_or_sentence(observer.snapshot()),
                Err(error) => value_or_sentence::<(), _>(Err(error)),
            },
            Err(error) => value_or_sentence::<(), _>(Err(error)),
        },
    },
    Operation {
        name: "makes a ring in memory",
        options: SAME,
        prepare: NOTHING,
        act: |_| value_or_sentence(LineRing::new(Options::new())),
    },
    Operation {
        name: "makes a ring with a name",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(LineRing::create_named(&held.name, Options::new())),
    },
    Operation {
        name: "makes a ring in a file",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(LineRing::create_file(&held.place, Options::new())),
    },
];

/// How one line or end of a ring is seen; an error, or a word for the time that is over.
fn item_of(item: Result<Option<Item<'_>>, linering::ReadError>) -> String {
    match item {
        Ok(Some(Item::Line(line))) => line.to_string(),
        Ok(Some(Item::Ended(ended))) => format!("{:?}", ended.end),
        Ok(Some(other)) => other.to_string(),
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

/// A reader, and a process that has written a line, which lives on or ends without an end of its
/// mirror.
fn written_by_a_peer(held: &mut Held, lives: bool) {
    let reader = held.ring.reader().expect("the first");
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(mut mirror) = held.ring.mirror() else { return 1 };
        if mirror.write_line(b"line").is_err() {
            return 2;
        }
        gate.open();
        if lives {
            wait_for_the_end();
        }
        std::mem::forget(mirror);
        0
    });
    gate.pass();
    if !lives {
        child.succeeds();
    }
    held.reader = Some(reader);
}

const READING: [Operation; 3] = [
    Operation {
        name: "reads lines and an EOF in each way, to the end",
        options: SAME,
        prepare: |held| {
            write_four(held);
            drop(held.mirror.take());
            held.reader = Some(held.ring.reader().expect("the first"));
        },
        act: |held| {
            let reader = held.reader();
            let mut seen = vec![item_of(reader.try_recv()), item_of(reader.recv())];
            reader.commit().map_err(told)?;
            seen.push(item_of(reader.recv_timeout(GRACE)));
            seen.extend((0..3).map(|_| item_of(reader.recv())));
            let expected = ["0", "1", "2", "3", "Eof", "nothing"];
            if seen == expected { Ok(()) } else { Err(format!("expected {expected:?}: {seen:?}")) }
        },
    },
    Operation {
        name: "reads what a living writer wrote, and waits",
        options: SAME,
        prepare: |held| written_by_a_peer(held, true),
        act: |held| {
            // Longer than it takes until locks are tried.
            let seen = [(); 3].map(|()| item_of(held.reader().recv_timeout(GRACE)));
            let is_told = |seen: &String| seen == "nothing" || seen.starts_with("error: ");
            let lines = seen.iter().filter(|seen| *seen == "line").count();
            let rest = seen.iter().filter(|seen| *seen != "line").all(is_told);
            if lines == 1 && rest { Ok(()) } else { Err(format!("expected a line: {seen:?}")) }
        },
    },
    Operation {
        name: "reads what a dead writer wrote, with time limits",
        options: SAME,
        prepare: |held| written_by_a_peer(held, false),
        act: |held| {
            let seen: Vec<_> = (0..5).map(|_| item_of(held.reader().recv_timeout(GRACE))).collect();
            let died = format!("{:?}", End::Died);
            let is_told =
                |seen: &String| *seen == died || seen == "nothing" || seen.starts_with("error: ");
            let lines = seen.iter().filter(|seen| *seen == "line").count();
            let rest = seen.iter().filter(|seen| *seen != "line").all(is_told);
            if lines == 1 && rest {
                Ok(())
            } else {
                Err(format!("expected a line and an end: {seen:?}"))
            }
        },
    },
];

const AWAITING: [Operation; 1] = [Operation {
    name: "waits without a time limit for the end of a dead writer",
    options: SAME,
    prepare: |held| written_by_a_peer(held, false),
    act: |held| {
        let died = format!("{:?}", End::Died);
        for _ in 0..4 {
            let seen = item_of(held.reader().recv());
            if seen == died || seen.starts_with("error: ") {
                return Ok(());
            }
        }
        Err("its end did not come".to_owned())
    },
}];

// -------------------------------------------------------------------------------------- the matrix

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

// ---------------------------------------------------------------------------------- control groups

/// A control group that is taken away again.
struct Group(PathBuf);

impl Group {
    /// A new one below the first of these folders that has `file` in it.
    fn new(folders: &[&str], file: &str) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        folders.iter().find_map(|folder| {
            let group =
                Self(Path::new(folder).join(format!("linering-{}-{number}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            group.0.join(file).exists().then_some(group)
        })
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.0.join(file), text)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last process may be about to leave it.
        while fs::remove_dir(&self.0).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
        {
            yield_now();
        }
    }
}

/// A group whose processes have that much memory.
fn memory_group(bytes: u64) -> Option<Group> {
    let (old, new) = ("memory.limit_in_bytes", "memory.max");
    let group = Group::new(&["/sys/fs/cgroup/memory"], old).map(|group| (group, old));
    let (group, file) =
        group.or_else(|| Group::new(&["/sys/fs/cgroup"], new).map(|group| (group, new)))?;
    group.write(file, &bytes.to_string()).ok()?;
    Some(group)
}

type Maker = fn(&str) -> Result<LineRing, CreateError>;

fn larger_than_group() -> Options {
    Options::new().lines(1 << 16).line_bytes(1 << 10)
}

#[test]
fn a_ring_that_is_larger_than_the_groups_memory_is_refused_before_it_is_allocated() {
    let Some(group) = memory_group(16 << 20) else {
        return not_run("to make a control group with a limit of memory (as root, say)");
    };
    let name = format!("linering-group-{}", std::process::id());
    let makers: [(&str, Maker); 2] = [
        ("in memory", |_| LineRing::new(larger_than_group())),
        ("with a name", |name| LineRing::create_named(name, larger_than_group())),
    ];
    let mut faults = Vec::new();
    for (what, make) in makers {
        let said = Said::new();
        let child = begin(said, || {
            group.write("cgroup.procs", &std::process::id().to_string()).map_err(told)?;
            match make(&name) {
                Ok(_) => Err("it was made".to_owned()),
                Err(error) => value_or_sentence::<(), _>(Err(error)),
            }
        });
        faults.extend(end_of(child, said).map(|fault| format!("a ring {what}: {fault}")));
    }
    let shown = Path::new("/dev/shm").join(&name);
    if shown.exists() {
        let _ = fs::remove_file(shown);
        faults.push("a name was left".to_owned());
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_ring_that_the_groups_memory_has_room_for_is_made() {
    let Some(group) = memory_group(32 << 20) else {
        return not_run("to make a control group with a limit of memory (as root, say)");
    };
    let said = Said::new();
    let child = begin(said, || {
        group.write("cgroup.procs", &std::process::id().to_string()).map_err(told)?;
        let ring = LineRing::new(Options::new()).map_err(told)?;
        ring.mirror().map_err(told)?.write_line(b"line").map_err(told)
    });
    assert_eq!(end_of(child, said), None);
}

/// Freezes and thaws a process; `None` where that is not permitted.
struct Freezer {
    group: Group,
    is_old: bool,
}

impl Freezer {
    fn new() -> Option<Self> {
        let old = Group::new(&["/sys/fs/cgroup/freezer"], "freezer.state");
        let is_old = old.is_some();
        let new = || Group::new(&["/sys/fs/cgroup/unified", "/sys/fs/cgroup"], "cgroup.freeze");
        Some(Self { group: old.or_else(new)?, is_old })
    }

    fn freeze(&self, child: &Child) -> io::Result<()> {
        self.group.write("cgroup.procs", &child.0.to_string())?;
        let (file, word, shown, frozen) = match self.is_old {
            true => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            false => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
        };
        self.group.write(file, word)?;
        // The alarm is the limit.
        while !self.group.read(shown).contains(frozen) {
            yield_now();
        }
        Ok(())
    }

    fn thaw(&self) -> io::Result<()> {
        let (file, word) =
            if self.is_old { ("freezer.state", "THAWED") } else { ("cgroup.freeze", "0") };
        self.group.write(file, word)
    }
}

/// Does `look` in a process of its own while `peer`, its child, is frozen.
fn with_frozen(
    peer: impl FnOnce(&Held) -> Child,
    look: impl FnOnce(&mut Held, &dyn Fn()) -> Result<(), String>,
) {
    let Some(freezer) = Freezer::new() else {
        return not_run("to make a control group and freeze it (as root, say)");
    };
    let said = Said::new();
    let child = begin(said, || {
        let ring = ring(Options::new().reader_grace(Duration::ZERO).block_limit(GRACE), None);
        let (place, name) = (PathBuf::new(), String::new());
        let mut held = Held { ring, mirror: None, reader: None, seat: None, place, name };
        let peer = peer(&held);
        freezer.freeze(&peer).map_err(told)?;
        let seen = look(&mut held, &|| freezer.thaw().expect("ours"));
        let thawed = freezer.thaw().map_err(told);
        peer.end();
        seen.and(thawed)
    });
    let fault = end_of(child, said);
    let _ = freezer.thaw();
    assert_eq!(fault, None);
}

#[test]
fn a_frozen_reader_is_alive_and_a_writers_own_limit_holds() {
    with_frozen(
        |held| reading_peer(held, |_| wait_for_the_end()),
        |held, _| {
            write_four(held);
            for _ in 0..2 {
                match held.mirror().write_line(b"one more") {
                    Err(WriteError::TimedOut(GRACE)) => {}
                    other => return Err(format!("expected that the time is over: {other:?}")),
                }
            }
            match held.ring.reader() {
                Err(linering::ReadError::HasReader { .. }) => Ok(()),
                _ => Err("a frozen reader was taken for dead".to_owned()),
            }
        },
    );
}

#[test]
fn a_frozen_writer_is_alive_and_writes_on_when_it_is_thawed() {
    let gates: &'static [Gate; 2] = Box::leak(Box::new([Gate::new(), Gate::new()]));
    with_frozen(
        |held| {
            let child = fork(|| {
                let Ok(mut mirror) = held.ring.mirror() else { return 1 };
                if mirror.write_line(b"line").is_err() {
                    return 2;
                }
                gates[0].open();
                gates[1].pass();
                if mirror.write_line(b"second").and_then(|()| mirror.send_eof()).is_err() {
                    return 3;
                }
                wait_for_the_end()
            });
            gates[0].pass();
            child
        },
        |held, thaw| {
            let mut reader = held.ring.reader().map_err(told)?;
            let mut seen: Vec<_> = (0..3).map(|_| item_of(reader.recv_timeout(GRACE))).collect();
            gates[1].open();
            thaw();
            seen.extend((0..2).map(|_| item_of(reader.recv())));
            let expected = ["line", "nothing", "nothing", "second", "Eof"];
            if seen == expected { Ok(()) } else { Err(format!("expected {expected:?}: {seen:?}")) }
        },
    );
}
