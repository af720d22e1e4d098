//! Rings in files of many file systems: the promises that rest on the file system hold there, or
//! the ring is refused.
//!
//! Three things are asked of a file system: a lock that lives exactly as long as a mapping, one
//! memory for all who map a file, and an allocation that is kept. Each test mounts one file system
//! freshly, in mount and process namespaces of its own, so that neither mounts nor their servers
//! outlive it, and prints a line with what was found there (run with `--nocapture`).

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::yield_now;

use common::{Child, exit, fork, not_run, wait_for_the_end};
use linering::{
    CreateError, End, Item, LineProcMirror, LineRing, MirrorError, Observer, Options, ReadError,
    Reader,
};

// --------------------------------------------------------------------------------------- the table

/// What a ring in a file does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// It keeps every promise.
    Works,
    /// It is not made, and an error says why.
    #[allow(
        dead_code,
        reason = "for a file system that cannot keep the promises; none is known yet"
    )]
    Refused,
}
use Expected::Works;

macro_rules! grounds {
    ($($test:ident: $kind:literal on $disk:literal, $expected:ident;)*) => {
        $(
            #[test]
            fn $test() {
                try_ground($kind, $disk, $expected);
            }
        )*
    };
}

grounds! {
    a_ring_on_tmpfs_keeps_the_promises: "" on "tmpfs", Works;
    a_ring_on_ext4_keeps_the_promises: "" on "ext4", Works;
    a_ring_on_ext2_keeps_the_promises: "" on "ext2", Works;
    a_ring_on_xfs_keeps_the_promises: "" on "xfs", Works;
    a_ring_on_btrfs_keeps_the_promises: "" on "btrfs", Works;
    a_ring_on_overlay_over_tmpfs_keeps_the_promises: "overlay" on "tmpfs", Works;
    a_ring_on_overlay_over_ext4_keeps_the_promises: "overlay" on "ext4", Works;
    a_ring_on_overlay_over_ext2_keeps_the_promises: "overlay" on "ext2", Works;
    a_ring_on_overlay_over_xfs_keeps_the_promises: "overlay" on "xfs", Works;
    a_ring_on_overlay_over_btrfs_keeps_the_promises: "overlay" on "btrfs", Works;
    a_ring_on_bindfs_keeps_the_promises: "bindfs" on "ext4", Works;
    a_ring_on_fuse_overlayfs_keeps_the_promises: "fuse-overlayfs" on "ext4", Works;
    a_ring_on_sshfs_keeps_the_promises: "sshfs" on "ext4", Works;
}

type Check = (&'static str, fn(&Path));

const CHECKS: [Check; 6] = [
    ("a living or dead reader is known as that", a_reader_is_judged_rightly),
    ("a living or dead writer is known as that", a_writer_is_judged_rightly),
    ("lines of late writers come whole beside a stranger", late_writers_are_read_beside_a_stranger),
    ("a successor finds what was acknowledged", a_successor_finds_what_was_acknowledged),
    (
        "a ring that was made goes on when the disk is full",
        a_made_ring_goes_on_when_the_disk_is_full,
    ),
    ("what has no room is refused", what_has_no_room_is_refused),
];

/// Seconds after which a test that hangs is ended.
const PATIENCE: u32 = 300;
/// Seconds after which a check that hangs is.
const PATIENCE_OF_CHECK: u32 = 100;
/// Exit code of a process that could not mount.
const MAY_NOT: u8 = 100;

const NEEDS: &str = "to mount file systems (be root, with loop devices and /dev/fuse, and install \
    e2fsprogs xfsprogs btrfs-progs bindfs fuse-overlayfs sshfs openssh-sftp-server)";

/// Mounts the file system, runs every check on it in a process of its own, and tells of those that
/// fail.
fn try_ground(kind: &str, disk: &str, expected: Expected) {
    let name = if kind.is_empty() { disk.to_owned() } else { format!("{kind} over {disk}") };
    let folder = tempfile::tempdir().expect("a folder");
    let (report, scratch) = (folder.path().join("report"), folder.path().join("scratch"));
    fs::create_dir(&scratch).expect("a folder");
    let code =
        fork(|| in_own_namespaces(|| tried(kind, disk, expected, &scratch, &report))).status();
    let report = fs::read_to_string(&report).unwrap_or_default();
    if code.code() == Some(MAY_NOT.into()) {
        return not_run(&format!("{NEEDS}; {name}: {report}"));
    }
    println!("{name}: {}", report.trim_end());
    assert_eq!(code.code(), Some(0), "on {name}: {code}\n{report}");
}

/// Runs `work` as the first process of new namespaces: with it, all its processes and mounts end.
/// The caller is a forked child.
fn in_own_namespaces(work: impl FnOnce() -> u8) -> u8 {
    let new = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    // SAFETY: plain system calls. The alarm ends this process, and that the one below it.
    unsafe {
        libc::alarm(PATIENCE);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::unshare(new) != 0 {
            return MAY_NOT;
        }
    }
    let first = fork(|| {
        // SAFETY: plain system calls, with strings that have their ends, and null where nothing is
        // needed.
        let mounted = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let none = core::ptr::null();
            libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast()) == 0
                && libc::mount(
                    c"proc".as_ptr(),
                    c"/proc".as_ptr(),
                    c"proc".as_ptr(),
                    0,
                    none.cast(),
                ) == 0
        };
        if mounted { work() } else { MAY_NOT }
    });
    first.status().code().map_or(101, |code| code as u8)
}

