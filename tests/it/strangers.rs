//! What other users and other processes put in the way of a ring: things under its name, locks on
//! its file, an environment.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linering::{
    AttachError, End, Item, LineRing, MirrorError, Observer, Options, ReadError, RingName, Seat,
    SystemError,
};

use crate::common::{Gate, die, fork, not_run, wait_for_the_end};

fn options() -> Options {
    Options::new().lines(64).line_bytes(64).mirrors(4).seats(16)
}

/// A name in shared memory that no other test has, taken away again.
struct Name(String);

impl Name {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("linering-strangers-{}-{number}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
        let _ = fs::remove_dir(self.path());
    }
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

// ------------------------------------------------------------------------------------------- names

#[test]
fn what_is_no_file_under_a_name_is_neither_waited_for_nor_followed_nor_read() {
    type Make = fn(&Path);
    let makes: [(Make, &str); 4] = [
        (
            |path| {
                let text = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
                // SAFETY: a plain system call; the text lives during it.
                assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o666) }, 0);
            },
            "a FIFO",
        ),
        (|path| symlink("/dev/zero", path).expect("a link"), "a symbolic link"),
        (|path| fs::create_dir(path).expect("a folder"), "a folder"),
        (|path| drop(std::os::unix::net::UnixListener::bind(path).expect("a socket")), "a socket"),
    ];
    for (make, what) in makes {
        let name = Name::new();
        make(&name.path());
        let found = |error: AttachError| match error {
            AttachError::NotAFile { found } => found,
            other => panic!("{other}"),
        };
        assert_eq!(found(LineRing::open_named(&name.0).expect_err("no ring")), what);
        assert_eq!(found(Observer::open_named(&name.0).expect_err("no ring")), what);
        assert_eq!(found(LineRing::remove_named(&name.0).expect_err("no ring")), what);
        assert!(name.path().symlink_metadata().is_ok(), "it is another's");
    }
}

#[test]
fn a_ring_of_another_user_is_opened_by_name_only_where_any_users_is_wanted() {
    if !is_root() {
        return not_run("to give a file to another user");
    }
    let name = Name::new();
    let ring = LineRing::create_named(&name.0, options()).expect("a ring");
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o666)).expect("ours");
    chown(name.path(), Some(65_534), None).expect("root's right");
    let own = LineRing::open_named(&name.0).expect_err("another user's");
    assert_eq!(own.to_string(), "it is user 65534's, expected user 0's");
    assert!(matches!(Observer::open_named(&name.0), Err(AttachError::Owner { found: 65_534, .. })));
    assert!(matches!(LineRing::is_abandoned(&name.0), Err(AttachError::Owner { .. })));
    let any = RingName::new(&name.0).of_any_user();
    LineRing::open_named(any).expect("any user's");
    Observer::open_named(any).expect("any user's");
    assert!(!LineRing::remove_named(any).expect("any user's"), "a process lives there");
    drop(ring);
}

#[test]
fn a_name_leads_to_a_whole_ring_or_to_nothing_also_beside_one_that_takes_names_away() {
    let rounds =
        std::env::var("LINERING_NAMES").map_or(300, |rounds| rounds.parse().expect("a number"));
    let is_over = AtomicBool::new(false);
    let process = std::process::id();
    let unfinished = format!(".linering-new-{process}-");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/dev/shm").expect("a folder").flatten() {
                    let name = entry.file_name().into_string().unwrap_or_default();
                    // Those of this test's makers: other tests have theirs.
                    let of_makers =
                        [&format!("linering-strangers-{process}-")[..], &unfinished[..]];
                    if !of_makers.iter().any(|beginning| name.starts_with(beginning)) {
                        continue;
                    }
                    // As `linering gc`: whatever it finds, it may be gone by now.
                    match LineRing::remove_named(&name) {
                        Err(AttachError::System(SystemError {
                            doing: "take the name away",
                            error,
                            ..
                        })) => {
                            panic!("{error}")
                        }
                        Err(AttachError::Unfinished) => {
                            panic!("{name} leads to half a ring")
                        }
                        _ => {}
                    }
                }
            }
        });
        let makers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let name = Name::new();
                    for round in 0..rounds {
                        let made = LineRing::create_named(&name.0, options());
                        let ring = made.unwrap_or_else(|error| panic!("round {round}: {error}"));
                        LineRing::open_named(&name.0)
                            .unwrap_or_else(|error| panic!("round {round}: {error}"));
                        drop(ring);
                        assert!(!name.path().exists());
                    }
                })
            })
            .collect();
        let ends: Vec<_> = makers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.expect("no round failed"));
    });
}

