//! Processes whose control group has little memory, or is frozen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::yield_now;
use std::time::Duration;

use linering::{CreateError, LineRing, Options, WriteError};

use super::operations::{Held, item_of, reading_peer, told, value_or_sentence, write_four};
use super::{GRACE, Said, begin, end_of, ring};
use crate::common::{Child, Gate, fork, not_run, wait_for_the_end};

/// A control group that is taken away again.
struct Group(PathBuf);

impl Group {
    /// A new one below the first of these folders that has `file` in it.
    pub(super) fn new(folders: &[&str], file: &str) -> Option<Self> {
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
    pub(super) fn new() -> Option<Self> {
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
