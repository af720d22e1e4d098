//! The system log's native protocol, as a socket of the test's own receives it.

use std::collections::HashMap;
use std::io::{self, IoSliceMut, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linering::{
    Ended, Ends, Item, Journald, Kind, Level, Line, LineRing, LogDrain, LossCause, Lost, Meta,
    Options, Policy, ReadError, Sink, Stream,
};
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use super::{LIMIT, ring};

/// What journald is here.
struct Journal {
    folder: TempDir,
    socket: UnixDatagram,
}

type Fields = HashMap<String, Vec<u8>>;

impl Journal {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("socket")).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        Self { folder, socket }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The next message's bytes, and whether they came in a file.
    fn receive(&self) -> (Vec<u8>, bool) {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = received.expect("a message").bytes;
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files: Vec<_> = files.flatten().collect();
        bytes.truncate(length);
        match <[_; 1]>::try_from(files) {
            Ok([file]) => {
                assert_eq!(length, 0);
                let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
                assert!(fcntl_get_seals(&file).expect("seals").contains(all));
                let mut file = std::fs::File::from(file);
                file.seek(SeekFrom::Start(0)).expect("a file");
                file.read_to_end(&mut bytes).expect("its bytes");
                (bytes, true)
            }
            Err(none) => {
                assert!(none.is_empty());
                (bytes, false)
            }
        }
    }

    fn next(&self) -> Fields {
        fields(&self.receive().0)
    }
}

/// As the protocol is documented: `NAME=value`, or the name, its length in 8 bytes, and the value.
fn fields(mut message: &[u8]) -> Fields {
    let mut found = Fields::new();
    while !message.is_empty() {
        let end = message.iter().position(|byte| *byte == b'\n').expect("a line end");
        let (line, rest) = (&message[..end], &message[end + 1..]);
        let (name, value, rest) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], rest),
            None => {
                let (length, rest) = rest.split_at(8);
                let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
                assert_eq!(rest[length], b'\n');
                (line, &rest[..length], &rest[length + 1..])
            }
        };
        let name = String::from_utf8(name.to_vec()).expect("ASCII");
        assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
        assert!(found.insert(name, value.to_vec()).is_none(), "each once");
        message = rest;
    }
    found
}

fn text<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.get(name).map(|value| std::str::from_utf8(value).expect("UTF-8"))
}

fn sink(path: &Path) -> Journald {
    let sink = Journald::at(path).expect("a socket").identifier("service");
    sink.field("UNIT_OF_TEST", "a\nb").expect("a name")
}

#[test]
fn a_record_has_its_fields_whatever_bytes_are_in_it() {
    let journal = Journal::new();
    let ring = ring(Policy::Block, 64);
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink(&journal.path()));
    let drain = drain.ends(Ends::All).spawn().expect("a thread");
    let mut mirror = ring.mirror_labelled("api").expect("a mirror");
    let meta = Meta::new().level(Level::Warn).stream(Stream::Stderr).tag(7);
    let bodies = [
        &b"plain"[..],
        b"",
        b"=begins=so=",
        b"two\nlines\n\nPRIORITY=0\nMESSAGE=forged",
        b"\xff\0binary\x1b\r",
        "ümlaut\ttab".as_bytes(),
    ];
    for body in bodies {
        mirror.record(meta, body).expect("room");
    }
    mirror.write_line(b"a line").expect("room");
    drop(mirror);
    let mut lines = Vec::new();
    for body in bodies {
        let found = journal.next();
        assert_eq!(found["MESSAGE"], body);
        for (name, value) in [
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "service"),
            ("LINERING_WORKER", "0"),
            ("LINERING_LABEL", "api"),
            ("LINERING_LEVEL", "warn"),
            ("LINERING_STREAM", "stderr"),
            ("LINERING_TAG", "7"),
            ("UNIT_OF_TEST", "a\nb"),
        ] {
            assert_eq!(text(&found, name), Some(value), "{name}");
        }
        let time = text(&found, "LINERING_TIME").expect("a time");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        let line: u64 = text(&found, "LINERING_LINE").expect("a number").parse().expect("one");
        lines.push(line);
        assert_eq!(found.contains_key("LINERING_KIND"), body.contains(&b'\n'));
        assert!(!found.keys().any(|name| name.ends_with("ED")), "{:?}", found.keys());
    }
    assert!(lines.is_sorted_by(|one, next| one < next), "{lines:?}");
    let found = journal.next();
    assert_eq!((text(&found, "MESSAGE"), text(&found, "PRIORITY")), (Some("a line"), Some("6")));
    assert!(!found.contains_key("LINERING_LEVEL"));
    let ended = journal.next();
    assert_eq!(text(&ended, "LINERING_EVENT"), Some("ended"));
    assert_eq!(text(&ended, "MESSAGE"), Some("-- worker api ended --"));
    assert_eq!(text(&ended, "LINERING_PROCESS"), Some(&*std::process::id().to_string()));
    assert_eq!((text(&ended, "PRIORITY"), text(&ended, "LINERING_END")), (Some("6"), Some("eof")));
    assert_eq!(drain.stop(LIMIT).expect("ours").failures, 0);
}