fn tried(kind: &str, disk: &str, expected: Expected, scratch: &Path, report: &Path) -> u8 {
    let told = |text: String, code| fs::write(report, text).map_or(101, |()| code);
    let (place, below) = match mounted(kind, disk, scratch) {
        Ok(places) => places,
        Err(error) => return told(error, MAY_NOT),
    };
    let facts = facts_of(&place, below.as_deref());
    match LineRing::create_file(place.join("first"), small()) {
        Ok(ring) if expected == Works => drop(ring),
        Ok(_) => return told(format!("{facts}\nthe ring was made, expected an error"), 1),
        Err(error) if expected == Works => return told(format!("{facts}\nrefused: {error}"), 1),
        Err(error) => {
            let fault = left_by_a_refusal(scratch, &place).map(|fault| format!("\n{fault}"));
            let code = fault.is_some().into();
            return told(format!("refused: {error}; {facts}{}", fault.unwrap_or_default()), code);
        }
    }
    let mut text = format!("works; {facts}");
    let mut code = 0;
    for (name, check) in CHECKS {
        if let Err(error) = in_own_process(scratch, || check(&place)) {
            text.push_str(&format!("\n* {name}: {error}"));
            code = 1;
        }
    }
    told(text, code)
}

/// Where no ring is made none is opened either, wherever it comes from, and no file is left.
fn left_by_a_refusal(scratch: &Path, place: &Path) -> Option<&'static str> {
    if place.join("first").exists() {
        return Some("a file was left that is no ring");
    }
    let (made, copy) = (scratch.join("made"), place.join("copy"));
    drop(LineRing::create_file(&made, small()).expect("a ring in memory"));
    fs::copy(&made, &copy).expect("room for a copy");
    LineRing::open_file(&copy).is_ok().then_some("a ring that was made elsewhere was opened")
}

/// Runs a check in a process of its own. What processes the check leaves behind are ended too.
fn in_own_process(scratch: &Path, check: impl FnOnce()) -> Result<(), String> {
    let said = scratch.join("said");
    let child = fork(|| {
        // SAFETY: plain system calls.
        unsafe {
            libc::setpgid(0, 0);
            libc::alarm(PATIENCE_OF_CHECK);
        }
        let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else { return 0 };
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        u8::from(fs::write(&said, text).is_ok())
    });
    let group = child.0;
    let status = child.status();
    // SAFETY: a plain system call; the group is that of the child and its children.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => Err(fs::read_to_string(&said).unwrap_or_default()),
        None => Err(status.to_string()),
    }
}

// ---------------------------------------------------------------------------------------- mounting