#[test]
fn what_a_killed_maker_of_a_name_has_left_is_taken_away() {
    // As one that was killed right after it had made the object leaves it: empty, under the name of
    // a process that is gone.
    let child = fork(|| 0);
    let process = child.0;
    child.succeeds();
    let name = format!(".linering-new-{process}-0123456789abcdef");
    let path = Path::new("/dev/shm").join(&name);
    File::create(&path).expect("a file");
    assert!(LineRing::is_abandoned(&name).expect("a maker's"));
    assert!(path.exists());
    assert!(LineRing::remove_named(&name).expect("a maker's"));
    assert!(!path.exists());
    // That of a living one is left alone: the first of all.
    let name = ".linering-new-1-0123456789abcdef".to_owned();
    let path = Path::new("/dev/shm").join(&name);
    File::create(&path).expect("a file");
    assert!(!LineRing::remove_named(&name).expect("a maker's"));
    fs::remove_file(&path).expect("it is there");
}

#[test]
fn the_name_of_a_maker_leads_to_nothing_outside_of_the_folder_of_names() {
    let child = fork(|| 0);
    let process = child.0;
    child.succeeds();
    // Any user can make a folder there, and a maker's name is taken for a maker's whatever the file
    // is.
    let folder = Path::new("/dev/shm").join(format!(".linering-new-{process}-0"));
    fs::create_dir(&folder).expect("a folder");
    let other = Name::new();
    File::create(other.path()).expect("a file");
    let name = format!(".linering-new-{process}-0/../{}", other.0);
    let removed = LineRing::remove_named(&name);
    fs::remove_dir(&folder).expect("it is empty");
    assert!(matches!(removed, Err(AttachError::Name { .. })), "{removed:?}");
    assert!(other.path().exists(), "it is another's");
}

