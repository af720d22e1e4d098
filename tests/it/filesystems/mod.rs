//! Rings in files of many file systems: the promises that rest on the file system hold there, or
//! the ring is refused.
//!
//! Three things are asked of a file system: a lock that lives exactly as long as a mapping, one
//! memory for all who map a file, and an allocation that is kept. Each test mounts one file system
//! freshly, in mount and process namespaces of its own, so that neither mounts nor their servers
//! outlive it, and prints a line with what was found there (run with `--nocapture`).

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use linering::LineRing;

use crate::common::{fork, not_run};

mod checks;
mod facts;
mod full_disks;
mod mounting;
mod processes;

use checks::{
    a_reader_is_judged_rightly, a_successor_finds_what_was_acknowledged,
    a_writer_is_judged_rightly, late_writers_are_read_beside_a_stranger,
};
use facts::facts_of;
use full_disks::{a_made_ring_goes_on_when_the_disk_is_full, what_has_no_room_is_refused};
use mounting::mounted;
use processes::small;

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
