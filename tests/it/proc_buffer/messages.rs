//! Errors, panics, warnings and groups are one message each, whole.

use std::error::Error;
use std::io::Write;

use linering::{End, Kind, LineProcBuffer, Message, WorkerPool, WriteError};

use super::{Failure, groups, kinds, small, small_ring, texts, wait, without_trace};

#[test]
fn an_error_and_its_sources_are_one_message() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"before\nunfinished").expect("open");
    let inner = Failure("inner, in\ntwo lines", None);
    let error = Failure("outer", Some(Box::new(Failure("middle", Some(Box::new(inner))))));
    mirror.send_error(&error).expect("room");
    assert_eq!(wait(&buffer), [(0, End::Error)]);
    let groups = groups(&buffer);
    assert_eq!(groups.len(), 1);
    let (kind, worker, lines) = &groups[0];
    assert_eq!((kind, worker), (&Kind::Error, &0));
    let expected = ["error: outer", "caused by: middle", "caused by: inner, in", "two lines"];
    assert_eq!(without_trace(lines), expected);
    let texts = texts(&buffer);
    assert_eq!(texts[..2], ["before", "unfinished"]);
    assert_eq!(texts[2], lines.join("\n"), "Display gives the lines");
    assert_eq!(texts.len(), 3);
}

#[test]
fn an_error_is_one_message_of_several_lines_though_its_ring_has_tiny_slots() {
    let buffer = small(10);
    let text: &'static str = Box::leak("a long message ".repeat(20).into_boxed_str());
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error(&Failure(text, Some(Box::new(Failure(text, None))))).expect("room");
    wait(&buffer);
    let groups = groups(&buffer);
    let expected = [format!("error: {text}"), format!("caused by: {text}")];
    // The ring's longest line is 256 bytes: what is over it is cut.
    assert!(expected.join("\n").starts_with(&groups[0].2.join("\n")), "{groups:?}");
    let Message::Group(group) = &buffer.read(None).expect("ours")[0] else { panic!("not a group") };
    assert!(group.is_truncated());
}

#[test]
fn a_workers_error_and_panic_come_as_errors_with_their_exit_codes() {
    let buffer = LineProcBuffer::new(100).expect("a buffer");
    let mut pool = WorkerPool::fork(&buffer, 5, |worker, mirror| {
        mirror.write_line(format!("worker {worker}").as_bytes())?;
        match worker {
            1 => Err(Failure("no luck", Some(Box::new(Failure("no coin", None)))).into()),
            2 => panic!("a number: {worker}"),
            3 => panic!("a literal"),
            4 => std::panic::panic_any(7),
            _ => Ok::<(), Box<dyn Error>>(()),
        }
    })
    .expect("a pool");
    let ends = kinds(pool.wait(&buffer).expect("ours"));
    let error = End::Error;
    assert_eq!(ends, [(0, End::Eof), (1, error), (2, error), (3, error), (4, error)]);
    let codes = pool.workers().iter().map(|worker| worker.status.and_then(|status| status.code()));
    assert_eq!(codes.collect::<Vec<_>>(), [Some(0), Some(1), Some(1), Some(1), Some(1)]);
    let mut groups = groups(&buffer);
    groups.sort_by_key(|(_, worker, _)| *worker);
    assert!(groups.iter().all(|(kind, _, _)| *kind == Kind::Error));
    let expected: [&[&str]; 4] = [
        &["error: no luck", "caused by: no coin"],
        &["panic: a number: 2"],
        &["panic: a literal"],
        &["panic: (no message)"],
    ];
    let found: Vec<_> = groups.iter().map(|(_, _, lines)| without_trace(lines)).collect();
    assert_eq!(found, expected);
    assert_eq!(groups[0].2, expected[0], "where it was sent says nothing of an error");
    let mut lines = texts(&buffer);
    lines.retain(|text| text.starts_with("worker "));
    lines.sort();
    assert_eq!(lines, ["worker 0", "worker 1", "worker 2", "worker 3", "worker 4"]);
}

#[test]
fn a_warning_is_one_message_and_no_end() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"unfinished").expect("open");
    mirror.send_warning("careful\nnow").expect("open");
    mirror.send_warning("ends with a line feed\n").expect("open");
    mirror.write_line(b"after").expect("open");
    assert_eq!(texts(&buffer), ["unfinished", "careful\nnow", "ends with a line feed", "after"]);
    let expected = [
        (Kind::Warning, 0, vec!["careful".to_owned(), "now".to_owned()]),
        (Kind::Warning, 0, vec!["ends with a line feed".to_owned()]),
    ];
    assert_eq!(groups(&buffer), expected);
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
}

#[test]
fn a_group_keeps_empty_lines_and_bytes_that_are_no_text() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    let mut group = mirror.group().expect("open");
    for line in [&b"first"[..], b"", b"\0\xff\r", b"two\nlines", b""] {
        group.line(line).expect("open");
    }
    drop(group);
    mirror.group().expect("open").end().expect("open");
    drop(mirror);
    wait(&buffer);
    let messages = buffer.read(None).expect("ours");
    let lines: Vec<Vec<&[u8]>> = messages
        .iter()
        .map(|message| match message {
            Message::Group(group) => group.lines().collect(),
            Message::Line(line) => panic!("not a line: {line}"),
        })
        .collect();
    let empty: Vec<&[u8]> = Vec::new();
    assert_eq!(lines, [vec![&b"first"[..], b"", b"\0\xff\r", b"two", b"lines", b""], empty]);
}

#[test]
fn a_group_is_contiguous_though_others_write() {
    let buffer =
        LineProcBuffer::with_options(2000, small_ring(30_000).max_line(4000)).expect("a buffer");
    let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
        for i in 0..50 {
            mirror.write_line(format!("{worker}.{i} before").as_bytes())?;
            let mut group = mirror.group()?;
            for part in 0..40 {
                group.line(format!("{worker}.{i} {part}").as_bytes())?;
            }
            group.end()?;
        }
        Ok::<(), WriteError>(())
    })
    .expect("a pool");
    pool.wait(&buffer).expect("ours");
    let messages = buffer.read(None).expect("ours");
    for worker in 0..4 {
        let of_worker = messages
            .iter()
            .filter(|message| message.to_string().starts_with(&format!("{worker}.")));
        let expected = (0..50).flat_map(|i| {
            let group: Vec<_> = (0..40).map(|part| format!("{worker}.{i} {part}")).collect();
            [format!("{worker}.{i} before"), group.join("\n")]
        });
        assert!(of_worker.map(Message::to_string).eq(expected), "worker {worker}");
    }
    assert_eq!(messages.len(), 400);
}

#[test]
fn a_new_line_ends_what_was_begun_and_nothing_else() {
    let buffer = small(5);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.finish_line().expect("nothing to end");
    mirror.write_all(b"begun").expect("room");
    mirror.finish_line().expect("room");
    mirror.finish_line().expect("nothing to end");
    mirror.write_all(b"forgotten").expect("room");
    mirror.discard_partial().expect("not ended");
    mirror.send_eof().expect("room");
    wait(&buffer);
    assert_eq!(texts(&buffer), ["begun"]);
    let Message::Line(line) = &buffer.read(None).expect("this process made it")[0] else {
        panic!("a line")
    };
    assert!(!line.unfinished);
}

#[test]
fn an_error_of_a_text_alone_says_that_text_and_no_more() {
    let buffer = small(5);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error_text("Traceback:\nValueError: no\n").expect("room");
    assert_eq!(wait(&buffer), [(0, End::Error)]);
    assert_eq!(texts(&buffer), ["Traceback:\nValueError: no"]);
}