#[test]
fn losses_failures_and_flags_are_fields_too() {
    let journal = Journal::new();
    let mut sink = sink(&journal.path());
    sink.item(&Lost::new(3, 7, LossCause::Dropped).into()).expect("room");
    let lost = journal.next();
    for (name, value) in [
        ("PRIORITY", "4"),
        ("LINERING_EVENT", "lost"),
        ("LINERING_WORKER", "3"),
        ("LINERING_LINES", "7"),
        ("MESSAGE", "-- worker 3: 7 lines lost, ring full --"),
    ] {
        assert_eq!(text(&lost, name), Some(value), "{name}");
    }
    let mut ended = Ended::new(3, linering::End::Died);
    ended.exit = Some(std::os::unix::process::ExitStatusExt::from_raw(libc::SIGKILL));
    sink.item(&ended.into()).expect("room");
    let ended = journal.next();
    assert_eq!((text(&ended, "PRIORITY"), text(&ended, "LINERING_END")), (Some("3"), Some("died")));
    assert_eq!(text(&ended, "LINERING_EXIT"), Some("signal: 9 (SIGKILL)"));
    sink.item(&Item::Damaged { position: 9 }).expect("room");
    let damaged = journal.next();
    assert_eq!(text(&damaged, "LINERING_EVENT"), Some("damaged"));
    assert_eq!(text(&damaged, "LINERING_LINE"), Some("9"));
    let mut line = Line::new("cut");
    (line.truncated, line.unfinished, line.missing, line.level) = (true, true, 12, Level::Trace);
    sink.item(&line.into()).expect("room");
    let cut = journal.next();
    assert_eq!((text(&cut, "PRIORITY"), text(&cut, "LINERING_LEVEL")), (Some("7"), Some("trace")));
    let flags = ["LINERING_TRUNCATED", "LINERING_UNFINISHED"].map(|name| text(&cut, name));
    assert_eq!((flags, text(&cut, "LINERING_MISSING")), ([Some("1"); 2], Some("12")));
}

#[test]
fn a_message_that_is_too_long_for_a_datagram_goes_as_a_sealed_file() {
    let journal = Journal::new();
    let ring = LineRing::new(Options::new().max_line(8 << 20)).expect("a ring");
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink(&journal.path()));
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
    writer.record(Level::Info, &body).expect("room");
    writer.record(Level::Info, "a short one after it").expect("room");
    let (message, is_file) = journal.receive();
    assert!(is_file);
    assert!(fields(&message)["MESSAGE"] == body, "5 MB, whole");
    let (message, is_file) = journal.receive();
    assert_eq!(
        (text(&fields(&message), "MESSAGE"), is_file),
        (Some("a short one after it"), false)
    );
    assert_eq!(drain.stop(LIMIT).expect("ours").failures, 0);
}

