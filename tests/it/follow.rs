//! What an observer that follows a ring is handed, and its statistics.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use linering::{
    End, Follow, Followed, Item, LineRing, LossCause, Observer, Options, Policy, WakeUp,
    WriterState,
};

use crate::common::{Gate, fork, random, ring, small, wait_for_the_end};

fn observer(ring: &LineRing) -> Observer {
    Observer::attach(ring.descriptor().expect("open")).expect("a ring")
}

/// What has come: items as they are shown, and `+n` for what has passed by.
fn more(follow: &mut Follow) -> Vec<String> {
    let items = follow.next_items().expect("the file stays whole");
    let shown = |item: &Followed| match item {
        Followed::Item(item) => item.to_string(),
        Followed::PassedBy(count) => format!("+{count}"),
        _ => panic!("neither"),
    };
    items.iter().map(shown).collect()
}

#[test]
fn what_is_there_comes_first_and_then_what_is_written_taken_or_not() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(8, policy));
        let mut mirror = ring.mirror_labelled("a").expect("a mirror");
        let mut reader = ring.reader().expect("no other");
        mirror.write_line(b"taken").expect("room");
        assert!(reader.recv().expect("ours").is_some());
        reader.commit().expect("ours");
        mirror.write_all(b"there\nunfini").expect("room");
        let observer = observer(&ring);
        let mut follow = observer.follow();
        assert_eq!(follow.position(), None);
        assert_eq!(more(&mut follow), ["taken", "there"]);
        assert_eq!(follow.position(), Some(ring.position()));
        assert_eq!(more(&mut follow), [""; 0]);
        // Laps of lines, each taken at once.
        for number in 0..50 {
            mirror.write_all(format!("shed {number}\nunfini").as_bytes()).expect("room");
            while reader.try_recv().expect("ours").is_some() {}
            let line = format!("unfinished {number}");
            assert_eq!(more(&mut follow), [line], "{policy:?}");
        }
        // What is not finished is one line more; an end comes once, in its place.
        drop(mirror);
        let seen = more(&mut follow);
        assert_eq!(seen, ["unfini", "-- worker a ended --"]);
        assert_eq!(more(&mut follow), [""; 0]);
        while reader.try_recv().expect("ours").is_some() {}
        assert_eq!(more(&mut follow), [""; 0]);
    }
}

#[test]
fn what_passes_by_is_counted_in_its_place_and_nothing_is_lost_twice() {
    let ring = ring(small(8, Policy::OverwriteOldest));
    let mut mirrors = ["a", "b"].map(|label| ring.mirror_labelled(label).expect("a mirror"));
    let observer = observer(&ring);
    let mut follow = observer.follow();
    let mut written = 0;
    let mut write = |lines: usize| {
        for _ in 0..lines {
            mirrors[written % 2].write_line(format!("{written}").as_bytes()).expect("a mirror");
            written += 1;
        }
    };
    write(2);
    assert_eq!(more(&mut follow), ["0", "1"]);
    write(30);
    let expected: Vec<_> = (24..32).map(|number| number.to_string()).collect();
    assert_eq!(more(&mut follow), [vec!["+22".to_owned()], expected].concat());
    write(3);
    assert_eq!(more(&mut follow), ["32", "33", "34"]);
    // One that begins late has missed nothing that it could know of.
    let mut late = observer.follow();
    let seen = more(&mut late);
    assert_eq!(seen.last().map(String::as_str), Some("34"));
    assert!(seen.iter().all(|line| !line.starts_with('+')), "{seen:?}");
}