/// Runs a program to its end; its words if it fails.
fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn new_folder(path: PathBuf) -> Result<PathBuf, String> {
    fs::create_dir(&path).map_err(|error| error.to_string())?;
    Ok(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A folder on the file system, and what of the layer below it is the same folder.
fn mounted(kind: &str, disk: &str, scratch: &Path) -> Result<(PathBuf, Option<PathBuf>), String> {
    // Images and all are in memory, and gone with the namespace.
    run("mount", &["-t", "tmpfs", "-o", "size=512m", "none", text(scratch)])?;
    let base = new_folder(scratch.join("disk"))?;
    mount_disk(disk, scratch, &base)?;
    if kind.is_empty() {
        return Ok((base, None));
    }
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| new_folder(base.join(name)));
    let (lower, upper, work) = (lower?, upper?, work?);
    let top = new_folder(scratch.join("top"))?;
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
    match kind {
        "overlay" => run("mount", &["-t", "overlay", "-o", &layers, "none", text(&top)])?,
        "fuse-overlayfs" => run("fuse-overlayfs", &["-o", &layers, text(&top)])?,
        "bindfs" => run("bindfs", &[text(&upper), text(&top)])?,
        "sshfs" => mount_sshfs(&upper, &top)?,
        other => return Err(format!("{other}: not known")),
    }
    await_mount(&top, &base)?;
    Ok((top, Some(upper)))
}

fn mount_disk(disk: &str, scratch: &Path, base: &Path) -> Result<(), String> {
    // The smallest that mkfs makes; all are sparse.
    let megabytes = match disk {
        "tmpfs" => return run("mount", &["-t", "tmpfs", "-o", "size=24m", "none", text(base)]),
        "xfs" => 300,
        "btrfs" => 128,
        _ => 24,
    };
    let image = scratch.join("image");
    let file = File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
    drop(file);
    let force = if disk.starts_with("ext") { "-F" } else { "-f" };
    run(&format!("mkfs.{disk}"), &["-q", force, text(&image)])?;
    run("mount", &["-t", disk, "-o", "loop", text(&image), text(base)])
}

/// Without a server that others could reach: `sshfs` talks to the file server through a pair of
/// sockets.
fn mount_sshfs(from: &Path, to: &Path) -> Result<(), String> {
    let places = [
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
    ];
    let server = places.into_iter().find(|place| Path::new(place).exists());
    let server = server.ok_or("there is no sftp-server")?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let ends = |socket: UnixStream| {
        let socket = OwnedFd::from(socket);
        socket.try_clone().map(|other| (Stdio::from(socket), Stdio::from(other)))
    };
    let remote = format!(":{}", text(from));
    for (socket, program, args) in [
        (theirs, server, vec!["-e"]),
        (ours, "sshfs", vec!["-f", "-o", "passive", remote.as_str(), text(to)]),
    ] {
        let (input, output) = ends(socket).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(args).stdin(input).stdout(output).stderr(Stdio::null());
        command.spawn().map_err(|error| format!("{program}: {error}"))?;
    }
    Ok(())
}

/// Until another file system is there than below; the process's alarm is the limit.
fn await_mount(top: &Path, base: &Path) -> Result<(), String> {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev());
    let scratch = device(top.parent().expect("scratch")).map_err(|error| error.to_string())?;
    let base = device(base).map_err(|error| error.to_string())?;
    for _ in 0..100_000 {
        match device(top) {
            // A file system in user space may show the numbers of the one below it.
            Ok(found) if found != scratch || base == scratch => return Ok(()),
            _ => yield_now(),
        }
    }
    Err("nothing was mounted".to_owned())
}

// ------------------------------------------------------------------------------------------- facts

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// What the file system does with the system calls that a ring is made of, in words for a table.
fn facts_of(place: &Path, below: Option<&Path>) -> String {
    let path = place.join("facts");
    let file = opened(&path, true);
    // SAFETY: a plain system call on an open descriptor.
    let fallocate = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 1 << 16) };
    let allocated = file.metadata().is_ok_and(|data| data.blocks() * 512 >= 1 << 16);
    let shared = mapped(&file);
    let owner = fork(|| {
        let other = opened(&path, false);
        let lock = opened(&path, false);
        if !locked(&lock) {
            return 1;
        }
        mapped(&other)[0].store(7, SeqCst);
        let kept = mapped(&lock);
        drop((file, other, lock));
        // SAFETY: closes what is this process's own.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        stop();
        kept[1].store(1, SeqCst);
        wait_for_the_end()
    });
    let Ok(()) = await_stop(&owner) else { return "a lock could not be taken".to_owned() };
    let kept = !locked(&opened(&path, false));
    let coherent = shared[0].load(SeqCst) == 7;
    let apart = below.map(|below| {
        let from_below = opened(&below.join("facts"), false);
        let word = mapped(&from_below)[0].load(SeqCst);
        format!(
            "; from below: same lock {}, same memory {}",
            yes(!locked(&from_below)),
            yes(word == 7)
        )
    });
    owner.end();
    let freed = locked(&opened(&path, false));
    let _ = fs::remove_file(&path);
    format!(
        "lock kept by a mapping alone: {}; lock free at once after a kill: {}; one memory for all: {}; \
        allocated: {} (posix_fallocate {fallocate}){}",
        yes(kept),
        yes(freed),
        yes(coherent),
        yes(allocated),
        apart.unwrap_or_default(),
    )
}

