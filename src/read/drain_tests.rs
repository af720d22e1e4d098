//! The reader against words that no writer leaves there, and readers that died.

use std::sync::Arc;

use super::*;
use crate::layout::{Cell, Hold, OrderEntry, Owner, READER_CELL, TicketWord, flag};
use crate::read::place::Inherited;
use crate::registry::cell;
use crate::registry::ticket::Label;
use crate::segment::options::{Options, WakeUp};
use crate::write::writer::{Style, Writer};

fn segment(options: Options) -> Arc<Segment> {
    Arc::new(Segment::anonymous(&options).expect("a segment"))
}

fn writer(segment: &Arc<Segment>) -> Writer {
    let entry = cell::MirrorKind::Ticket { seat: None, serial: None, label: Label::default() };
    Writer::new(segment, entry).expect("a cell")
}

fn write(writer: &mut Writer, lines: core::ops::Range<u32>) {
    lines.for_each(|i| writer.line(format!("{i}").as_bytes(), Style::default()).expect("room"));
}

/// Everything that is there now, as text.
fn items(drain: &mut Drain) -> Vec<String> {
    let mut items = Vec::new();
    while drain.fill() {
        items.extend(drain.next_item().map(|item| item.to_string()));
        drain.accept(1);
    }
    items
}

/// Reads until nothing is open any more: every end is reported, whatever the words say.
fn items_to_the_end(drain: &mut Drain) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..20_000_000 {
        all.extend(items(drain));
        if drain.is_idle() {
            return all;
        }
        drain.reap_dead().expect("the descriptor is open");
    }
    panic!("something is open for ever: {all:?}");
}

#[test]
fn a_reader_that_died_before_it_noted_how_far_it_was_costs_nothing() {
    for policy in [Policy::Block, Policy::OverwriteOldest] {
        for taken in [1, 2, 3, 9] {
            let segment = segment(Options::new().lines(64).policy(policy));
            let mut writer = writer(&segment);
            write(&mut writer, 0..10);
            let mut first = Drain::open(&segment).expect("the first");
            assert!(first.fill());
            first.accept(taken);
            drop(first);
            segment.header().read_position.0.store(0, Relaxed);
            let mut second = Drain::open(&segment).expect("the first has gone");
            let expected: Vec<_> = (taken..10).map(|i| i.to_string()).collect();
            assert_eq!(items(&mut second), expected, "{taken} taken");
        }
    }
}

#[test]
fn a_read_position_ahead_of_what_was_written_does_not_stop_the_reader() {
    for policy in [Policy::Block, Policy::OverwriteOldest] {
        for ahead in [1, 30, 1 << 40] {
            let segment = segment(Options::new().lines(64).policy(policy));
            let mut writer = writer(&segment);
            write(&mut writer, 0..20);
            segment.header().read_position.0.store(20 + ahead, Relaxed);
            let mut drain = Drain::open(&segment).expect("the first");
            write(&mut writer, 20..30);
            let found = items(&mut drain);
            assert!(
                found.ends_with(&["29".to_owned()]) && found.len() >= 10,
                "{ahead} ahead: {found:?}"
            );
        }
    }
}

#[test]
fn a_dead_mirror_is_reported_though_its_words_make_no_sense() {
    type Damage = fn(&Segment, &Cell);
    let cases: [(&str, Damage); 6] = [
        ("an intent of two slots that others have", |_, cell| {
            cell.writer.0.hold.store(Hold::Intent(1, 2).pack(9), Relaxed);
        }),
        ("a slot that does not exist", |_, cell| {
            cell.writer.0.hold.store(Hold::Held(0xff_fff0).pack(9), Relaxed);
        }),
        ("an owner that is none", |_, cell| cell.writer.0.owner.store(77, Relaxed)),
        ("an owner that has left", |_, cell| cell.set_owner(Owner::Free)),
        ("an owner that has left an error", |_, cell| cell.set_owner(Owner::KeepsError)),
        ("another mirror's epoch", |_, cell| cell.reader.0.epoch.store(12_345, Relaxed)),
    ];
    for (case, damage) in cases {
        let segment = segment(Options::new().lines(64));
        let mut drain = Drain::open(&segment).expect("the first");
        let mut writer = writer(&segment);
        write(&mut writer, 0..1);
        damage(&segment, writer.registration().cell(&segment));
        // Its lock is gone, and nothing was said.
        drop(writer);
        let all = items_to_the_end(&mut drain);
        assert!(all.iter().any(|item| item.contains("is gone, no EOF")), "{case}: {all:?}");
    }
}