#[test]
fn one_that_need_not_see_all_goes_on_with_the_last_lines() {
    let ring = ring(small(16, Policy::OverwriteOldest));
    let mut mirror = ring.mirror().expect("a mirror");
    let mut write = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| mirror.write_line(number.to_string().as_bytes()).expect("room"));
    };
    let observer = observer(&ring);
    write(0..5);
    let mut follow = observer.follow();
    follow.skip_to_last(2);
    assert_eq!(more(&mut follow), ["3", "4"], "what stood there before it began is no news");
    write(5..10);
    follow.skip_to_last(2);
    follow.skip_to_last(1);
    assert_eq!(more(&mut follow), ["+4", "9"]);
    write(10..12);
    follow.skip_to_last(5);
    assert_eq!(more(&mut follow), ["10", "11"], "all of it is new");
    write(12..112);
    follow.skip_to_last(u64::MAX);
    let expected = (96..112).map(|number| number.to_string());
    assert_eq!(
        more(&mut follow),
        ["+84".to_owned()].into_iter().chain(expected).collect::<Vec<_>>()
    );
    follow.skip_to_last(0);
    assert_eq!(more(&mut follow), [""; 0]);
    write(112..114);
    follow.skip_to_last(0);
    assert_eq!(more(&mut follow), ["+2"]);
    assert_eq!(follow.position(), Some(ring.position()));
}

