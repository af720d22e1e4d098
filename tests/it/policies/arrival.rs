//! What a writer says arrives as it was said: bytes, streams, labels, positions, times, groups.

use std::io::Write;
use std::thread;
use std::time::{Duration, SystemTime};

use linering::{Item, Kind, Level, Line, Policy, Stream, Timestamps};

use super::{PAYLOAD, line, mirror, now, numbered, reader, ring, small, texts, write};
use crate::common::below_overflow;

#[test]
fn a_lines_stream_level_tag_and_label_arrive() {
    let ring = ring(small(32, Policy::Block).max_line(200));
    let mut styled =
        ring.seat_labelled("twenty-four bytes, label").expect("a seat").open().expect("a mirror");
    let mut plain = mirror(&ring);
    styled.set_stream(Stream::Stderr).set_level(Level::Warn).set_tag(u16::MAX);
    write(&mut styled, "short");
    write(&mut styled, &"long ".repeat(20));
    write(&mut plain, "plain");
    styled.write_all(b"begun in one style").expect("room");
    styled.set_stream(Stream::Log).set_level(Level::Trace).set_tag(7);
    styled.write_all(b", ended in another\nnext\n").expect("room");
    styled.send_warning("careful").expect("room");
    let items = now(&mut reader(&ring));
    let style = |line: &Line<'_>| {
        (line.writer_id, line.label.to_string(), line.stream, line.level, line.tag, line.kind)
    };
    let found: Vec<_> = items.iter().map(|item| style(line(item))).collect();
    let of_styled = |stream, level, tag, kind| {
        (0, "twenty-four bytes, label".to_owned(), stream, level, tag, kind)
    };
    let first = of_styled(Stream::Stderr, Level::Warn, u16::MAX, Kind::Line);
    let expected = [
        first.clone(),
        first.clone(),
        (1, String::new(), Stream::Stdout, Level::None, 0, Kind::Line),
        first,
        of_styled(Stream::Log, Level::Trace, 7, Kind::Line),
        of_styled(Stream::Log, Level::Warn, 7, Kind::Warning),
    ];
    assert_eq!(found, expected);
    for (level, tag) in
        [Level::None, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error]
            .into_iter()
            .zip(1..)
    {
        plain.set_level(level).set_tag(tag);
        write(&mut plain, "leveled");
        let item = &now(&mut reader(&ring))[0];
        assert_eq!((line(item).level, line(item).tag), (level, tag));
    }
}

#[test]
fn a_ring_without_a_splitter_delivers_every_byte_as_it_was_written() {
    let ring = ring(small(32, Policy::Block).max_line(1000));
    let mut mirror = mirror(&ring);
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    mirror.write_all(b"dos\r\nrewrites\rnothing\r").expect("room");
    mirror.write_all(b"\n\r\n\n\xe2\x80\xa8\x0b\n").expect("room");
    mirror.write_all(&[&all[..], b"\n"].concat()).expect("room");
    mirror.write_line(b"a line feed\nwithin").expect("room");
    mirror.write_all(b"begun ").expect("room");
    mirror.write_line(b"and ended").expect("room");
    mirror.write_all(b"last\r").expect("room");
    drop(mirror);
    let items = now(&mut reader(&ring));
    let found: Vec<_> =
        items.iter().filter_map(Item::line).map(|line| line.bytes.to_vec()).collect();
    let expected: [&[u8]; 9] = [
        b"dos\r",
        b"rewrites\rnothing\r",
        b"\r",
        b"",
        b"\xe2\x80\xa8\x0b",
        &all,
        b"a line feed\nwithin",
        b"begun and ended",
        b"last\r",
    ];
    assert_eq!(found, expected);
    let flags = items.iter().filter_map(Item::line).map(|line| line.unfinished);
    assert_eq!(
        flags.collect::<Vec<_>>(),
        [false, false, false, false, false, false, false, false, true]
    );
}

#[test]
fn lines_of_every_length_arrive_with_every_byte() {
    for line_bytes in [64, 128, 192, 4096] {
        let ring = ring(small(128, Policy::Block).line_bytes(line_bytes).max_line(4 * line_bytes));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        for length in (0..3 * line_bytes).step_by(if line_bytes > 1000 { 61 } else { 1 }) {
            let text: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            mirror.write_line(&text).expect("room");
            let items = now(&mut reader);
            assert_eq!(items.len(), 1);
            assert_eq!(line(&items[0]).bytes, text, "{length} bytes in slots of {line_bytes}");
        }
    }
}

