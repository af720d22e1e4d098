//! What a kill, or a stop, at one certain place would spoil if no other process repaired it: a
//! case for each. `every_instruction` goes through all places, of fewer circumstances.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use linering::{End, Item, LineRing, Observer, Options, Policy, Timestamps, WakeUp};

use crate::common::tracer::{Stop, Traced, mark, stay_on_processor};
use crate::common::{Gate, bytes_of, die, fork, wait_for_the_end};

fn small() -> Options {
    Options::new()
        .lines(4)
        .line_bytes(64)
        .max_line(64)
        .mirrors(4)
        .seats(12)
        .timestamps(Timestamps::Off)
}

fn file(ring: &LineRing) -> File {
    File::from(ring.descriptor().unwrap().try_clone_to_owned().unwrap())
}

fn name(of: &str) -> String {
    format!("linering-crash-{of}-{}", std::process::id())
}

fn drain(ring: &LineRing) -> Vec<Item<'static>> {
    let mut reader = ring.reader().unwrap();
    let mut items = Vec::new();
    while let Some(item) = reader.recv_timeout(Duration::from_secs(3)).unwrap() {
        items.push(item.into_owned());
    }
    reader.commit().unwrap();
    items
}

/// Steps a traced child to change `wanted`; false if it was over before.
fn to_change(ring: &LineRing, child: &Traced, wanted: usize) -> bool {
    let (mut before, mut changes) = (bytes_of(ring), 0);
    while changes < wanted {
        if child.step() != Stop::Step {
            return false;
        }
        let now = bytes_of(ring);
        changes += usize::from(now != before);
        before = now;
    }
    true
}

/// The reader is killed while it collects an end; the next one collects another end of that kind
/// before that one.
#[test]
fn each_end_is_counted_once_whoever_dies_collecting_it() {
    let _processor = stay_on_processor(0);
    let mut wrong = Vec::new();
    for wanted in 1.. {
        let ring = LineRing::new(small()).unwrap();
        let early = ring.mirror_labelled("ticket 0").unwrap();
        drop(ring.mirror_labelled("ticket 1").unwrap());
        let child = Traced::start(|| {
            let mut reader = ring.reader().unwrap();
            mark();
            assert!(matches!(reader.try_recv(), Ok(Some(Item::Ended(_)))));
            reader.commit().unwrap();
            mark();
            0
        });
        let in_time = to_change(&ring, &child, wanted);
        child.kill();
        drop(early);
        let ends = drain(&ring).len();
        let counts = ring.counts();
        if counts.eofs != 2 {
            wrong.push((wanted, ends, counts.eofs));
        }
        if !in_time {
            break;
        }
    }
    assert!(
        wrong.is_empty(),
        "(change, ends told to the next reader, eofs; expected 2): {wrong:?}"
    );
}

