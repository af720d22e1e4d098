//! A mirror ends once; writes after its end, or after it was told to stop, are refused.

use std::io::{self, Write};
use std::time::Duration;

use linering::{End, WorkerPool, WriteError};

use super::{kinds, small, texts, wait};

#[test]
fn a_second_end_is_ignored() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_eof().expect("room");
    mirror.send_eof().expect("ignored");
    mirror.send_error(&io::Error::other("too late")).expect("ignored");
    mirror.send_panic(&"too late").expect("ignored");
    drop(mirror);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error(&io::Error::other("in time")).expect("room");
    mirror.send_error(&io::Error::other("too late")).expect("ignored");
    mirror.send_eof().expect("ignored");
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error)]);
    let texts = texts(&buffer);
    assert!(matches!(&texts[..], [error] if error.starts_with("error: in time")), "{texts:?}");
    let counts = buffer.ring().counts();
    assert_eq!((counts.live, counts.eofs, counts.errors, counts.deaths), (0, 1, 1, 0));
}

#[test]
fn whatever_is_written_after_the_end_is_refused() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"line\n").expect("open");
    mirror.send_eof().expect("room");
    assert!(matches!(mirror.write_line(b"late"), Err(WriteError::Ended)));
    assert!(matches!(mirror.flush_partial(), Err(WriteError::Ended)));
    assert!(matches!(mirror.send_warning("late"), Err(WriteError::Ended)));
    assert!(matches!(mirror.group(), Err(WriteError::Ended)));
    let error = mirror.write(b"late\n").expect_err("it has ended");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(error.to_string(), "the mirror has ended");
    mirror.flush().expect("nothing to do");
    wait(&buffer);
    assert_eq!(texts(&buffer), ["line"]);
}

#[test]
fn again_makes_a_fresh_mirror_of_the_same_seat() {
    let buffer = small(10);
    let seat = buffer.ring().seat_labelled("seat").expect("a seat");
    let mut first = seat.open().expect("a mirror");
    first.write_all(b"first").expect("open");
    first.send_error(&io::Error::other("failed")).expect("room");
    let mut second = first.reopen().expect("a mirror");
    assert_eq!(second.writer_id(), first.writer_id());
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "it counts");
    second.write_line(b"second").expect("open");
    assert!(matches!(first.write_line(b"late"), Err(WriteError::Ended)));
    drop((first, second));
    let ends = buffer.wait().expect("ours");
    assert!(
        ends.iter().all(|end| end.writer_id == seat.writer_id() && end.label == "seat"),
        "{ends:?}"
    );
    assert_eq!(ends.iter().map(|end| end.end).collect::<Vec<_>>(), [End::Error, End::Eof]);
    let texts = texts(&buffer);
    assert_eq!((&*texts[0], &*texts[2]), ("first", "second"), "{texts:?}");
}

#[test]
fn a_mirror_that_is_told_to_stop_can_still_end() {
    let buffer = small(10);
    let mut mirrors: Vec<_> = (0..3).map(|_| buffer.mirror().expect("a mirror")).collect();
    mirrors.iter_mut().for_each(|mirror| mirror.write_all(b"whole\nunfinished").expect("open"));
    buffer.stop_all_mirrors();
    for mirror in &mut mirrors {
        assert!(matches!(mirror.write_line(b"late"), Err(WriteError::Stopped)));
        assert!(matches!(mirror.send_warning("late"), Err(WriteError::Stopped)));
        assert!(matches!(mirror.flush_partial(), Err(WriteError::Stopped)));
        let error = mirror.write(b" late\n").expect_err("it was told to stop");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error.to_string(), "the reader told every mirror to stop");
    }
    mirrors[0].send_eof().expect("room");
    mirrors[1].send_error(&io::Error::other("stopped")).expect("room");
    drop(mirrors);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error), (2, End::Eof)]);
    let texts = texts(&buffer);
    let error =
        texts.iter().position(|text| text.starts_with("error: stopped")).expect("the error");
    let rest: Vec<_> =
        texts.iter().enumerate().filter(|(i, _)| *i != error).map(|(_, text)| text).collect();
    assert_eq!(rest, ["whole", "whole", "whole", "unfinished", "unfinished", "unfinished"]);
}

#[test]
fn workers_that_write_without_end_are_stopped() {
    let buffer = small(10);
    let mut pool = WorkerPool::fork(&buffer, 3, |worker, mirror| {
        loop {
            match mirror.write_line(format!("worker {worker}").as_bytes()) {
                Ok(()) => {}
                Err(WriteError::Stopped) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    })
    .expect("a pool");
    for _ in 0..100 {
        buffer.receive().expect("ours").expect("they write");
    }
    buffer.stop_all_mirrors();
    let ends = pool.wait(&buffer).expect("ours");
    assert_eq!(kinds(ends), [(0, End::Eof), (1, End::Eof), (2, End::Eof)]);
    assert!(
        pool.workers().iter().all(|worker| worker.status.is_some_and(|status| status.success()))
    );
    assert_eq!(texts(&buffer).len(), 10);
}

#[test]
fn wait_timeout_returns_in_time_though_workers_write_without_end() {
    let buffer = small(10);
    let mut pool = WorkerPool::fork(&buffer, 3, |_, mirror| {
        // An end after all, so that a wait that never ends fails this test and does not hang it.
        for i in 0..10_000_000 {
            match mirror.write_line(format!("{i}").as_bytes()) {
                Ok(()) => {}
                Err(WriteError::Stopped) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
    .expect("a pool");
    for _ in 0..10 {
        buffer.receive().expect("ours").expect("they write");
        assert_eq!(
            buffer.wait_timeout(Duration::from_millis(1)).expect("ours"),
            None,
            "they write on"
        );
        assert!(buffer.len().expect("ours") <= 10);
    }
    buffer.stop_all_mirrors();
    pool.wait(&buffer).expect("ours");
}