#[test]
fn positions_grow_by_a_lines_parts_through_the_overflow_of_the_laps() {
    for lines in [2, 16, 1024] {
        let start = below_overflow(lines);
        let ring = ring(small(lines, Policy::Block).max_line(1000));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        let mut next = start;
        for i in 0..4 * lines {
            let parts = 1 + i % 2;
            mirror.write_line(&vec![b'x'; parts * PAYLOAD]).expect("room");
            next += parts as u64;
            let items = now(&mut reader);
            assert_eq!(line(&items[0]).position, next - 1, "the position of its last part");
            assert_eq!(items.len(), 1);
        }
        assert!(next > (1 << 39) << lines.trailing_zeros(), "the laps have overflown");
    }
}

#[test]
fn a_line_that_lost_its_last_part_is_handed_out_late_with_the_position_that_it_had() {
    let ring = ring(small(8, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    // Two parts are in the ring, where the reader leaves them until their line is accepted; the
    // third will be dropped.
    a.write_all(&numbered(0, 0, 2 * PAYLOAD + 1)).expect("room");
    assert_eq!(now(&mut reader), []);
    (0..6).for_each(|i| write(&mut b, &i.to_string()));
    a.write_all(b"\n").expect("dropping is no error");
    let mut items = now(&mut reader);
    write(&mut a, "after");
    items.extend(now(&mut reader));
    assert_eq!(items.len(), 8, "{items:?}");
    assert!(items.iter().map(line).any(|line| line.truncated));
    let position = |item: &Item<'static>| line(item).position;
    let (cut, whole): (Vec<_>, Vec<_>) = items.iter().partition(|item| line(item).truncated);
    assert_eq!(cut.into_iter().map(position).collect::<Vec<_>>(), [below_overflow(8) + 1]);
    assert!(whole.iter().is_sorted_by(|a, b| position(a) < position(b)), "{whole:?}");
}

#[test]
fn positions_may_overflow_too() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(8, policy).start_position(u64::MAX - 20));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        for i in 0..100_u64 {
            write(&mut mirror, &i.to_string());
            let items = now(&mut reader);
            assert_eq!(texts(&items), [i.to_string()], "{policy:?}");
            assert_eq!(line(&items[0]).position, (u64::MAX - 20).wrapping_add(i), "{policy:?}");
        }
    }
}

#[test]
fn a_time_stamp_is_of_the_lines_first_byte() {
    // The coarse clock may be a few milliseconds behind.
    let slack = Duration::from_millis(50);
    let ring = ring(small(8, Policy::Block).timestamps(Timestamps::Coarse));
    let mut mirror = mirror(&ring);
    let before = SystemTime::now();
    mirror.write_all(b"begun ").expect("room");
    let between = SystemTime::now();
    while between.elapsed().expect("the clock does not go back") < 2 * slack {
        thread::yield_now();
    }
    mirror.write_all(b"and ended\nnext\n").expect("room");
    let after = SystemTime::now();
    let items = now(&mut reader(&ring));
    let times: Vec<_> = items.iter().map(|item| line(item).time.expect("stamps are on")).collect();
    assert!(
        before - slack <= times[0] && times[0] <= between,
        "{before:?} {:?} {between:?}",
        times[0]
    );
    assert!(
        between + slack <= times[1] && times[1] <= after,
        "{between:?} {:?} {after:?}",
        times[1]
    );
}

#[test]
fn without_time_stamps_there_is_no_time() {
    let ring = ring(small(8, Policy::Block).timestamps(Timestamps::Off).max_line(100));
    let mut mirror = mirror(&ring);
    write(&mut mirror, "short");
    mirror.write_line(&[b'x'; 100]).expect("room");
    assert!(now(&mut reader(&ring)).iter().all(|item| line(item).time.is_none()));
}

#[test]
fn a_group_comes_in_one_piece_with_one_position() {
    let ring = ring(small(64, Policy::Block).max_line(1000));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    a.write_all(b"before").expect("room");
    let mut group = a.group().expect("room");
    for i in 0..20 {
        group.line(format!("line {i} of the group").as_bytes()).expect("room");
        write(&mut b, "other");
    }
    group.end().expect("room");
    write(&mut a, "after");
    let items = now(&mut reader);
    let of_a: Vec<_> = items.iter().map(line).filter(|line| line.writer_id == 0).collect();
    let kinds: Vec<_> =
        of_a.iter().map(|line| (line.kind, line.unfinished, line.truncated)).collect();
    assert_eq!(
        kinds,
        [(Kind::Line, true, false), (Kind::Text, false, false), (Kind::Line, false, false)]
    );
    let expected: String = (0..20).map(|i| format!("line {i} of the group\n")).collect();
    assert_eq!(of_a[1].bytes, expected.as_bytes());
    assert_eq!(items.len(), 23);
    assert!(items.iter().map(line).map(|line| line.position).is_sorted_by(|a, b| a < b));
}