fn opened(path: &Path, is_new: bool) -> File {
    OpenOptions::new().read(true).write(true).create_new(is_new).open(path).expect("a file")
}

/// Takes the lock of the file's first byte for this description; `false` if another has it.
fn locked(file: &File) -> bool {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call on an open
    // descriptor.
    unsafe {
        let mut lock: libc::flock = core::mem::zeroed();
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_len = 1;
        libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) == 0
    }
}

/// The first words of a file, in memory that all share who map it.
fn mapped(file: &File) -> &'static [AtomicU64; 8] {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice, which stays, of a file that is
    // longer and that is not cut short; only atomics are made of it.
    unsafe {
        let page = libc::mmap(core::ptr::null_mut(), 4096, access, flags, file.as_raw_fd(), 0);
        assert!(page != libc::MAP_FAILED, "it can be mapped");
        &*page.cast()
    }
}

// --------------------------------------------------------------------------------------- processes

/// Numbers that a process and those forked from it share.
fn counters() -> &'static [AtomicU64; 32] {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice, which stays; zeros are valid
    // atomics.
    unsafe {
        let page = libc::mmap(core::ptr::null_mut(), 4096, access, flags, -1, 0);
        assert!(page != libc::MAP_FAILED, "there is memory");
        &*page.cast()
    }
}

/// Stops this process until it is told to go on: a gate that needs no descriptor.
fn stop() {
    // SAFETY: a plain system call.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

/// Waits until the child has stopped itself; its end, if it ended instead.
fn await_stop(child: &Child) -> Result<(), String> {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call.
    unsafe {
        let mut info: libc::siginfo_t = core::mem::zeroed();
        let states = libc::WSTOPPED | libc::WEXITED;
        assert_eq!(libc::waitid(libc::P_PID, child.0 as libc::id_t, &raw mut info, states), 0);
        match info.si_code {
            libc::CLD_STOPPED => Ok(()),
            _ => Err(format!("the process ended: code or signal {}", info.si_status())),
        }
    }
}

fn go_on(child: &Child) {
    // SAFETY: a plain system call, for a child of ours that was not awaited.
    unsafe { libc::kill(child.0, libc::SIGCONT) };
}

/// Children of this process that live on, with all that they inherit: by `fork`, and by a `clone`
/// without its handlers.
fn leave_children() {
    fork(wait_for_the_end);
    // SAFETY: as a fork, without its handlers; the child does nothing but wait.
    if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
        exit(wait_for_the_end());
    }
}

/// What an owner of a cell goes through. It stops itself after each, and is to live.
const TRIALS: [(&str, fn()); 5] = [
    ("with the cell alone", || {}),
    ("with children by fork and clone", leave_children),
    ("without any descriptor", || {
        // SAFETY: closes what is this process's own; its standard streams stay.
        unsafe { libc::close_range(3, u32::MAX, 0) };
    }),
    ("after a forked child has exited", || fork(|| 0).succeeds()),
    ("after a forked child has become another program", || {
        let child = fork(|| {
            // SAFETY: strings with their ends, and a list with its own.
            unsafe { libc::execlp(c"true".as_ptr(), c"true".as_ptr(), core::ptr::null::<i8>()) };
            1
        });
        child.succeeds();
    }),
];

/// A process that has `open` and goes through the trials.
fn owner<T>(open: impl FnOnce() -> Option<T>) -> Child {
    fork(|| {
        let Some(_owned) = open() else { return 1 };
        for (_, trial) in TRIALS {
            trial();
            stop();
        }
        wait_for_the_end()
    })
}

/// Runs `look` after each trial of a new owner, while that is stopped and at last while it runs.
/// Then it is killed.
fn through_all_trials<T>(open: impl FnOnce() -> Option<T>, mut look: impl FnMut(&str)) {
    let owner = owner(open);
    for (trial, _) in TRIALS {
        await_stop(&owner).unwrap_or_else(|error| panic!("{trial}: {error}"));
        look(trial);
        go_on(&owner);
    }
    look("running");
    owner.end();
}