#[test]
fn a_string_from_outside_is_told_in_one_line_that_no_terminal_obeys() {
    let hostile = "\x1b[2J\nno/ring";
    let errors = [
        LineRing::open_named(hostile).expect_err("a slash").to_string(),
        LineRing::create_named(hostile, options()).expect_err("a slash").to_string(),
        hostile.parse::<Seat>().expect_err("no seat").to_string(),
    ];
    for error in errors {
        assert!(error.contains("[2J") && !error.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn a_seat_whose_descriptor_is_no_file_is_not_opened() {
    let ring = LineRing::new(options()).expect("a ring");
    let seat = ring.seat().expect("a seat").to_string();
    let device = File::open("/dev/null").expect("a device");
    let mut fields: Vec<_> = seat.split(':').map(str::to_owned).collect();
    fields[3] = device.as_raw_fd().to_string();
    let error = fields.join(":").parse::<Seat>().expect_err("a device");
    assert!(matches!(error, AttachError::NotAFile { found: "a device" }), "{error}");
}

// -------------------------------------------------------------------------------------- read locks

/// A lock for reading on all of a file, as a process may have it that may only read.
struct ReadLock(File);

/// Given back by name: a child that another test forks meanwhile has the description too, and
/// closing it here would leave the lock there.
impl Drop for ReadLock {
    fn drop(&mut self) {
        // SAFETY: a plain C struct, for which zeros are valid: all of the file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_UNLCK as i16;
        // SAFETY: the descriptor is open, and the struct lives during the call.
        let done = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

impl ReadLock {
    /// On the bytes of cells from `first` on, the others' `LIVING` included, or fewer.
    fn on(path: &Path, first: i64, bytes: i64) -> Self {
        let file = File::open(path).expect("a file");
        // SAFETY: a plain C struct, for which zeros are valid.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence) = (libc::F_RDLCK as i16, libc::SEEK_SET as i16);
        (lock.l_start, lock.l_len) = (first, bytes);
        // SAFETY: the descriptor is open, and the struct lives during the call.
        let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
        Self(file)
    }
}

/// Where the header says of which namespaces claims are: docs/format.md.
const CLAIMED_IN: u64 = 712;

fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("strangers-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// A ring in a file that a process which may only read has locked whole, with what a killed writer
/// has left in it.
fn locked_ring(name: &str) -> (PathBuf, ReadLock) {
    let path = file(name);
    let child = fork(|| {
        let ring = LineRing::create_file(&path, options()).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_line(b"whole").expect("room");
        mirror.write_all(b"unfini").expect("room");
        die()
    });
    child.status();
    let kept = ReadLock::on(&path, 0, 0);
    (path, kept)
}

fn next_line(reader: &mut linering::Reader) -> String {
    match reader.recv() {
        Ok(Some(Item::Line(line))) => String::from_utf8_lossy(&line.bytes).into_owned(),
        other => panic!("expected a line, found {other:?}"),
    }
}

fn next_is_a_death(reader: &mut linering::Reader) {
    match reader.recv() {
        Ok(Some(Item::Ended(ended))) => assert_eq!(ended.end, End::Died),
        other => panic!("expected a death, found {other:?}"),
    }
}

#[test]
fn a_ring_is_read_and_written_beside_a_read_lock_on_all_of_it() {
    let (path, kept) = locked_ring("beside.ring");
    let observer = Observer::open_file(&path).expect("it only looks");
    assert!(!observer.is_used(), "a process that may only read is taken for one that lives there");
    let ring = LineRing::open_file(&path).expect("a ring");
    let mut reader = ring.reader().expect("it has none");
    assert!(Observer::open_file(&path).expect("it only looks").is_used(), "it has a reader");
    // What was left, and the death of the writer that left it.
    assert_eq!((next_line(&mut reader), next_line(&mut reader)), ("whole".into(), "unfini".into()));
    next_is_a_death(&mut reader);
    // As many mirrors as there are cells, in this process and in others; no cell twice.
    let mut first = ring.mirror().expect("a mirror");
    let (ready, seat) = (Gate::new(), ring.seat().expect("a seat"));
    let child = fork(|| {
        let mut mirror = seat.open().expect("a cell");
        mirror.write_line(b"theirs").expect("room");
        ready.open();
        wait_for_the_end()
    });
    ready.pass();
    first.write_line(b"ours").expect("room");
    assert_eq!((next_line(&mut reader), next_line(&mut reader)), ("theirs".into(), "ours".into()));
    let others = [ring.mirror().expect("a mirror"), ring.mirror().expect("a mirror")];
    assert!(
        matches!(ring.mirror(), Err(MirrorError::TooManyMirrors { limit: 4 })),
        "{:?}",
        ring.mirror()
    );
    let process = std::process::id();
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { process: p }) if p == process));
    // Told beside the read lock too.
    child.end();
    next_is_a_death(&mut reader);
    // What is given back can be had again.
    drop((first, others));
    let again: Vec<_> = (0..4).map(|_| ring.mirror().expect("a mirror")).collect();
    drop(reader);
    let reader = ring.reader().expect("it was given back");
    // And those who came beside the read lock keep what they have when it goes.
    drop(kept);
    assert!(
        matches!(ring.mirror(), Err(MirrorError::TooManyMirrors { .. })),
        "{:?}",
        ring.mirror()
    );
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { .. })));
    drop((reader, again));
    drop(ring.reader().expect("it was given back"));
    fs::remove_file(&path).expect("it stays");
}