#[test]
fn a_socket_that_is_away_or_full_and_comes_back_gets_each_record_once() {
    let mut journal = Journal::new();
    let path = journal.path();
    let ring = ring(Policy::Block, 64);
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink(&path));
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for round in 0..3_u64 {
        // More than a socket has room for; the ring has it.
        for number in 0..50 {
            writer.record(Level::Info, format!("{round} {number}")).expect("room");
        }
        if round == 1 {
            // Gone, with what was in it and was not read: so that is read before.
            while drain.totals().failures == 0 {
                std::thread::yield_now();
            }
        }
        for number in 0..50 {
            let found = journal.next();
            assert_eq!(text(&found, "MESSAGE"), Some(&*format!("{round} {number}")));
        }
        assert!(drain.flush(LIMIT));
        // Away; the next records find none.
        std::fs::remove_file(&path).expect("ours");
        let before = drain.totals().failures;
        writer.record(Level::Info, "meanwhile").expect("room");
        while drain.totals().failures == before {
            std::thread::yield_now();
        }
        journal.socket = UnixDatagram::bind(&path).expect("a socket");
        journal.socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        assert_eq!(text(&journal.next(), "MESSAGE"), Some("meanwhile"));
    }
    let totals = drain.stop(LIMIT).expect("ours");
    assert_eq!((totals.lines, totals.lost, totals.left), (153, 0, 0));
}

#[test]
fn a_drain_whose_socket_takes_nothing_can_be_stopped_and_says_what_is_left() {
    let journal = Journal::new();
    let ring = ring(Policy::Block, 1024);
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink(&journal.path()));
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for number in 0..1000 {
        writer.record(Level::Info, number.to_string()).expect("room");
    }
    while drain.totals().failures == 0 {
        std::thread::yield_now();
    }
    let totals = drain.stop(Duration::from_secs(1)).expect("ours");
    assert!(totals.left > 0);
    // Another one goes on with them, once that one's last call is over. Those of the batch that
    // was under way come again.
    let reader = loop {
        match ring.reader() {
            Err(ReadError::HasReader { .. }) => std::thread::yield_now(),
            other => break other.expect("ours"),
        }
    };
    let drain = LogDrain::new(reader).to(sink(&journal.path()));
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let mut found = Vec::new();
    while found.last() != Some(&999) {
        found.push(text(&journal.next(), "MESSAGE").expect("a text").parse().expect("a number"));
    }
    drain.stop(LIMIT).expect("ours");
    found.sort();
    found.dedup();
    assert!(found.into_iter().eq(0..1000));
}

#[test]
fn lines_of_one_slot_are_a_message_each_and_none_comes_twice() {
    let journal = Journal::new();
    let mut sink = sink(&journal.path());
    let numbers: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    let text_of_all = numbers.join("\n");
    let mut line = Line::new(&text_of_all);
    line.kind = Kind::Packed;
    let item = Item::Line(line);
    // Full, in the middle.
    let error = sink.item(&item).expect_err("no room for all of it");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains(&*journal.path().to_string_lossy()), "{error}");
    // Again, as a drain does.
    let reads = std::thread::spawn(move || {
        let of = |message: Fields| text(&message, "MESSAGE").expect("a text").to_owned();
        (0..600).map(|_| of(journal.next())).collect::<Vec<_>>()
    });
    while sink.item(&item).is_err() {}
    let found = reads.join().expect("no panic");
    assert_eq!(found, numbers);
}

#[test]
fn a_field_that_journald_would_leave_out_is_refused() {
    for name in ["", "_TRUSTED", "1ST", "lower", "WITH-DASH", "A=B", "NEW\nLINE", &"A".repeat(65)] {
        let error = Journald::new().expect("a socket").field(name, "x").expect_err(name);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("found a field's name "), "{error}");
    }
    assert!(Journald::new().expect("a socket").field(&"A".repeat(64), "x").is_ok());
    let error = Journald::at("/".repeat(200)).expect_err("too long for a socket");
    assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
}