fn small() -> Options {
    Options::new().lines(16).line_bytes(64).mirrors(2).seats(64)
}

/// A new ring at a place where none was.
fn new_ring(place: &Path, name: &str, options: Options) -> (PathBuf, LineRing) {
    let path = place.join(name);
    let ring = LineRing::create_file(&path, options).expect("a ring");
    (path, ring)
}

// ------------------------------------------------------------------------------------------ checks

fn has_reader(ring: &LineRing) -> bool {
    matches!(ring.reader(), Err(ReadError::HasReader { .. }))
}

fn a_reader_is_judged_rightly(place: &Path) {
    let (path, ring) = new_ring(place, "reader", small());
    let by_path = || LineRing::open_file(&path).expect("a ring");
    let own = ring.reader().expect("the first");
    assert!(has_reader(&ring) && has_reader(&by_path()), "this process itself reads");
    drop(own);
    let open = || {
        let ring = by_path();
        let reader = ring.reader().ok()?;
        (has_reader(&ring) && has_reader(&by_path())).then_some((ring, reader))
    };
    through_all_trials(open, |trial| {
        assert!(has_reader(&ring), "a reader {trial} is taken for dead");
        let status = fork(|| u8::from(!has_reader(&by_path()))).status();
        assert!(
            status.success(),
            "a reader {trial} is taken for dead by a process that opened the file: {status}"
        );
    });
    let status = fork(|| u8::from(by_path().reader().is_err())).status();
    assert!(
        status.success(),
        "a killed reader is taken for alive by a process that opened the file: {status}"
    );
    assert!(ring.reader().is_ok(), "a killed reader is taken for alive");
}

fn items_of(reader: &mut Reader) -> Vec<Item<'static>> {
    let mut items = Vec::new();
    while let Some(item) = reader.try_recv().expect("ours") {
        items.push(item.into_owned());
    }
    items
}

fn is_death(item: &Item<'_>) -> bool {
    matches!(item, Item::Ended(ended) if ended.end == End::Died)
}

fn a_writer_is_judged_rightly(place: &Path) {
    let (path, ring) = new_ring(place, "writer", small());
    let by_path = || LineRing::open_file(&path).expect("a ring");
    let open = || {
        let mut mirror = by_path().mirror().ok()?;
        mirror.write_line(b"line").ok()?;
        Some(mirror)
    };
    let mut lines = 0;
    through_all_trials(open, |trial| {
        // A new reader looks for the dead at once; so does a new mirror that finds no free cell.
        let items = items_of(&mut ring.reader().expect("no other"));
        assert!(!items.iter().any(is_death), "a writer {trial} is taken for dead");
        lines += items.iter().filter(|item| item.line().is_some()).count();
        let other = fork(|| {
            let ring = by_path();
            let Ok(_other) = ring.mirror() else { return 1 };
            u8::from(!matches!(ring.mirror(), Err(MirrorError::TooManyMirrors { .. }))) * 2
        });
        assert_eq!(other.status().code(), Some(0), "a writer {trial} lost its cell");
    });
    assert_eq!(lines, 1, "its line came once");
    let mut deaths = 0;
    // The alarm is the limit; others ended in between.
    while deaths == 0 {
        deaths += items_of(&mut ring.reader().expect("no other"))
            .iter()
            .filter(|item| is_death(item))
            .count();
    }
    assert_eq!((deaths, ring.counts().live), (1, 0));
    let all: Vec<LineProcMirror> =
        (0..2).map(|_| ring.mirror().expect("the dead one's cell")).collect();
    drop(all);
}

const WRITERS: usize = 8;
const LINES: u64 = 300;

/// A line of this writer that cannot be taken for any other, of a length of its own.
fn line_of(writer: usize, number: u64) -> String {
    let length = (number % 90) as usize;
    format!("{writer} {number} {}", "x".repeat(length))
}

/// Who wrote it, and its number; a failure if a part of it is missing or another's.
fn read_line(line: &linering::Line<'_>) -> (usize, u64) {
    let found = line.to_string();
    let mut words = found.split(' ').map(str::parse);
    let (Some(Ok(writer)), Some(Ok(number))) = (words.next(), words.next()) else {
        panic!("no line of these: {found}")
    };
    assert_eq!(found, line_of(writer as usize, number), "it is whole");
    (writer as usize, number)
}