/// A writer stands still between saying that it wakes the reader and writing into the pipe; another
/// one writes.
#[test]
fn one_that_stands_still_before_it_wakes_an_event_loop_keeps_no_other_from_it() {
    let _processor = stay_on_processor(0);
    let ring = LineRing::new(small().wake_up(WakeUp::Pipe)).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut other = ring.mirror().unwrap();
    let child = Traced::start(|| {
        let mut mirror = ring.mirror().unwrap();
        mark();
        mirror.write_line(b"one").unwrap();
        0
    });
    assert!(reader.try_recv().unwrap().is_none());
    let is_armed = || bytes_of(&ring)[384] & 3 == 1;
    assert!(is_armed());
    while is_armed() {
        assert_eq!(child.step(), Stop::Step);
    }
    // SIGSTOP would do as well: it stands still here.
    other.write_line(b"two").unwrap();
    other.write_line(b"three").unwrap();
    let mut polled = libc::pollfd {
        fd: reader.poll_fd().expect("a pipe").as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one struct, which lives during the call.
    let ready = unsafe { libc::poll(&raw mut polled, 1, 2000) };
    child.kill();
    assert_eq!(ready, 1, "two lines by a live writer, and not readable for 2 s");
}

/// A group that is its parent's.
#[test]
fn a_childs_drop_of_an_inherited_group_does_nothing() {
    let ring = LineRing::new(small()).unwrap();
    let mut mirror = ring.mirror_labelled("parent").unwrap();
    let mut group = mirror.group().unwrap();
    group.line(b"one").unwrap();
    let mut group = Some(group);
    fork(|| {
        drop(group.take());
        0
    })
    .succeeds();
    group.take().unwrap().end().unwrap();
    drop(group);
    drop(mirror);
    let items = drain(&ring);
    assert_eq!(items.len(), 2, "one group and one end: {items:#?}");
}

/// A damaged word.
#[test]
fn a_read_position_far_behind_destroys_no_line() {
    let ring = LineRing::new(small().start_position(1 << 41)).unwrap();
    let mut mirror = ring.mirror().unwrap();
    mirror.write_line(b"one").unwrap();
    mirror.write_line(b"two").unwrap();
    drop(mirror);
    file(&ring).write_all_at(&((1_u64 << 41) - 300_000).to_ne_bytes(), 256).unwrap();
    let began = Instant::now();
    let items = drain(&ring);
    let damaged = items.iter().filter(|i| matches!(i, Item::Damaged { .. })).count();
    let rest: Vec<_> = items
        .iter()
        .filter(|i| !matches!(i, Item::Damaged { .. }))
        .map(ToString::to_string)
        .collect();
    assert!(
        damaged < 100,
        "{damaged} positions damaged, in {:?}; the rest: {rest:?}",
        began.elapsed()
    );
}

/// The reader is killed while it accepts a batch that has an end in it.
#[test]
fn what_comes_again_is_still_known_to_be_whose_it_is() {
    let _processor = stay_on_processor(0);
    let mut wrong = Vec::new();
    for wanted in 1.. {
        let ring = LineRing::new(small().lines(256).mirrors(1)).unwrap();
        let mut mirror = ring.mirror_labelled("first").unwrap();
        mirror.write_line(b"a line").unwrap();
        drop(mirror);
        let mut second = ring.mirror_labelled("second").unwrap();
        second.write_line(b"another").unwrap();
        let child = Traced::start(|| {
            let mut reader = ring.reader().unwrap();
            let batch = reader.batch().unwrap();
            mark();
            batch.commit();
            mark();
            0
        });
        let in_time = to_change(&ring, &child, wanted);
        child.kill();
        drop(second);
        let items = drain(&ring);
        let is_again = |text: &str| items.iter().any(|item| item.to_string() == text);
        if is_again("-- worker first ended --") && !is_again("a line") {
            wrong.push((wanted, "an end after what came after it".into(), 0, "first".into()));
        }
        for item in items {
            if let Item::Line(line) = item
                && ((line.to_string() == "a line"
                    && (&*line.label, line.writer_id) != ("first", 0))
                    || (line.to_string() == "another"
                        && (&*line.label, line.writer_id) != ("second", 1)))
            {
                wrong.push((wanted, line.to_string(), line.writer_id, line.label.to_string()));
            }
        }
        if !in_time {
            break;
        }
    }
    assert!(wrong.is_empty(), "(change, line, worker, label): {wrong:?}");
}

/// Two writers, whose lines have three parts, in turns; the reader is killed while it accepts them.
#[test]
fn a_reader_that_is_killed_leaves_long_lines_whole() {
    let _processor = stay_on_processor(0);
    let mut wrong = Vec::new();
    for wanted in 1.. {
        let ring = LineRing::new(small().lines(64).max_line(500)).unwrap();
        let mut mirrors = [ring.mirror().unwrap(), ring.mirror().unwrap()];
        for _ in 0..5 {
            for (name, mirror) in ["a", "b"].iter().zip(&mut mirrors) {
                mirror.write_all(name.repeat(64).as_bytes()).unwrap();
            }
            mirrors[1].write_all(b"\n").unwrap();
        }
        let child = Traced::start(|| {
            let mut reader = ring.reader().unwrap();
            mark();
            for _ in 0..3 {
                reader.try_recv().unwrap();
            }
            reader.commit().unwrap();
            mark();
            0
        });
        let in_time = to_change(&ring, &child, wanted);
        child.kill();
        drop(mirrors);
        let items = drain(&ring);
        let lines: Vec<_> = items.iter().filter_map(Item::line).collect();
        let are_whole = lines.iter().all(|line| {
            let length = if line.to_string().starts_with('a') { 5 * 64 } else { 64 };
            !line.truncated && line.bytes.len() == length
        });
        // The longer one is never accepted; of the others at most those that were.
        if !are_whole || !(3..=6).contains(&lines.len()) {
            wrong.push((wanted, items.iter().map(Item::to_string).collect::<Vec<_>>()));
        }
        if !in_time {
            break;
        }
    }
    assert!(wrong.is_empty(), "(change, items): {wrong:?}");
}

/// After its ticket says so, its cell does not say yet that it keeps the text.
#[test]
fn an_error_that_is_told_has_its_text_wherever_its_writer_died() {
    let _processor = stay_on_processor(0);
    let mut wrong = Vec::new();
    for wanted in 1.. {
        let ring = LineRing::new(small().policy(Policy::OverwriteOldest)).unwrap();
        let mut other = ring.mirror_labelled("other").unwrap();
        let child = Traced::start(|| {
            let mut mirror = ring.mirror_labelled("child").unwrap();
            mark();
            let _ = mirror.send_panic(&"no good");
            mark();
            0
        });
        let in_time = to_change(&ring, &child, wanted);
        child.kill();
        for _ in 0..8 {
            other.write_line(b"over it").unwrap();
        }
        drop(other);
        // Another process finds the dead first, as a reader does that looks before it drains.
        let items = drain(&ring);
        let is_error = items
            .iter()
            .any(|i| matches!(i, Item::Ended(e) if e.label == "child" && e.end == End::Error));
        let has_trace = items.iter().any(|i| i.line().is_some_and(|l| l.label == "child"));
        if is_error && !has_trace {
            wrong.push(wanted);
        }
        if !in_time {
            break;
        }
    }
    assert!(
        wrong.is_empty(),
        "told as an error, without any of its text, when killed at changes {wrong:?}"
    );
}

/// Killed before the ring is finished.
#[test]
fn a_name_whose_creator_died_early_can_be_had_again() {
    let name = name("early");
    let path = format!("/dev/shm/{name}");
    let child = fork(|| {
        let ring = LineRing::create_named(&name, Options::new().lines(1 << 16)).unwrap();
        std::mem::forget(ring);
        wait_for_the_end()
    });
    // Before that it is an empty object that does not say whose it is.
    while std::fs::read(&path).unwrap_or_default().get(..8).is_none_or(|magic| magic == [0; 8]) {
        std::hint::spin_loop();
    }
    child.end();
    let removed = LineRing::remove_named(&name);
    let again = LineRing::create_named(&name, small()).map(drop);
    let left = std::fs::metadata(&path).map(|data| {
        use std::os::unix::fs::MetadataExt;
        (data.len(), data.blocks() * 512)
    });
    let _ = std::fs::remove_file(path);
    assert!(
        matches!(removed, Ok(true)),
        "removed: {removed:?}; made again: {again:?}; (bytes, allocated): {left:?}"
    );
}

/// The file happens to lie where names do.
#[test]
fn a_ring_in_a_file_is_not_removed_as_a_name() {
    let name = name("file");
    let path = format!("/dev/shm/{name}");
    let ring = LineRing::create_file(&path, small()).unwrap();
    ring.mirror().unwrap().write_line(b"acknowledged, not read").unwrap();
    drop(ring);
    let removed = LineRing::remove_named(&name);
    let stays = std::fs::remove_file(path).is_ok();
    assert!(stays, "{removed:?}");
}

/// It has last words, and the ring is full.
#[test]
fn a_dead_mirrors_cell_can_be_had_at_once_where_nobody_waits_for_room() {
    let mut refused = Vec::new();
    for policy in [Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = LineRing::new(small().mirrors(1).policy(policy)).unwrap();
        fork(|| {
            let mut mirror = ring.mirror().unwrap();
            for _ in 0..4 {
                mirror.write_line(b"line").unwrap();
            }
            mirror.write_all(b"begun").unwrap();
            die()
        })
        .status();
        if let Err(error) = ring.mirror() {
            refused.push((policy, error.to_string()));
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
}

/// The reader that it was given to is gone.
#[test]
fn a_kept_error_that_was_not_accepted_comes_again() {
    let ring = LineRing::new(small().policy(Policy::OverwriteOldest)).unwrap();
    let mut child = ring.mirror_labelled("child").unwrap();
    let mut other = ring.mirror_labelled("other").unwrap();
    child.write_line(b"a line").unwrap();
    child.send_panic(&"no good").unwrap();
    for _ in 0..8 {
        other.write_line(b"over it").unwrap();
    }
    drop(other);
    let mut reader = ring.reader().unwrap();
    loop {
        let item = reader.recv().unwrap().expect("it comes");
        if item.line().is_some_and(|line| line.label == "child") {
            break;
        }
    }
    // Handed out and not accepted: its sink fails, or it is killed here.
    drop(reader);
    let items: Vec<_> = drain(&ring).iter().map(|item| format!("{item}")).collect();
    assert!(items.iter().any(|item| item.contains("no good")), "{items:?}");
}

/// While the reader frees the tickets that said so.
#[test]
fn ends_that_were_counted_stay_counted() {
    let ring = LineRing::new(small().seats(64)).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut worst = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = ring.reader().unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..8 {
                    drop(ring.mirror().unwrap());
                }
                while reader.try_recv().unwrap().is_some() {}
            }
        });
        let mut before = 0;
        while before < 10_000 && worst.is_none() {
            let eofs = ring.counts().eofs;
            if eofs < before {
                worst = Some((before, eofs));
            }
            before = eofs;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(worst, None, "(eofs, eofs after that)");
}

/// For want of one more descriptor, whichever it is.
#[test]
fn a_creation_that_fails_leaves_no_name() {
    let name = name("emfile");
    let mut code = None;
    for more in 0..6 {
        let status = fork(|| {
            let next = File::open("/dev/null").unwrap().as_raw_fd() as u64;
            let limit = libc::rlimit { rlim_cur: next + more, rlim_max: next + more };
            // SAFETY: one struct, which lives during the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            match LineRing::create_named(&name, small()) {
                Ok(_) => 0,
                Err(_) if std::path::Path::new(&format!("/dev/shm/{name}")).exists() => 1,
                Err(_) => 2,
            }
        })
        .status();
        let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        if status.code() == Some(1) {
            code = Some(more);
        }
    }
    assert_eq!(
        code, None,
        "with so many descriptors to be had, creation fails and leaves the name"
    );
}

