//! The reader against words that no writer leaves there, and readers that died.

use super::*;
use crate::cell;
use crate::layout::{Cell, Entry, Hold, TicketWord};
use crate::options::{Options, WakeUp};
use crate::ticket::Label;
use crate::writer::{Style, Writer};

fn segment(options: Options) -> Segment {
    Segment::anonymous(&options).expect("a segment")
}

fn writer(segment: &Segment) -> Writer {
    let entry = cell::Entry::Ticket { seat: None, serial: None, label: Label::default() };
    Writer::new(segment, entry).expect("a cell")
}

fn write(segment: &Segment, writer: &mut Writer, lines: core::ops::Range<u32>) {
    lines.for_each(|i| writer.line(segment, format!("{i}").as_bytes(), Style::default()).expect("room"));
}

/// Everything that is there now, as text.
fn items(segment: &Segment, drain: &mut Drain) -> Vec<String> {
    let mut items = Vec::new();
    while drain.fill(segment) {
        items.extend(drain.next_item(segment).map(|item| item.to_string()));
        drain.accept(segment, 1);
    }
    items
}

/// Reads until nothing is open any more: every end is reported, whatever the words say.
fn items_to_the_end(segment: &Segment, drain: &mut Drain) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        all.extend(items(segment, drain));
        if drain.is_over(segment) {
            return all;
        }
        drain.look_for_deaths(segment).expect("the descriptor is open");
    }
}

#[test]
fn a_reader_that_died_before_it_noted_how_far_it_was_costs_nothing() {
    for policy in [Policy::Block, Policy::OverwriteOldest] {
        for taken in [1, 2, 3, 9] {
            let segment = segment(Options::new().lines(64).policy(policy));
            let mut writer = writer(&segment);
            write(&segment, &mut writer, 0..10);
            let mut first = Drain::open(&segment).expect("the first");
            assert!(first.fill(&segment));
            first.accept(&segment, taken);
            drop(first);
            segment.header().read_position.0.store(0, Relaxed);
            let mut second = Drain::open(&segment).expect("the first has gone");
            let expected: Vec<_> = (taken..10).map(|i| i.to_string()).collect();
            assert_eq!(items(&segment, &mut second), expected, "{taken} taken");
        }
    }
}

#[test]
fn a_read_position_ahead_of_what_was_written_does_not_stop_the_reader() {
    for policy in [Policy::Block, Policy::OverwriteOldest] {
        for ahead in [1, 30, 1 << 40] {
            let segment = segment(Options::new().lines(64).policy(policy));
            let mut writer = writer(&segment);
            write(&segment, &mut writer, 0..20);
            segment.header().read_position.0.store(20 + ahead, Relaxed);
            let mut drain = Drain::open(&segment).expect("the first");
            write(&segment, &mut writer, 20..30);
            let found = items(&segment, &mut drain);
            assert!(found.ends_with(&["29".to_owned()]) && found.len() >= 10, "{ahead} ahead: {found:?}");
        }
    }
}

#[test]
fn a_dead_mirror_is_reported_though_its_words_make_no_sense() {
    type Damage = fn(&Segment, &Cell);
    let cases: [(&str, Damage); 5] = [
        ("an intent of two slots that others have", |_, cell| {
            cell.writer.0.hold.store(Hold::Intent(1, 2).pack(9), Relaxed);
        }),
        ("a slot that does not exist", |_, cell| {
            cell.writer.0.hold.store(Hold::Held(0xff_fff0).pack(9), Relaxed);
        }),
        ("an owner that is none", |_, cell| cell.writer.0.owner.store(77, Relaxed)),
        ("an owner that has left", |_, cell| cell.set_owner(Owner::Free)),
        ("another mirror's epoch", |_, cell| cell.reader.0.epoch.store(12_345, Relaxed)),
    ];
    for (case, damage) in cases {
        let segment = segment(Options::new().lines(64));
        let mut drain = Drain::open(&segment).expect("the first");
        let mut writer = writer(&segment);
        write(&segment, &mut writer, 0..1);
        damage(&segment, writer.registration.cell(&segment));
        // Its lock is gone, and nothing was said.
        drop(writer);
        let all = items_to_the_end(&segment, &mut drain);
        assert!(all.iter().any(|item| item.contains("died")), "{case}: {all:?}");
    }
}

#[test]
fn a_ticket_of_a_cell_that_does_not_exist_ends() {
    let segment = segment(Options::new().mirrors(3));
    let mut drain = Drain::open(&segment).expect("the first");
    let writer = writer(&segment);
    let mirror = writer.registration.mirror;
    let ticket = &segment.tickets()[writer.registration.ticket.expect("listed") as usize];
    let nowhere = crate::layout::MirrorId { cell: 900, ..mirror };
    assert!(ticket.change(TicketWord::Live(mirror), TicketWord::Live(nowhere)));
    drop(writer);
    let all = items_to_the_end(&segment, &mut drain);
    assert!(all.iter().any(|item| item.contains("died")), "{all:?}");
}

#[test]
fn forged_counts_of_missing_bytes_add_up_to_no_panic() {
    let segment = segment(Options::new().lines(64).line_bytes(64));
    let mut drain = Drain::open(&segment).expect("the first");
    let mut writer = writer(&segment);
    for part in [7, 8] {
        writer.forge(&segment, part, flag::TRUNCATED, &[0xff; 8]);
    }
    drop(writer);
    items_to_the_end(&segment, &mut drain);
}