#[test]
fn a_ticket_of_a_cell_that_does_not_exist_or_is_the_readers_ends() {
    for cell in [900, READER_CELL as u16] {
        let segment = segment(Options::new().mirrors(3));
        let mut drain = Drain::open(&segment).expect("the first");
        let writer = writer(&segment);
        let mirror = writer.registration().mirror;
        let ticket = &segment.tickets()[writer.registration().ticket.expect("listed") as usize];
        let nowhere = crate::layout::MirrorId { cell, ..mirror };
        let its_words = &segment.cells()[READER_CELL];
        its_words.set_owner(Owner::Live);
        its_words.reader.0.epoch.store(mirror.epoch.get(), Relaxed);
        assert!(ticket.change(TicketWord::Live(mirror), TicketWord::Live(nowhere)));
        drop(writer);
        let all = items_to_the_end(&mut drain);
        assert!(all.iter().any(|item| item.contains("is gone, no EOF")), "{cell}: {all:?}");
    }
}

/// The entry says that the ring is full, and the reader, which has taken all, does not come by.
#[test]
fn a_dead_mirror_whose_last_words_find_no_room_in_an_empty_ring_is_reported() {
    let segment = segment(Options::new().lines(64));
    let mut drain = Drain::open(&segment).expect("the first");
    let mut writer = writer(&segment);
    write(&mut writer, 0..1);
    writer.write(b"unfinished", Style::default()).expect("room");
    assert_eq!(items(&mut drain), ["0"]);
    let (ring, ahead) = (segment.ring(), segment.ring().tail().plus(10));
    let lap = ring.shape.lap(ahead);
    let put = |position: Position, entry: OrderEntry| {
        ring.order[ring.shape.index(position)].store(entry.0, Relaxed);
    };
    put(ahead.previous(), OrderEntry::full(lap, 1));
    put(ahead, OrderEntry::full(lap.wrapping_sub(1), 1));
    ring.next_position.store(ahead.0, Relaxed);
    // Its lock is gone, and nothing was said.
    drop(writer);
    let all = items_to_the_end(&mut drain);
    assert!(all.iter().any(|item| item.contains("is gone, no EOF")), "{all:?}");
}

#[test]
fn forged_counts_of_missing_bytes_add_up_to_no_panic() {
    let segment = segment(Options::new().lines(64).line_bytes(64));
    let mut drain = Drain::open(&segment).expect("the first");
    let mut writer = writer(&segment);
    for part in [7, 8] {
        writer.forge(part, flag::TRUNCATED, &[0xff; 8]);
    }
    drop(writer);
    items_to_the_end(&mut drain);
}

#[test]
fn laps_that_lead_around_in_a_circle_are_damage() {
    // Each entry's lap is later than that of the one before, the first one's also than that of the
    // last.
    for (wake_up, stride) in [(WakeUp::Futex, 1), (WakeUp::Pipe, 1), (WakeUp::Pipe, 2)] {
        let options = Options::new().lines(8).policy(Policy::OverwriteOldest).wake_up(wake_up);
        let segment = segment(options);
        let mut writer = writer(&segment);
        write(&mut writer, 0..8);
        for (word, index) in segment.ring().order.iter().zip(0..) {
            let entry = OrderEntry(word.load(Relaxed));
            word.store(OrderEntry::full((index / stride) << 37, entry.slot()).0, Relaxed);
        }
        let ring = crate::LineRing::of(segment);
        let mut reader = ring.reader().expect("no other");
        let mut items = 0;
        while reader.try_recv().expect("ours").is_some() {
            items += 1;
            assert!(items < 100, "it ends");
        }
        assert!(items > 0, "damage is reported");
    }
}