/// The process that made it is dead.
#[test]
fn a_ring_in_which_a_forked_worker_lives_is_not_removed() {
    let name = name("forked");
    let (ready, go, done) = (Gate::new(), Gate::new(), Gate::new());
    let creator = fork(|| {
        let ring = LineRing::create_named(&name, small()).unwrap();
        fork(|| {
            let mut mirror = ring.mirror_labelled("worker").unwrap();
            mirror.write_line(b"one").unwrap();
            ready.open();
            go.pass();
            mirror.write_line(b"two, acknowledged").unwrap();
            done.open();
            0
        })
        .status();
        0
    });
    ready.pass();
    creator.end();
    let observer = Observer::open_named(&name).unwrap();
    let looked: Vec<_> = observer
        .snapshot()
        .expect("the file stays whole")
        .iter()
        .map(ToString::to_string)
        .collect();
    let used = observer.is_used();
    drop(observer);
    let removed = LineRing::remove_named(&name).unwrap();
    go.open();
    done.pass();
    let after = LineRing::open_named(&name).map(|ring| drain(&ring));
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    assert!(
        used && !removed,
        "is_used {used}, look {looked:?}, removed {removed}; after another write, to open it: {after:?}"
    );
}

/// A process takes a name away and gives it to another ring, while the first ring is dropped.
#[test]
fn a_name_that_is_anothers_by_now_stays() {
    let _processor = stay_on_processor(0);
    let name = name("order");
    let child = Traced::start(|| {
        let ring = LineRing::create_named(&name, small()).unwrap();
        mark();
        drop(ring);
        mark();
        0
    });
    loop {
        assert_eq!(child.step(), Stop::Step, "it did not unlink");
        // About to unlink?
        // SAFETY: a plain struct, for which zeros are valid; the child stands still and its
        // instruction can be read.
        let (regs, code) = unsafe {
            let mut regs: libc::user_regs_struct = core::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, child.process, 0, &raw mut regs);
            let code = libc::ptrace(libc::PTRACE_PEEKTEXT, child.process, regs.rip, 0);
            (regs, code)
        };
        if code & 0xffff == 0x050f && (regs.rax == 87 || regs.rax == 263) {
            break;
        }
    }
    let removed = LineRing::remove_named(&name).unwrap();
    let ring = removed.then(|| LineRing::create_named(&name, small()).unwrap());
    child.resume();
    let stays = LineRing::open_named(&name).is_ok();
    drop(ring);
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    assert!(
        !removed || stays,
        "gc removed the name: {removed}; the new ring has its name: {stays}"
    );
}