#[test]
fn a_reader_that_was_killed_beside_a_read_lock_is_followed_by_another() {
    let (path, kept) = locked_ring("followed.ring");
    let ring = LineRing::open_file(&path).expect("a ring");
    let (ready, go) = (Gate::new(), Gate::new());
    let child = fork(|| {
        let ring = LineRing::open_file(&path).expect("a ring");
        let _reader = ring.reader().expect("it has none");
        ready.open();
        go.pass();
        die()
    });
    ready.pass();
    let process = child.0 as u32;
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { process: p }) if p == process));
    go.open();
    child.status();
    let mut reader = ring.reader().expect("it is dead");
    assert_eq!(next_line(&mut reader), "whole");
    drop(kept);
    fs::remove_file(&path).expect("it stays");
}

#[test]
fn many_processes_that_claim_a_ring_at_once_get_a_cell_each_and_one_reader() {
    let (path, kept) = locked_ring("at-once.ring");
    let (go, end) = (Gate::new(), Gate::new());
    let tried: Vec<_> = (0..8).map(|_| Gate::new()).collect();
    let children: Vec<_> = tried
        .iter()
        .map(|tried| {
            fork(|| {
                let ring = LineRing::open_file(&path).expect("a ring");
                go.pass();
                let (mirror, reader) = (ring.mirror(), ring.reader());
                tried.open();
                end.pass();
                u8::from(mirror.is_ok()) + 16 * u8::from(reader.is_ok())
            })
        })
        .collect();
    tried.iter().for_each(|_| go.open());
    tried.iter().for_each(Gate::pass);
    tried.iter().for_each(|_| end.open());
    let codes: Vec<_> =
        children.into_iter().map(|child| child.status().code().expect("an exit")).collect();
    assert_eq!(codes.iter().sum::<i32>(), 16 + 4, "{codes:?}");
    drop(kept);
    fs::remove_file(&path).expect("it stays");
}

#[test]
fn a_read_lock_keeps_out_where_a_claim_proves_nothing_and_is_named_there() {
    let (path, kept) = locked_ring("kept-out.ring");
    // As after a claim by a process of other namespaces, whose numbers mean nothing here.
    let bytes = File::options().write(true).open(&path).expect("a file");
    bytes.write_all_at(&1_u64.to_ne_bytes(), CLAIMED_IN).expect("room");
    let ring = LineRing::open_file(&path).expect("a ring");
    assert!(matches!(ring.reader(), Err(ReadError::KeptOut)), "{:?}", ring.reader());
    assert!(matches!(ring.mirror(), Err(MirrorError::KeptOut)), "{:?}", ring.mirror());
    // A seat needs no lock that it keeps.
    let seat = ring.seat().expect("a seat");
    drop(kept);
    assert!(ring.reader().is_ok());
    drop(seat.open().expect("a cell"));
    fs::remove_file(&path).expect("it stays");
}