fn late_writers_are_read_beside_a_stranger(place: &Path) {
    let options = Options::new().lines(8).line_bytes(64).max_line(200).mirrors(WRITERS).seats(64);
    let (path, ring) = new_ring(place, "late", options);
    let mut reader = ring.reader().expect("the first");
    let counters = counters();
    let [tries, successes] = [&counters[0], &counters[1]];
    let stranger = fork(|| {
        loop {
            let taken = LineRing::open_file(&path).is_ok_and(|ring| !has_reader(&ring));
            let replaced =
                !matches!(LineRing::create_file(&path, small()), Err(CreateError::Taken { .. }));
            let looked = Observer::open_file(&path)
                .map(|observer| observer.snapshot())
                .is_ok_and(|items| items.is_ok_and(|items| items.len() <= 1 << 10));
            successes.fetch_add(u64::from(taken || replaced || !looked), SeqCst);
            tries.fetch_add(1, SeqCst);
        }
    });
    while tries.load(SeqCst) == 0 {
        yield_now();
    }
    let writers: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork(|| {
                let Ok(mut mirror) = LineRing::open_file(&path).map(|ring| ring.mirror()) else {
                    return 1;
                };
                let Ok(mirror) = &mut mirror else { return 2 };
                for number in 0..LINES {
                    if mirror.write_line(line_of(writer, number).as_bytes()).is_err() {
                        return 3;
                    }
                }
                u8::from(mirror.send_eof().is_err()) * 4
            })
        })
        .collect();
    let (mut next, mut ends) = ([0; WRITERS], 0);
    while ends < WRITERS {
        let Some(item) = reader.recv().expect("ours").map(Item::into_owned) else {
            // None of them has come yet, or the next has not.
            yield_now();
            continue;
        };
        match item {
            Item::Line(line) => {
                let (writer, number) = read_line(&line);
                assert_eq!(number, next[writer], "line of writer {writer}, in order and once");
                next[writer] += 1;
            }
            Item::Ended(ended) if ended.end == End::Eof => ends += 1,
            other => panic!("expected lines and EOFs: {other}"),
        }
    }
    writers.into_iter().for_each(Child::succeeds);
    assert_eq!(next, [LINES; WRITERS]);
    stranger.end();
    assert_eq!(
        successes.load(SeqCst),
        0,
        "the stranger became the reader, took the path away, or could not look"
    );
}

fn a_successor_finds_what_was_acknowledged(place: &Path) {
    // In one part each: of a line of several, a successor gets what the reader before had not
    // taken.
    let options = Options::new().lines(64).line_bytes(192).mirrors(WRITERS).seats(64);
    let path = place.join("killed");
    let counters = counters();
    let (acknowledged, read) = counters.split_at(WRITERS);
    let maker = fork(|| {
        // Its own handle dies with it, as all others.
        let Ok(_ring) = LineRing::create_file(&path, options) else { return 1 };
        stop();
        wait_for_the_end()
    });
    await_stop(&maker).expect("it makes a ring");
    let mut all: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork(|| {
                let Ok(mut mirror) = LineRing::open_file(&path).map(|ring| ring.mirror()) else {
                    return 1;
                };
                let Ok(mirror) = &mut mirror else { return 2 };
                for number in 0.. {
                    if mirror.write_line(line_of(writer, number).as_bytes()).is_err() {
                        return 3;
                    }
                    acknowledged[writer].store(number + 1, SeqCst);
                }
                4
            })
        })
        .collect();
    all.push(fork(|| {
        let Ok(ring) = LineRing::open_file(&path) else { return 1 };
        let Ok(mut reader) = ring.reader() else { return 2 };
        loop {
            if let Ok(Some(Item::Line(line))) = reader.recv() {
                let (writer, number) = read_line(&line);
                read[writer].store(number + 1, SeqCst);
            }
        }
    }));
    all.push(maker);
    while read.iter().map(|read| read.load(SeqCst)).sum::<u64>() < 1000 {
        yield_now();
    }
    all.iter().for_each(Child::kill);
    all.into_iter().for_each(Child::end);
    let found = counters_of_successor(&path, read);
    for (writer, found) in found.into_iter().enumerate() {
        let known = acknowledged[writer].load(SeqCst);
        assert!(
            found == known || found == known + 1,
            "writer {writer} was told that {known} lines are safe, and {found} came"
        );
    }
}