#[test]
fn packed_lines_share_slots_and_no_byte_of_them_is_lost() {
    let text = b"a\nbb\n\nccc\n0123456789012345678901234567890\nlonger than one slot can hold in its 32 bytes\nd\ne\nunfinished";
    // In pieces of any size: what is split there is a line all the same.
    for size in 1..=text.len() {
        let ring = ring(small(64, Policy::Block));
        let mut mirror = mirror(&ring);
        for piece in text.chunks(size) {
            mirror.write_packed(piece).expect("room");
        }
        drop(mirror);
        let items = now(&mut reader(&ring));
        let mut came = Vec::new();
        for line in items.iter().filter_map(Item::line) {
            came.extend_from_slice(&line.bytes);
            let is_group = line.kind == Kind::Packed;
            assert_eq!(
                is_group,
                line.bytes.ends_with(b"\n"),
                "a group's lines have their ends: {line:?}"
            );
            assert!(!is_group || line.bytes.len() <= PAYLOAD, "{line:?}");
            came.extend(if is_group || line.unfinished { None } else { Some(b'\n') });
        }
        assert_eq!(
            String::from_utf8_lossy(&came),
            String::from_utf8_lossy(text),
            "pieces of {size}"
        );
        if size == text.len() {
            let groups: Vec<_> =
                items.iter().filter_map(Item::line).map(|line| line.kind).collect();
            assert_eq!(groups, [Kind::Packed, Kind::Line, Kind::Line, Kind::Packed, Kind::Line]);
        }
    }
}

#[test]
fn packed_lines_are_lines_of_their_own_where_a_return_rewrites() {
    let ring = ring(small(16, Policy::OverwriteOldest).rewrite(true));
    let mut mirror = mirror(&ring);
    mirror.write_packed(b"10%\r100%\nnext\n").expect("it overwrites");
    drop(mirror);
    let items = now(&mut reader(&ring));
    let lines: Vec<_> = items.iter().filter_map(Item::line).map(Line::to_string).collect();
    assert_eq!(lines, ["100%", "next"]);
}

#[test]
fn lines_that_are_written_together_stay_together_and_no_byte_of_them_is_lost() {
    let text = b"a\nbb\n\n0123456789012345678901234567890\nlonger than one slot can hold in its 32 bytes\nd\nbegun";
    for size in 1..=text.len() {
        // Room for all of it in one item, and for less: then it is divided at line ends.
        for longest in [200, 50] {
            let ring = ring(small(64, Policy::Block).max_line(longest));
            let mut mirror = mirror(&ring);
            for piece in text.chunks(size) {
                mirror.write_together(piece).expect("room");
            }
            drop(mirror);
            let items = now(&mut reader(&ring));
            let lines: Vec<_> = items.iter().filter_map(Item::line).collect();
            let came: Vec<_> = lines.iter().flat_map(|line| line.lines()).collect();
            assert_eq!(came, text.split(|byte| *byte == b'\n').collect::<Vec<_>>(), "{size}");
            if size == text.len() {
                let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
                let expected: &[Kind] = match longest {
                    200 => &[Kind::Packed, Kind::Line],
                    _ => &[Kind::Packed, Kind::Packed, Kind::Line],
                };
                assert_eq!(kinds, expected);
            }
        }
    }
}

#[test]
fn lines_that_are_written_together_follow_what_was_begun_and_what_a_return_means() {
    let ring = ring(small(16, Policy::Block).rewrite(true));
    let mut mirror = mirror(&ring);
    for piece in [&b"be"[..], b"gun\na\nb\n", b"10%\r100%\nnext\n"] {
        mirror.write_together(piece).expect("room");
    }
    let items = now(&mut reader(&ring));
    let came: Vec<_> = items.iter().map(|item| line(item).bytes.to_vec()).collect();
    assert_eq!(came, [&b"begun"[..], b"a\nb\n", b"100%", b"next"]);
}