#[test]
fn parts_of_a_line_without_end_make_no_line_longer_than_the_longest() {
    let segment = segment(Options::new().lines(8).line_bytes(64).max_line(70));
    let mut writer = writer(&segment);
    let mut drain = Drain::open(&segment).expect("the first");
    for part in 0..50 {
        writer.forge(part, if part == 0 { flag::FIRST } else { 0 }, &[b'x'; 32]);
        assert!(!drain.fill());
    }
    writer.forge(50, flag::LAST, &[b'x'; 32]);
    assert!(drain.fill());
    let item = drain.next_item().expect("it is queued");
    let line = item.line().expect("a line");
    assert_eq!((line.bytes.len(), line.missing, line.truncated), (70, 51 * 32 - 70, true));
}

#[test]
fn counts_at_their_ends_stay_there_or_begin_anew() {
    let segment = segment(Options::new().lines(8).policy(Policy::DropNewest));
    let mut writer = writer(&segment);
    let mut drain = Drain::open(&segment).expect("the first");
    write(&mut writer, 0..8);
    segment.cells()[1].writer.0.dropped.store(u64::MAX, Relaxed);
    write(&mut writer, 8..10);
    assert_eq!(segment.cells()[1].writer.0.dropped.load(Relaxed), 1);
    items(&mut drain);
    drain.backlog.writers.get_mut(0).expect("it wrote").progress.lost = u64::MAX;
    write(&mut writer, 10..11);
    assert_eq!(items(&mut drain), ["-- worker 0: 2 lines lost, ring full --", "10"]);
    assert_eq!(drain.backlog.writers.get_mut(0).expect("it wrote").progress.lost, u64::MAX);
}

/// The word at `word` of the slot in which `position` is.
fn word_of(segment: &Segment, position: Position, word: usize) -> &crate::layout::sync::AtomicU64 {
    let ring = segment.ring();
    let slot = OrderEntry(ring.order[ring.shape.index(position)].load(Relaxed)).slot() as usize;
    &ring.slots[slot * ring.shape.slot_words + word]
}

/// The lines that are there, as what is said of them.
fn flags_of_lines(drain: &mut Drain) -> Vec<(String, bool, bool, u64)> {
    let mut lines = Vec::new();
    while drain.fill() {
        let item = drain.next_item().map(Item::into_owned);
        lines.extend(item.iter().filter_map(Item::line).map(|line| {
            (
                String::from_utf8_lossy(&line.bytes).into_owned(),
                line.damaged,
                line.truncated,
                line.missing,
            )
        }));
        drain.accept(1);
    }
    lines
}

#[test]
fn a_damaged_part_that_names_the_next_line_neither_ends_nor_joins_the_one_before() {
    let segment = segment(Options::new().lines(8).line_bytes(64).max_line(100).checksums(true));
    let (mut writer, mut drain) = (writer(&segment), Drain::open(&segment).expect("the first"));
    let text = |byte: u8| [byte; 24];
    writer.forge(0, flag::FIRST, &text(b'a'));
    writer.forge(1, 0, &text(b'b'));
    writer.forge(2, flag::LAST, &text(b'c'));
    // Its line's number becomes the next one.
    let line = word_of(&segment, Position(1), 2);
    line.store(line.load(Relaxed) + (1 << 16), Relaxed);
    let [a, b, c] = [b'a', b'b', b'c'].map(|byte| String::from_utf8(vec![byte; 24]).expect("text"));
    let expected = [(b, true, false, 0), (a + &c, false, true, 24)];
    assert_eq!(flags_of_lines(&mut drain), expected);
}