/// How many lines of each writer there are, those included that the reader before had.
fn counters_of_successor(path: &Path, read: &[AtomicU64]) -> Vec<u64> {
    let ring = LineRing::open_file(path).expect("it stays");
    let mut next: Vec<Option<u64>> = vec![None; WRITERS];
    for item in ring.reader().expect("its reader is dead") {
        match item.expect("ours") {
            Item::Line(line) => {
                let (writer, number) = read_line(&line);
                let had = read[writer].load(SeqCst);
                match next[writer] {
                    // What was handed out and not accepted comes again.
                    None => {
                        assert!(
                            number == had || number + 1 == had,
                            "{had} lines were read, then {number}"
                        )
                    }
                    Some(next) => {
                        assert_eq!(number, next, "line of writer {writer}, in order and once")
                    }
                }
                next[writer] = Some(number + 1);
            }
            Item::Ended(ended) => assert_eq!(ended.end, End::Died),
            other => panic!("expected lines and deaths: {other}"),
        }
    }
    next.into_iter().zip(read).map(|(next, read)| next.unwrap_or(read.load(SeqCst))).collect()
}

// -------------------------------------------------------------------------------------- full disks

/// Fills the file system up to its last byte, until this is dropped.
struct Filling(PathBuf);

impl Filling {
    fn of(place: &Path) -> Self {
        let filling = Self(place.join("filling"));
        let mut file = File::create(&filling.0).expect("a file");
        let (mut at, mut step) = (0, 256 << 20);
        while step >= 4096 {
            // SAFETY: a plain system call on an open descriptor.
            if unsafe { libc::fallocate(file.as_raw_fd(), 0, at, step) } == 0 {
                at += step;
            } else {
                step /= 2;
            }
        }
        // What cannot be allocated is written; what is kept back for the file system itself shows
        // at its end.
        let zeros = vec![0; 1 << 16];
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).expect("a file");
        for part in [1 << 16, 4096, 1] {
            while file.write_all(&zeros[..part]).and_then(|()| file.sync_data()).is_ok() {}
        }
        filling
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Goes around the ring some times, and has each round written to the disk: a file system that
/// writes elsewhere each time needs room then. An error is an answer too; what is not is a signal.
fn go_around(ring: &LineRing) {
    let (Ok(mut mirror), Ok(mut reader)) = (ring.mirror(), ring.reader()) else { return };
    let file = ring.descriptor().ok().and_then(|descriptor| descriptor.try_clone_to_owned().ok());
    for _ in 0..3 {
        for _ in 0..ROUND {
            if mirror.write_line(&[b'x'; 200]).is_err() || reader.recv().is_err() {
                return;
            }
        }
        if let Some(file) = &file {
            let _ = File::from(file.try_clone().expect("a descriptor")).sync_data();
        }
    }
}

const ROUND: usize = 1 << 10;

fn larger() -> Options {
    Options::new().lines(ROUND).line_bytes(256).mirrors(2).seats(64)
}

fn a_made_ring_goes_on_when_the_disk_is_full(place: &Path) {
    let (_, ring) = new_ring(place, "made", larger());
    let _filling = Filling::of(place);
    // Round and round without an error: all of it was allocated.
    let worked = fork(|| {
        go_around(&ring);
        let Ok(mut mirror) = ring.mirror() else { return 1 };
        u8::from(mirror.write_line(b"last").is_err()) * 2
    });
    let status = worked.status();
    assert!(status.success(), "a process that used the ring on a full disk ended: {status}");
}

fn what_has_no_room_is_refused(place: &Path) {
    let (path, ring) = new_ring(place, "whole", larger());
    drop(ring);
    let copy = place.join("sparse");
    run("cp", &["--sparse=always", text(&path), text(&copy)]).expect("room for a copy");
    let _filling = Filling::of(place);
    let new = place.join("new");
    let made = fork(|| match LineRing::create_file(&new, larger()) {
        Ok(_) => 1,
        // Which error it is, a file server does not always say.
        Err(CreateError::System(_)) => 0,
        Err(_) => 2,
    });
    let made = made.status();
    assert!(made.success(), "making a ring on a full disk is no error that says so: {made}");
    assert!(!new.exists(), "a file was left that is no ring");
    let attached = fork(|| {
        if let Ok(ring) = LineRing::open_file(&copy) {
            go_around(&ring);
        }
        0
    });
    let attached = attached.status();
    assert!(
        attached.success(),
        "a process that opened a sparse copy on a full disk ended: {attached}"
    );
}
