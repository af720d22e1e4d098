//! The parts of a line that its writer discarded are never joined with those of the line after it.

use std::io::Write;

use linering::{Ended, Item, LineProcMirror, LossCause, Lost, Policy};

use super::{PAYLOAD, line, mirror, now, numbered, reader, ring, small, write};

/// Makes the unfinished line of `mirror` void, and begins it anew with `text`: it has the same
/// number.
fn begin_anew(mirror: &mut LineProcMirror, rewrites: bool, text: &[u8]) {
    if rewrites {
        mirror.write_all(b"\r").expect("open");
    } else {
        mirror.discard_partial().expect("open");
    }
    mirror.write_all(text).expect("open");
}

#[test]
fn an_overrun_reader_never_joins_the_parts_of_a_void_line_and_its_successor() {
    for (rewrites, voids, old, new) in (0..16).flat_map(|bits| {
        (0..4)
            .flat_map(move |old| (1..5).map(move |new| (bits & 1 != 0, 1 + bits / 2 % 3, old, new)))
    }) {
        let ring = ring(small(16, Policy::OverwriteOldest).max_line(8 * PAYLOAD).rewrite(rewrites));
        let mut reader = reader(&ring);
        let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
        // So many parts are published, and one byte is not.
        mirror.write_all(&vec![b'a'; old * PAYLOAD + 1]).expect("room");
        assert_eq!(now(&mut reader), [], "its parts are taken");
        let mut letter = b'a';
        for _ in 0..voids {
            letter += 1;
            begin_anew(&mut mirror, rewrites, &vec![letter; new * PAYLOAD + 1]);
        }
        // All of it but what is not published.
        (0..16).for_each(|i| write(&mut other, &i.to_string()));
        mirror.write_all(b"\n").expect("room");
        drop((mirror, other));
        let items = now(&mut reader);
        let lines: Vec<_> =
            items.iter().filter_map(Item::line).filter(|line| line.writer_id == 0).collect();
        let what = format!("{old} parts, {voids} voids, {new} parts: {items:?}");
        let [line] = lines[..] else { panic!("{what}") };
        assert_eq!(&*line.bytes, [letter], "{what}");
        assert!(
            line.truncated && !line.damaged && line.missing == (new * PAYLOAD) as u64,
            "{what}"
        );
        let is_end = |item: &Item<'_>| {
            matches!(item, Item::Ended(Ended { writer_id: 0, lines: 1, lost: 0, .. }))
        };
        assert!(items.iter().any(is_end), "{what}");
    }
}

#[test]
fn a_long_line_is_whole_though_its_reader_was_overrun_in_it() {
    for voids in [0, 1] {
        let ring = ring(small(16, Policy::OverwriteOldest).max_line(8 * PAYLOAD).rewrite(true));
        let mut reader = reader(&ring);
        let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
        let text = numbered(0, 0, 4 * PAYLOAD);
        // An earlier line that was begun anew says nothing of this one.
        mirror
            .write_all(&[&b"\n".repeat(voids)[..], &[b'x'; 3 * PAYLOAD], b"\rx\n"].concat())
            .expect("room");
        mirror.write_all(&text[..2 * PAYLOAD + 1]).expect("room");
        assert_eq!(now(&mut reader).len(), 1 + voids);
        (0..30).for_each(|i| write(&mut other, &i.to_string()));
        mirror.write_all(&text[2 * PAYLOAD + 1..]).expect("room");
        mirror.write_all(b"\n").expect("room");
        let items = now(&mut reader);
        let line = line(items.last().expect("it came last"));
        assert!(*line.bytes == text && !line.truncated && !line.damaged, "{items:?}");
    }
}

#[test]
fn a_line_after_a_void_one_is_counted_if_it_is_lost() {
    for policy in [Policy::OverwriteOldest, Policy::DropNewest] {
        for takes_parts in [true, false] {
            let ring = ring(small(8, policy).max_line(4 * PAYLOAD));
            let mut reader = reader(&ring);
            let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
            mirror.write_all(&[b'x'; 2 * PAYLOAD + 1]).expect("room");
            if takes_parts {
                assert_eq!(now(&mut reader), [], "its parts are taken");
            }
            mirror.discard_partial().expect("open");
            if policy == Policy::OverwriteOldest {
                // The mark that it is void is taken; its successor is not before it is overwritten.
                assert_eq!(now(&mut reader), []);
                write(&mut mirror, "lost");
                (0..8).for_each(|i| write(&mut other, &i.to_string()));
            } else {
                // The parts are held, and the mark that they are void comes after them.
                (0..5).for_each(|i| write(&mut other, &i.to_string()));
                write(&mut mirror, "lost");
                assert_eq!(now(&mut reader).len(), 5);
            }
            write(&mut mirror, "next");
            drop(mirror);
            let items = now(&mut reader);
            let cause = if policy == Policy::DropNewest {
                LossCause::Dropped
            } else {
                LossCause::Overwritten
            };
            let is_lost = |item: &Item<'_>| matches!(item, Item::Lost(Lost { writer_id: 0, lines: 1, cause: c, .. }) if *c == cause);
            assert!(items.iter().any(is_lost), "{policy:?}: {items:?}");
            let is_end = |item: &Item<'_>| {
                matches!(item, Item::Ended(Ended { writer_id: 0, lines: 1, lost: 1, .. }))
            };
            assert!(items.iter().any(is_end), "{policy:?}: {items:?}");
        }
    }
}