/// A dead mirror's.
#[test]
fn a_kept_error_is_not_erased_while_another_cell_can_be_had() {
    let ring = LineRing::new(small().policy(Policy::OverwriteOldest).mirrors(2)).unwrap();
    let mut child = ring.mirror_labelled("child").unwrap();
    fork(|| {
        std::mem::forget(ring.mirror_labelled("dead").unwrap());
        die()
    })
    .status();
    child.send_panic(&"no good").unwrap();
    let mut other = ring.mirror_labelled("other").unwrap();
    for _ in 0..8 {
        other.write_line(b"over it").unwrap();
    }
    drop(other);
    let items: Vec<_> = drain(&ring).iter().map(|item| format!("{item}")).collect();
    assert!(items.iter().any(|item| item.contains("no good")), "{items:?}");
}

/// The reader, in the middle of it.
#[test]
fn who_stands_still_burying_keeps_one_cell_and_no_other() {
    let _processor = stay_on_processor(0);
    let ring = LineRing::new(small().mirrors(2).policy(Policy::OverwriteOldest)).unwrap();
    fork(|| {
        let mut m = ring.mirror_labelled("dead").unwrap();
        m.write_all(b"begun").unwrap();
        die()
    })
    .status();
    let child = Traced::start(|| {
        let mut reader = ring.reader().unwrap();
        mark();
        while !matches!(reader.recv(), Ok(Some(Item::Ended(_)))) {}
        0
    });
    // The reader's first changes of the dead one's cell.
    let before = bytes_of(&ring);
    let cell = (768 + 12 * 64_usize).next_multiple_of(128) + 256;
    while bytes_of(&ring)[cell..cell + 8] == before[cell..cell + 8] {
        assert_eq!(child.step(), Stop::Step);
    }
    let one = ring.mirror();
    let two = ring.mirror();
    child.kill();
    let three = ring.mirror();
    eprintln!(
        "beside a stopped burier: {:?} {:?}; once it is dead: {:?}",
        one.is_ok(),
        two.as_ref().err(),
        three.is_ok()
    );
    assert!(one.is_ok() && three.is_ok());
}