#[test]
fn laps_that_lead_around_in_a_circle_are_damage() {
    // Each entry's lap is later than that of the one before, the first one's also than that of the last.
    for (wake_up, stride) in [(WakeUp::Futex, 1), (WakeUp::Pipe, 1), (WakeUp::Pipe, 2)] {
        let options = Options::new().lines(8).policy(Policy::OverwriteOldest).wake_up(wake_up);
        let segment = segment(options);
        let mut writer = writer(&segment);
        write(&segment, &mut writer, 0..8);
        for (word, index) in segment.ring().order.iter().zip(0..) {
            let entry = Entry(word.load(Relaxed));
            word.store(Entry::full((index / stride) << 37, entry.slot()).0, Relaxed);
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
fn parts_that_nobody_ends_make_no_line_longer_than_the_longest() {
    let segment = segment(Options::new().lines(8).line_bytes(64).max_line(70));
    let mut writer = writer(&segment);
    let mut drain = Drain::open(&segment).expect("the first");
    for part in 0..50 {
        writer.forge(&segment, part, if part == 0 { flag::FIRST } else { 0 }, &[b'x'; 32]);
        assert!(!drain.fill(&segment));
    }
    writer.forge(&segment, 50, flag::LAST, &[b'x'; 32]);
    assert!(drain.fill(&segment));
    let item = drain.next_item(&segment).expect("it is queued");
    let line = item.line().expect("a line");
    assert_eq!((line.bytes.len(), line.missing, line.truncated), (70, 51 * 32 - 70, true));
}

#[test]
fn counts_at_their_ends_stay_there_or_begin_anew() {
    let segment = segment(Options::new().lines(8).policy(Policy::DropNewest));
    let mut writer = writer(&segment);
    let mut drain = Drain::open(&segment).expect("the first");
    write(&segment, &mut writer, 0..8);
    segment.cells()[1].writer.0.dropped.store(u64::MAX, Relaxed);
    write(&segment, &mut writer, 8..10);
    assert_eq!(segment.cells()[1].writer.0.dropped.load(Relaxed), 1);
    items(&segment, &mut drain);
    drain.sources.get_mut(0).expect("it wrote").lost = u64::MAX;
    write(&segment, &mut writer, 10..11);
    assert_eq!(items(&segment, &mut drain), ["-- worker 0: 2 lines lost, ring full --", "10"]);
    assert_eq!(drain.sources.get_mut(0).expect("it wrote").lost, u64::MAX);
}

/// The word at `word` of the slot in which `position` is.
fn word_of(segment: &Segment, position: u64, word: usize) -> &crate::sync::AtomicU64 {
    let ring = segment.ring();
    let slot = Entry(ring.order[ring.shape.index(position)].load(Relaxed)).slot() as usize;
    &ring.slots[slot * ring.shape.slot_words + word]
}

/// The lines that are there, as what is said of them.
fn flags_of_lines(segment: &Segment, drain: &mut Drain) -> Vec<(String, bool, bool, u64)> {
    let mut lines = Vec::new();
    while drain.fill(segment) {
        let item = drain.next_item(segment).map(Item::into_owned);
        lines.extend(item.iter().filter_map(Item::line).map(|line| {
            (String::from_utf8_lossy(&line.bytes).into_owned(), line.damaged, line.truncated, line.missing)
        }));
        drain.accept(segment, 1);
    }
    lines
}

#[test]
fn a_damaged_part_that_names_the_next_line_neither_ends_nor_joins_the_one_before() {
    let segment = segment(Options::new().lines(8).line_bytes(64).max_line(100).checksums(true));
    let (mut writer, mut drain) = (writer(&segment), Drain::open(&segment).expect("the first"));
    let text = |byte: u8| [byte; 24];
    writer.forge(&segment, 0, flag::FIRST, &text(b'a'));
    writer.forge(&segment, 1, 0, &text(b'b'));
    writer.forge(&segment, 2, flag::LAST, &text(b'c'));
    // Its line's number becomes the next one.
    let line = word_of(&segment, 1, 2);
    line.store(line.load(Relaxed) + (1 << 16), Relaxed);
    let [a, b, c] = [b'a', b'b', b'c'].map(|byte| String::from_utf8(vec![byte; 24]).expect("text"));
    let expected = [(b, true, false, 0), (a + &c, false, true, 24)];
    assert_eq!(flags_of_lines(&segment, &mut drain), expected);
}

#[test]
fn parts_between_which_positions_are_skipped_make_no_sound_line_where_lines_are_rewritten() {
    for rewrite in [true, false] {
        let segment = segment(Options::new().lines(8).line_bytes(64).checksums(true).rewrite(rewrite));
        let (mut writer, mut drain) = (writer(&segment), Drain::open(&segment).expect("the first"));
        // A line that is made void after its second part, and begun anew with the same number.
        let parts =
            [(0, flag::FIRST), (1, 0), (0, flag::FIRST | flag::LAST | flag::FORGOTTEN), (0, flag::FIRST)];
        for (part, flags) in parts {
            writer.forge(&segment, part, flags, b"old and void");
        }
        writer.forge(&segment, 1, flag::LAST, b"new");
        // Nothing is left of all but the first and the last.
        for position in 1..4 {
            word_of(&segment, position, 0).store(99, Relaxed);
        }
        assert_eq!(flags_of_lines(&segment, &mut drain), [("old and voidnew".to_owned(), rewrite, false, 0)]);
    }
}