#[test]
fn what_a_writer_dropped_is_told_before_its_next_line() {
    let ring = ring(small(8, Policy::DropNewest));
    let mut mirror = ring.mirror_labelled("a").expect("a mirror");
    let mut reader = ring.reader().expect("no other");
    let observer = observer(&ring);
    let mut follow = observer.follow();
    for number in 0..11 {
        mirror.write_line(number.to_string().as_bytes()).expect("a reader");
    }
    assert_eq!(more(&mut follow), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    while reader.try_recv().expect("ours").is_some() {}
    mirror.write_line(b"after").expect("room");
    let items = follow.next_items().expect("whole");
    let [Followed::Item(Item::Lost(lost)), Followed::Item(Item::Line(line))] = &items[..] else {
        panic!("{items:?}");
    };
    assert_eq!((lost.lines, lost.cause, &*lost.label), (3, LossCause::Dropped, "a"));
    assert_eq!(&*line.bytes, b"after");
}

#[test]
fn a_long_line_comes_whole_though_its_parts_come_one_by_one() {
    let ring = ring(small(16, Policy::Block).max_line(1000));
    let mut mirror = ring.mirror().expect("a mirror");
    let observer = observer(&ring);
    let mut follow = observer.follow();
    let long: Vec<u8> = (0..300).map(|number| b'a' + (number % 26) as u8).collect();
    for part in long.chunks(40) {
        mirror.write_all(part).expect("room");
        assert_eq!(more(&mut follow), [""; 0]);
    }
    mirror.write_all(b"\n").expect("room");
    assert_eq!(more(&mut follow), [String::from_utf8(long).expect("letters")]);
}

/// A line that shows where it was torn.
fn content(writer: usize, number: u64) -> String {
    let end = char::from(b'a' + (number % 26) as u8).to_string().repeat(number as usize % 40);
    format!("{writer}.{number};{end}")
}

#[test]
fn one_that_is_overrun_a_hundred_thousand_times_sees_whole_lines_in_order() {
    // Each line takes one slot.
    let ring = ring(small(8, Policy::OverwriteOldest).line_bytes(128));
    let over = AtomicBool::new(false);
    let observer = observer(&ring);
    let mut follow = observer.follow();
    // What is overwritten from now on has passed by, and is not lost.
    assert_eq!(more(&mut follow), [""; 0]);
    thread::scope(|scope| {
        for writer in 0..2 {
            let mut mirror = ring.mirror().expect("a mirror");
            let over = &over;
            scope.spawn(move || {
                for number in 0.. {
                    if over.load(SeqCst) {
                        return;
                    }
                    mirror.write_line(content(writer, number).as_bytes()).expect("a mirror");
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (mut overruns, mut lines) = (0, 0);
            let mut next = [0; 2];
            let mut position = None;
            while overruns < 100_000 || lines < 10_000 {
                for item in follow.next_items().expect("whole") {
                    match item {
                        Followed::PassedBy(count) => {
                            assert!(count > 0);
                            overruns += 1;
                            position = position.map(|position: u64| position.wrapping_add(count));
                        }
                        Followed::Item(Item::Line(line)) => {
                            // Each position is a line's, or counted.
                            if let Some(position) = position {
                                assert_eq!(line.position, position);
                            }
                            position = Some(line.position.wrapping_add(1));
                            let text = line.to_string();
                            let (writer, rest) = text.split_once('.').expect("a writer");
                            let number = rest.split_once(';').expect("a number").0;
                            let number: u64 = number.parse().expect("a number");
                            let writer: usize = writer.parse().expect("a number");
                            assert_eq!(text, content(writer, number));
                            assert!(number >= next[writer], "in its order");
                            next[writer] = number + 1;
                            lines += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }));
        over.store(true, SeqCst);
        result.expect("all as it should be");
    });
}

#[test]
fn statistics_say_who_writes_and_how_far() {
    let options = small(8, Policy::DropNewest).seats(8);
    let ring = ring(options);
    let found = || observer(&ring).statistics().expect("whole");
    assert_eq!((found().writers, found().unread(), found().has_reader), (vec![], 0, false));
    assert_eq!((found().lines, found().policy, found().is_used), (8, Policy::DropNewest, true));

    let seat = ring.seat_labelled("seat").expect("a seat");
    let mut open = ring.mirror_labelled("open").expect("a mirror");
    open.write_all(b"1\n2\n3\nunfi").expect("room");
    let gate = Gate::new();
    let child = fork(|| {
        let mut mirror = ring.mirror_labelled("gone").expect("a mirror");
        mirror.write_line(b"4").expect("room");
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    let mut full = ring.mirror_labelled("full").expect("a mirror");
    for _ in 0..6 {
        full.write_line(b"five").expect("a mirror");
    }
    let eof = ring.mirror_labelled("eof").expect("a mirror");
    drop(eof);
    let states = || -> Vec<_> {
        let writers = found().writers.into_iter();
        writers.map(|it| (it.label, it.state, it.lines, it.dropped, it.unfinished)).collect()
    };
    let expected = |gone| {
        [
            ("seat".to_owned(), WriterState::Waiting, 0, 0, 0),
            ("open".to_owned(), WriterState::Open, 3, 0, 4),
            ("gone".to_owned(), gone, 1, 0, 0),
            ("full".to_owned(), WriterState::Open, 6, 2, 0),
            ("eof".to_owned(), WriterState::Ended(End::Eof), 0, 0, 0),
        ]
    };
    assert_eq!(states(), expected(WriterState::Open));
    child.end();
    assert_eq!(states(), expected(WriterState::Gone));
    assert_eq!((found().unread(), found().is_used), (8, true));
    assert_eq!((found().counts.live, found().counts.seats, found().counts.eofs), (3, 1, 1));

    let mut reader = ring.reader().expect("no other");
    assert!(found().has_reader);
    while found().counts.deaths == 0 || reader.try_recv().expect("ours").is_some() {
        reader.try_recv().expect("ours");
    }
    assert_eq!(found().accepted, found().next);
    ring.stop_all_mirrors();
    assert!(found().stopped);
    drop(seat);
}

#[test]
fn one_that_nothing_uses_any_more_says_so_and_is_read_to_its_last_words() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let gate = Gate::new();
    let child = fork(|| {
        let ring = LineRing::create_file(&path, Options::new()).expect("a ring");
        let mut mirror = ring.mirror_labelled("a").expect("a mirror");
        mirror.write_all(b"line\nlast words").expect("room");
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    let observer = Observer::open_file(&path).expect("a ring");
    let mut follow = observer.follow();
    assert_eq!(more(&mut follow), ["line"]);
    assert!(observer.is_used() && observer.is_used_now());
    child.end();
    assert!(!observer.is_used_now());
    assert_eq!(more(&mut follow), [""; 0]);
    let again = Observer::open_file(&path).expect("a ring");
    let mut follow = again.follow();
    assert_eq!(more(&mut follow), ["line", "last words", "-- worker a is gone, no EOF --"]);
    assert_eq!(more(&mut follow), [""; 0]);
}

#[test]
fn whatever_a_hostile_process_writes_into_a_ring_looking_at_it_ends() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let gate = Gate::new();
    let child = fork(|| {
        let ring = LineRing::create_file(&path, small(8, Policy::Block)).expect("a ring");
        let mut mirror = ring.mirror_labelled("a").expect("a mirror");
        mirror.write_all(b"1\n2\n3\nunfinished").expect("room");
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    let sound = fs::read(&path).expect("readable");
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    let observer = Observer::open_file(&path).expect("a ring");
    let mut next = random();
    let mut seen = 0;
    for _ in 0..500 {
        let mut follow = observer.follow();
        for _ in 0..4 {
            // What never changes was read once.
            let word = 16 + next() as usize % (sound.len() / 8 - 16);
            let value = [next(), 0, u64::MAX, next() % 32][next() as usize % 4];
            file.write_all_at(&value.to_ne_bytes(), word as u64 * 8).expect("room");
            seen += follow.next_items().expect("whole").len();
            observer.statistics().expect("whole");
        }
        file.write_all_at(&sound[128..], 128).expect("room");
    }
    assert!(seen > 1000, "most damage leaves something to be seen: {seen}");
    child.end();
}

/// Whether the ring's reader, or an observer, says that a writer is to wake it.
fn is_sleep_announced(ring: &LineRing) -> bool {
    let file =
        fs::File::open(format!("/proc/self/fd/{}", ring.descriptor().expect("open").as_raw_fd()));
    let mut sleeps = [0];
    file.expect("a ring").read_exact_at(&mut sleeps, 384).expect("the word");
    sleeps[0] & 3 == 1
}

/// Whether this thread of this process sleeps on a word, or on several.
fn sleeps_on_a_word(thread: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).expect("it lives");
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number| [libc::SYS_futex, libc::SYS_futex_waitv].contains(&number))
}

const LIMIT: Duration = Duration::from_secs(30);

/// Two rings, with observers that follow both or one of them: each comes to sleep, and is woken
/// before its limit.
fn assert_woken(rings: &[LineRing; 2], asks: bool) {
    let observers = rings.each_ref().map(observer);
    let mut change = rings.each_ref().map(|ring| Some(ring.mirror_labelled("a").expect("room")));
    for round in 0..20 {
        while !asks && !rings.iter().all(is_sleep_announced) {
            thread::yield_now();
        }
        let mut follows = observers.each_ref().map(Observer::follow);
        for follow in &mut follows {
            // What is there already.
            while !more(follow).is_empty() {}
            assert!(!asks || follow.ask_to_be_woken());
        }
        let followed = [&follows[..], &follows[..1], &follows[1..]];
        thread::scope(|scope| {
            let (say, heard) = mpsc::channel();
            let waiting = followed.map(|follows| {
                let say = say.clone();
                scope.spawn(move || {
                    // SAFETY: a plain system call.
                    say.send(unsafe { libc::gettid() }).expect("it listens");
                    let began = Instant::now();
                    Follow::wait_any(follows, LIMIT);
                    began.elapsed()
                })
            });
            for thread in heard.iter().take(3) {
                while !sleeps_on_a_word(thread) {
                    thread::yield_now();
                }
            }
            for open in &mut change {
                // An end is told at once, too.
                let mut mirror = open.take().expect("open");
                if round < 19 {
                    mirror.write_line(b"x").expect("room");
                    *open = Some(mirror);
                }
            }
            for waited in waiting {
                assert!(waited.join().expect("no panic") < LIMIT / 2, "{round}");
            }
        });
    }
}

#[test]
fn a_writer_that_wakes_the_reader_wakes_observers_too() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let rings = [0; 2].map(|_| ring(small(64, Policy::Block).wake_up(wake_up)));
        thread::scope(|scope| {
            let readers = rings.each_ref().map(|ring| ring.reader().expect("no other"));
            for mut reader in readers {
                scope.spawn(move || while reader.recv().expect("ours").is_some() {});
            }
            assert_woken(&rings, false);
        });
    }
}

#[test]
fn an_observer_that_asks_is_woken_where_there_is_no_reader() {
    for policy in [Policy::Block, Policy::OverwriteOldest] {
        let rings = [0; 2].map(|_| ring(small(64, policy)));
        assert_woken(&rings, true);
        // And does not look meanwhile.
        let _mirror = rings[0].mirror().expect("a mirror");
        let mut follow = observer(&rings[0]).follow();
        while !more(&mut follow).is_empty() {}
        assert!(follow.ask_to_be_woken());
        let (began, limit) = (Instant::now(), Duration::from_millis(300));
        follow.wait(limit);
        assert!(began.elapsed() >= limit);
    }
}

#[test]
fn observers_that_ask_and_a_reader_are_each_told_of_each_line() {
    const LINES: usize = 200;
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(64, Policy::Block).wake_up(wake_up));
        let mut mirror = ring.mirror().expect("a mirror");
        let mut reader = ring.reader().expect("no other");
        let [(say, told), (say_observed, observed)] = [mpsc::channel(), mpsc::channel()];
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || {
                while reader.recv().expect("ours").is_some() {
                    say.send(()).expect("it listens");
                }
            });
            scope.spawn(|| {
                let mut follow = observer(&ring).follow();
                assert!(follow.ask_to_be_woken());
                while !is_over.load(SeqCst) {
                    for _ in more(&mut follow).iter().filter(|found| *found == "x") {
                        say_observed.send(()).expect("it listens");
                    }
                    follow.wait(LIMIT);
                }
            });
            for _ in 0..LINES {
                mirror.write_line(b"x").expect("room");
                // One that waits for the next line while the other has not come so far.
                told.recv_timeout(LIMIT / 2).expect("the reader is woken");
                observed.recv_timeout(LIMIT / 2).expect("the observer is woken");
            }
            is_over.store(true, SeqCst);
            drop(mirror);
        });
    }
}

#[test]
fn parts_of_a_line_are_looked_at_now_and_then_too() {
    let ring = ring(small(512, Policy::Block).max_line(10_000));
    let mut mirror = ring.mirror().expect("a mirror");
    let mut follow = observer(&ring).follow();
    assert!(follow.ask_to_be_woken());
    for _ in 0..5 {
        mirror.write_all(&[b'x'; 300]).expect("room");
        assert_eq!(more(&mut follow), [""; 0]);
        let looked = Instant::now();
        mirror.write_all(&[b'x'; 300]).expect("room");
        follow.wait(LIMIT);
        assert!(looked.elapsed() >= Duration::from_millis(9), "a writer wakes it for each part");
    }
}

#[test]
fn of_more_rings_than_one_can_sleep_on_none_is_forgotten() {
    let rings: Vec<_> = (0..130).map(|_| ring(small(8, Policy::Block))).collect();
    let mut follows: Vec<_> = rings.iter().map(|ring| observer(ring).follow()).collect();
    for follow in &mut follows {
        assert!(follow.ask_to_be_woken() && more(follow).is_empty());
    }
    for ring in [&rings[0], &rings[129]] {
        ring.mirror().expect("a mirror").write_line(b"x").expect("room");
        let began = Instant::now();
        while follows.iter_mut().all(|follow| !more(follow).contains(&"x".to_owned())) {
            assert!(began.elapsed() < LIMIT);
            Follow::wait_any(&follows, LIMIT);
        }
    }
}

#[test]
fn what_has_an_observers_descriptor_by_now_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let [path, other] = ["ring", "other"].map(|name| folder.path().join(name));
    fs::write(&other, [0xff; 4096]).expect("a file");
    let ring = LineRing::create_file(&path, small(8, Policy::Block)).expect("a ring");
    let _mirror = ring.mirror().expect("a mirror");
    fork(|| {
        let mut follow = Observer::open_file(&path).expect("a ring").follow();
        // SAFETY: as a daemon does; what had these numbers is not used after it, but by `follow`.
        unsafe { libc::close_range(3, !0, 0) };
        let files: Vec<_> = (0..64)
            .map(|_| OpenOptions::new().read(true).write(true).open(&other).expect("a file"))
            .collect();
        let is_woken = follow.ask_to_be_woken();
        follow.wait(Duration::from_millis(20));
        std::mem::forget((files, follow));
        u8::from(is_woken)
    })
    .succeeds();
    assert_eq!(fs::read(&other).expect("a file"), [0xff; 4096]);
}