/// Two parts of a line; then that line made void, and begun anew with `anew`, else other lines;
/// then the rest. The line's newest byte and how many bytes it has.
fn long_line_with_three_positions_inside(
    segment: &Segment,
    writers: &mut [Writer; 2],
    anew: bool,
) -> (char, usize) {
    let ([first, second], style) = (writers, Style::default());
    let payload = segment.ring().shape.payload();
    let begun = |byte: u8| vec![byte; 2 * payload + 1];
    first.append(&begun(b'a'), style).expect("room");
    if anew {
        first.rewrite();
        first.append(&begun(b'b'), style).expect("room");
    } else {
        write(second, 0..3);
    }
    first.finish(style, 0).expect("room");
    (if anew { 'b' } else { 'a' }, 2 * payload + 1)
}

#[test]
fn parts_between_which_positions_are_skipped_make_no_line_of_a_void_one_and_its_successor() {
    for (checksums, rewrite, anew) in
        (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
    {
        // Their positions are damaged, or their lines' numbers, which checksums tell.
        for numbers in [false, true].into_iter().filter(|numbers| checksums || !numbers) {
            let options = Options::new()
                .lines(8)
                .line_bytes(64)
                .max_line(100)
                .checksums(checksums)
                .rewrite(rewrite);
            let segment = segment(options);
            let (mut writers, mut drain) =
                ([writer(&segment), writer(&segment)], Drain::open(&segment).expect("the first"));
            let (byte, length) =
                long_line_with_three_positions_inside(&segment, &mut writers, anew);
            for position in 2..5 {
                let word = word_of(&segment, Position(position), if numbers { 2 } else { 0 });
                word.store(word.load(Relaxed) + (77 << 16), Relaxed);
            }
            let lines = flags_of_lines(&mut drain);
            let sound: Vec<_> = lines.into_iter().filter(|(_, damaged, ..)| !damaged).collect();
            let expected = if anew {
                (byte.to_string(), false, true, length as u64 - 1)
            } else {
                (byte.to_string().repeat(length), false, false, 0)
            };
            assert_eq!(sound, [expected], "{checksums} {rewrite} {anew} {numbers}");
        }
    }
}

/// Right after it began, a reader steps over what the one before it may have taken, one position at
/// a time: here that was overwritten.
#[test]
fn a_reader_that_walks_over_what_it_takes_for_its_predecessors_joins_no_void_parts() {
    for anew in [true, false] {
        let options =
            Options::new().lines(8).line_bytes(64).max_line(100).policy(Policy::OverwriteOldest);
        let segment = segment(options.rewrite(true));
        let mut writers = [writer(&segment), writer(&segment)];
        let mut drain = Drain::open(&segment).expect("the first");
        let payload = segment.ring().shape.payload();
        writers[0].append(&vec![b'a'; 2 * payload + 1], Style::default()).expect("room");
        assert_eq!(items(&mut drain), [""; 0]);
        if anew {
            writers[0].rewrite();
            writers[0].append(&vec![b'b'; 2 * payload + 1], Style::default()).expect("room");
        }
        let written = if anew { 8 } else { 11 };
        write(&mut writers[1], 0..written);
        writers[0].finish(Style::default(), 0).expect("room");
        let all = items(&mut drain);
        let expected = if anew { "b".to_owned() } else { "a".repeat(2 * payload + 1) };
        assert_eq!(all.last(), Some(&expected), "{all:?}");
    }
}

#[test]
fn an_observer_joins_no_parts_between_which_it_did_not_see_some() {
    for anew in [true, false] {
        let ring = crate::LineRing::of(segment(
            Options::new().lines(16).line_bytes(64).max_line(100).rewrite(true),
        ));
        let segment = ring.segment();
        let (mut writers, mut drain) =
            ([writer(segment), writer(segment)], Drain::open(segment).expect("the first"));
        let (byte, length) = long_line_with_three_positions_inside(segment, &mut writers, anew);
        assert_eq!(items(&mut drain).len(), if anew { 1 } else { 4 });
        // As if the slots of lines that were taken had been filled again before the snapshot.
        (2..5).for_each(|position| word_of(segment, Position(position), 0).store(99, Relaxed));
        let observer = crate::Observer::attach(ring.descriptor().expect("open")).expect("a ring");
        let seen = observer.snapshot().expect("it is not cut");
        let lines: Vec<_> = seen.iter().filter_map(Item::line).collect();
        let [line] = lines[..] else { panic!("{seen:?}") };
        let expected = if anew { byte.to_string() } else { byte.to_string().repeat(length) };
        assert_eq!((line.to_string(), line.truncated), (expected, anew), "{seen:?}");
    }
}

#[test]
fn an_observer_counts_the_loss_of_a_line_after_a_void_one_unless_it_was_accepted() {
    for lost in [true, false] {
        let options =
            Options::new().lines(8).line_bytes(64).max_line(100).policy(Policy::DropNewest);
        let ring = crate::LineRing::of(segment(options));
        let segment = ring.segment();
        let (mut writers, mut drain) =
            ([writer(segment), writer(segment)], Drain::open(segment).expect("the first"));
        writers[0].append(&[b'x'; 40], Style::default()).expect("room");
        writers[0].discard_partial();
        write(&mut writers[1], 0..if lost { 6 } else { 5 });
        write(&mut writers[0], 0..1);
        let read = items(&mut drain);
        assert_eq!(read.len(), 6, "{read:?}");
        if !lost {
            // The one that was accepted is not there any more.
            word_of(segment, Position(7), 0).store(99, Relaxed);
        }
        write(&mut writers[0], 1..2);
        let observer = crate::Observer::attach(ring.descriptor().expect("open")).expect("a ring");
        let seen: Vec<_> =
            observer.snapshot().expect("it is not cut").iter().map(Item::to_string).collect();
        let losses = seen.iter().filter(|item| item.contains("lost")).count();
        assert_eq!(losses, usize::from(lost), "{seen:?}");
    }
}

#[test]
fn a_void_line_that_comes_a_second_time_counts_no_loss_of_its_successor() {
    for noted in [true, false] {
        // So large that all of it is decoded in one batch: nothing is taken before the line is.
        let segment = segment(
            Options::new().lines(64).line_bytes(64).max_line(100).policy(Policy::OverwriteOldest),
        );
        let mut writers = [writer(&segment), writer(&segment)];
        writers[0].append(&[b'x'; 40], Style::default()).expect("room");
        writers[0].discard_partial();
        write(&mut writers[0], 0..1);
        // The first reader dies after it had noted what it delivered, and before it took that.
        if noted {
            let mut drain = Drain::open(&segment).expect("the first");
            assert!(drain.fill());
            drain.backlog.queue.note_delivered(1, &segment, &drain.backlog.writers);
        }
        let mut drain = Drain::open(&segment).expect("the first has gone");
        assert!(drain.fill());
        assert_eq!(drain.next_item().map(|item| item.to_string()).as_deref(), Some("0"));
        let mut drain = {
            drop(drain);
            Drain::open(&segment).expect("the others have gone")
        };
        // The parts and the mark come again, and not the line.
        word_of(&segment, Position(2), 0).store(99, Relaxed);
        write(&mut writers[0], 1..2);
        let all = items(&mut drain);
        let losses = all.iter().filter(|item| item.contains("lost")).count();
        assert_eq!(
            (losses, all.last().map(String::as_str)),
            (usize::from(!noted), Some("1")),
            "{all:?}"
        );
    }
}

#[test]
fn a_reader_begins_behind_what_was_accepted_unless_that_cannot_be() {
    let tail = 5_u64;
    let cases = [
        (Policy::Block, 0, 0),
        (Policy::Block, 3, 3),
        (Policy::Block, tail, tail),
        (Policy::Block, tail + 1, tail),
        (Policy::Block, tail.wrapping_sub(8), tail.wrapping_sub(8)),
        (Policy::Block, tail.wrapping_sub(9), tail.wrapping_sub(8)),
        (Policy::OverwriteOldest, 3, 3),
        (Policy::OverwriteOldest, tail + 1, tail),
        (Policy::OverwriteOldest, tail.wrapping_sub(9), tail.wrapping_sub(9)),
    ];
    for (policy, accepted, expected) in cases {
        let segment = segment(Options::new().lines(8).policy(policy));
        write(&mut writer(&segment), 0..5);
        segment.header().read_position.0.store(accepted, Relaxed);
        assert_eq!(start(&segment), Position(expected), "{policy:?}, {accepted} accepted");
    }
}

#[test]
fn a_batch_is_a_quarter_of_a_small_ring_and_no_more_than_a_number_of_a_large_one() {
    for (lines, expected) in [(2, 1), (4, 1), (8, 2), (64, 16), (256, 64), (4096, BATCH)] {
        assert_eq!(batch(&segment(Options::new().lines(lines))), expected, "{lines} lines");
    }
}

#[test]
fn what_comes_before_a_position_is_queued_or_not_decoded_yet() {
    let segment = segment(Options::new().lines(8));
    let mut drain = Drain::open(&segment).expect("the first");
    let comes_before = |drain: &Drain, position| drain.comes_before(Position(position));
    assert!(comes_before(&drain, 1) && !comes_before(&drain, 0));
    assert!(!comes_before(&drain, u64::MAX), "behind");
    write(&mut writer(&segment), 0..1);
    assert!(drain.fill() && comes_before(&drain, 0), "it is queued");
    drain.accept(1);
    assert!(!comes_before(&drain, 1) && comes_before(&drain, 2));
}

#[test]
fn a_reader_that_is_overrun_again_before_it_got_a_line_lands_behind_a_margin() {
    for (again, first) in [(false, 24), (true, 24 + 2)] {
        let segment = segment(Options::new().lines(16).policy(Policy::OverwriteOldest));
        write(&mut writer(&segment), 0..40);
        let mut drain = Drain::open(&segment).expect("the first");
        drain.backlog.inherited = Inherited::new(&segment, Position(0).minus(16));
        drain.overrun = again;
        assert!(drain.fill());
        let positions: Vec<_> = drain
            .items()
            .filter_map(|item| item.to_item().line().map(|line| line.position))
            .collect();
        assert_eq!(positions.first(), Some(&first));
        assert!(!drain.overrun, "it got lines");
    }
}

/// What a reader finds of two lines and an error that were overwritten by a mirror that is live,
/// which may have their cell.
fn read_after_an_overwritten_error(is_cell_reused: bool) -> Vec<Item<'static>> {
    let options = Options::new().lines(4).policy(Policy::OverwriteOldest);
    let mirrors = if is_cell_reused { 1 } else { 2 };
    let ring = crate::LineRing::new(options.mirrors(mirrors)).expect("a ring");
    let mut failing = ring.mirror_labelled("failing").expect("a mirror");
    failing.write_line(b"first").expect("it overwrites");
    failing.write_line(b"second").expect("it overwrites");
    failing.send_panic(&"no good").expect("it overwrites");
    let mut other = ring.mirror_labelled("other").expect("a mirror");
    for _ in 0..8 {
        other.write_line(b"over it").expect("it overwrites");
    }
    let mut reader = ring.reader().expect("no other");
    let mut items = Vec::new();
    while let Some(item) = reader.try_recv().expect("ours") {
        items.push(item.into_owned());
    }
    items
}