#[test]
fn a_read_lock_on_the_cell_of_one_that_died_does_not_put_off_its_death() {
    let path = file("death.ring");
    let ring = LineRing::create_file(&path, options()).expect("a ring");
    let mut reader = ring.reader().expect("the first");
    let gate = Gate::new();
    let child = fork(|| {
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_line(b"line").expect("room");
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    assert!(matches!(reader.recv(), Ok(Some(Item::Line(_)))));
    child.end();
    // Held from before the reader looks until after it was told.
    let kept = ReadLock::on(&path, 1, 4095);
    match reader.recv() {
        Ok(Some(Item::Ended(ended))) => assert_eq!(ended.end, End::Died),
        other => panic!("expected a death, found {other:?}"),
    }
    drop(kept);
    fs::remove_file(&path).expect("it stays");
}

// ------------------------------------------------------------------------------------- environment

/// Run by the test below as another program, with another user's rights.
#[test]
fn says_whether_it_obeys_its_environment() {
    if std::env::var_os("LINERING_TEST_OBEYS").is_some() {
        match Seat::from_env() {
            Ok(None) => println!("it obeys nothing"),
            Ok(Some(_)) => println!("it has a seat"),
            Err(error) => println!("it tried: {error}"),
        }
    }
}

#[test]
fn a_setuid_program_does_not_obey_its_environment() {
    if !is_root() {
        return not_run("to make a setuid program");
    }
    let program = std::env::temp_dir().join(format!("linering-setuid-{}", std::process::id()));
    let says_it = program.with_extension("said");
    // By a child: a program cannot be executed as long as a process has it open for writing, and
    // children that other tests fork have what this process has.
    let own = std::env::current_exe().expect("a program");
    fork(|| u8::from(fs::copy(&own, &program).is_err())).succeeds();
    chown(&program, Some(65_534), Some(65_534)).expect("root's right");
    let says = |mode| {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("root's right");
        let said = File::create(&says_it).expect("a file");
        // By a child too, of one thread: a program begins with copies of all descriptors, those of
        // other tests' locks among them. And into a file, as a pipe's end comes with the last child
        // that has it.
        fork(|| {
            let run = Command::new(&program)
                .args(["--exact", "strangers::says_whether_it_obeys_its_environment"])
                .arg("--nocapture")
                .env("LINERING_TEST_OBEYS", "1")
                .env("LINERING_SEAT", "linering1:0:1:0:0:0")
                .stdout(said)
                .status();
            u8::from(!run.is_ok_and(|status| status.success()))
        })
        .succeeds();
        fs::read_to_string(&says_it).expect("UTF-8")
    };
    let (ordinary, setuid) = (says(0o755), says(0o4755));
    fs::remove_file(&program).expect("ours");
    fs::remove_file(&says_it).expect("ours");
    assert!(ordinary.contains("it tried: "), "{ordinary}");
    assert!(setuid.contains("it obeys nothing"), "{setuid}");
}

// ----------------------------------------------------------------------- one memory, two processes

/// A child that shares its parent's memory lives in the same place: what the parent had not
/// finished could still be written by it, so the parent has not died until the child has. The lock
/// says just that.
#[test]
fn a_writer_whose_memory_a_child_still_has_is_told_dead_when_the_child_ends() {
    let ring = LineRing::new(options()).expect("a ring");
    let mut reader = ring.reader().expect("the first");
    let (ready, held) = (Gate::new(), Gate::new());
    let writer = fork(|| {
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_line(b"line").expect("room");
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // Its own stack, which it leaves alone: it only makes system calls.
        let stack = vec![0_u8; 64 * 1024].leak();
        extern "C" fn wait(gate: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the parent's, which outlives the child here as memory.
            let gate = unsafe { &*gate.cast::<Gate>() };
            gate.pass();
            0
        }
        // SAFETY: the stack is the child's alone.
        let child = unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).cast();
            libc::clone(wait, top, flags, (&raw const held).cast_mut().cast())
        };
        if child < 0 {
            return 1;
        }
        ready.open();
        wait_for_the_end()
    });
    ready.pass();
    assert!(matches!(reader.recv(), Ok(Some(Item::Line(_)))));
    writer.end();
    // Looks for deaths some times.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        let item = reader.recv_timeout(Duration::from_millis(50)).expect("ours");
        assert!(item.is_none(), "its memory is still written to: {item:?}");
    }
    held.open();
    match reader.recv() {
        Ok(Some(Item::Ended(ended))) => assert_eq!(ended.end, End::Died),
        other => panic!("expected a death, found {other:?}"),
    }
}