#[test]
fn an_error_that_was_kept_comes_after_the_loss_of_the_lines_before_it() {
    let items = read_after_an_overwritten_error(false);
    let texts: Vec<_> = items.iter().map(Item::to_string).collect();
    let of_failing: Vec<_> =
        texts.iter().filter(|text| !text.contains("over it") && !text.contains("other")).collect();
    assert_eq!(of_failing.len(), 3, "{texts:?}");
    assert!(of_failing[0].contains("2 lines lost"), "{texts:?}");
    assert!(of_failing[1].contains("no good"), "{texts:?}");
    let ends = items.iter().filter_map(|item| match item {
        Item::Ended(end) if end.label == "failing" => Some((end.end, end.lines, end.lost)),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [(crate::End::Error, 1, 2)]);
}

#[test]
fn an_error_whose_cell_went_to_another_mirror_is_lost_and_nothing_comes_in_its_place() {
    let items = read_after_an_overwritten_error(true);
    let lines: Vec<_> = items.iter().filter_map(Item::line).collect();
    assert!(lines.iter().all(|line| line.label == "other"), "{items:?}");
    let ends = items.iter().filter_map(|item| match item {
        Item::Ended(end) if end.label == "failing" => Some((end.end, end.lines, end.lost)),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [(crate::End::Error, 0, 3)]);
}

#[test]
fn what_was_accepted_of_writers_that_take_turns_is_noted_for_each_of_them() {
    let segment = segment(Options::new().lines(64));
    let mut writers = [writer(&segment), writer(&segment)];
    for line in 0..3 {
        writers.iter_mut().for_each(|writer| write(writer, line..line + 1));
    }
    let mut drain = Drain::open(&segment).expect("the first");
    assert!(drain.fill());
    assert_eq!(drain.queued(), 6);
    // All of the first one's lines, and two of the second one's.
    drain.accept(5);
    let left = writers.each_ref().map(|writer| {
        let cell = writer.registration().cell(&segment);
        cell.pending().line.get() - cell.reader.0.delivered.load(Relaxed)
    });
    assert_eq!(left, [0, 1]);
}

#[test]
fn room_is_told_at_once_where_writers_wait_for_it() {
    for (policy, is_told) in [(Policy::Block, true), (Policy::DropNewest, false)] {
        let segment = segment(Options::new().lines(8).policy(policy));
        let mut writer = writer(&segment);
        write(&mut writer, 0..8);
        // As a writer leaves it that is about to sleep for room.
        let space = &segment.header().space.0;
        space.store(1, Relaxed);
        let mut drain = Drain::open(&segment).expect("the first");
        assert_eq!(items(&mut drain).len(), 8);
        assert_eq!(space.load(Relaxed) != 1, is_told, "{policy:?}");
    }
}

/// Three lines of three parts and one of one part, of four writers in turns: `a0 b0 c0 d a1 …`.
fn long_lines_in_turns(segment: &Arc<Segment>) -> Vec<String> {
    let payload = segment.ring().shape.payload();
    let mut writers: Vec<_> = (0..4).map(|_| writer(segment)).collect();
    let line = |name: char| name.to_string().repeat(2 * payload + 1);
    for _ in 0..2 {
        for (name, writer) in ('a'..='c').zip(&mut writers) {
            let part = name.to_string().repeat(payload);
            writer.append(part.as_bytes(), Style::default()).expect("room");
            // Out of it, into the ring.
            writer.append(b"", Style::default()).expect("room");
        }
        write(&mut writers[3], 0..1);
    }
    for (name, writer) in ('a'..='c').zip(&mut writers) {
        writer.append(name.to_string().as_bytes(), Style::default()).expect("room");
        writer.finish(Style::default(), 0).expect("room");
    }
    std::mem::forget(writers);
    ["0", "0"].map(String::from).into_iter().chain(['a', 'b', 'c'].map(line)).collect()
}

/// P5 of lines that are longer than a slot: whatever was accepted by the reader that dies, the next
/// one has the rest of the lines, whole.
#[test]
fn a_reader_that_dies_between_the_parts_of_lines_leaves_them_whole() {
    for policy in [Policy::Block, Policy::DropNewest] {
        for accepted in 0..=5 {
            let options = Options::new().lines(64).line_bytes(64).max_line(500).policy(policy);
            let segment = segment(options);
            let expected = long_lines_in_turns(&segment);
            let mut first = Drain::open(&segment).expect("the first");
            for line in &expected[..accepted] {
                assert!(first.fill());
                assert_eq!(&first.next_item().expect("a line").to_string(), line);
                first.accept_first();
            }
            first.fill();
            drop(first);
            let mut second = Drain::open(&segment).expect("the first has gone");
            assert_eq!(items(&mut second), expected[accepted..], "{policy:?}, {accepted}");
            let tail = segment.ring().tail().0;
            let read = segment.header().read_position.0.load(Relaxed);
            assert_eq!(read, tail, "nothing is held once all is accepted");
        }
    }
}

/// What keeps lines elsewhere compares with it how far that has come.
#[test]
fn a_reader_that_dies_behind_parts_alone_leaves_the_position_of_what_its_caller_had() {
    for policy in [Policy::Block, Policy::DropNewest] {
        let options = Options::new().lines(64).line_bytes(64).max_line(500).policy(policy);
        let segment = segment(options);
        let (mut one, mut other) = (writer(&segment), writer(&segment));
        let payload = segment.ring().shape.payload();
        for first in [0, 1] {
            let had = segment.ring().tail();
            // Three parts are published, and the fourth has begun.
            one.write(&vec![b'a'; 4 * payload], Style::default()).expect("room");
            let mut drain = Drain::open(&segment).expect("the one before is gone");
            assert!(!drain.fill(), "no line is complete");
            assert_eq!(drain.position(), segment.ring().tail());
            drop(drain);
            let mut drain = Drain::open(&segment).expect("the one before is gone");
            assert_eq!(drain.position(), had, "{policy:?} {first}: the parts are to come");
            write(&mut other, first..first + 1);
            assert_eq!(items(&mut drain), [first.to_string()]);
            assert_eq!(drain.position(), segment.ring().tail(), "with what came after");
            drop(drain);
            let mut drain = Drain::open(&segment).expect("the one before is gone");
            assert_eq!(drain.position(), segment.ring().tail(), "a line stands behind the parts");
            one.write(b"\n", Style::default()).expect("room");
            assert_eq!(items(&mut drain), ["a".repeat(4 * payload)], "{policy:?} {first}");
            assert_eq!(drain.position(), segment.ring().tail());
        }
    }
}

/// Between any two positions that it takes.
#[test]
fn a_reader_that_dies_while_it_takes_the_parts_of_a_line_leaves_no_half_of_it() {
    // The positions that it had not taken, and the one that it had noted last.
    let at_once = (0..=11).map(|taken| ((taken..11).collect::<Vec<_>>(), 0));
    let all_but_one = [2, 3, 5, 6, 7, 8, 9, 10];
    let singly = [(all_but_one.to_vec(), 5), (vec![3, 9, 10], 9), (vec![9, 10], 9)];
    for (left, read) in at_once.chain(singly) {
        let segment = segment(Options::new().lines(32).line_bytes(64).max_line(1000));
        let expected = long_lines_in_turns(&segment);
        let mut first = Drain::open(&segment).expect("the first");
        for _ in &expected {
            assert!(first.fill());
            first.accept_first();
        }
        drop(first);
        // As it was before it took them, and noted that.
        assert_eq!(segment.ring().tail(), Position(11));
        for position in &left {
            let entry = &segment.ring().order[*position];
            let slot = OrderEntry(entry.load(Relaxed)).slot();
            entry.store(OrderEntry::full(0, slot).0, Relaxed);
        }
        segment.header().read_position.0.store(read, Relaxed);
        let mut second = Drain::open(&segment).expect("the first has gone");
        // Whole lines come a second time, and nothing else.
        let again = items(&mut second);
        assert!(again.iter().all(|line| expected.contains(line)), "{left:?}: {again:?}");
        let entries = segment.ring().order.iter();
        let full = entries.filter(|entry| OrderEntry(entry.load(Relaxed)).is_full());
        assert_eq!(full.count(), 0, "{left:?}, {read}: writers have room");
    }
}

#[test]
fn a_line_that_needs_more_than_half_of_the_ring_does_not_keep_writers_from_it() {
    let segment = segment(Options::new().lines(8).line_bytes(64).max_line(1 << 20));
    let mut drain = Drain::open(&segment).expect("the first");
    let (mut long, mut other) = (writer(&segment), writer(&segment));
    let payload = segment.ring().shape.payload();
    for round in 0..100 {
        long.append(&vec![b'a'; payload], Style::default()).expect("room");
        write(&mut other, round..round + 1);
        assert_eq!(items(&mut drain), [round.to_string()]);
    }
    long.finish(Style::default(), 0).expect("room");
    assert_eq!(items(&mut drain), ["a".repeat(100 * payload)], "to this reader it is whole");
}
