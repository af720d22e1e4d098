//! Packed words: the page draws them as the code packs them, and what was packed comes back.

use proptest::prelude::*;

use super::*;
use crate::layout::ticket::NUMBER_MASK;

/// Compares the diagrams below a heading with what the code packs. `code` has, for each field, a
/// word in which that field alone is all ones.
fn compare_diagrams(heading: &str, code: &[(&str, u64)]) {
    let mut docs = Vec::new();
    let mut bits: Vec<u64> = Vec::new();
    let block =
        section(heading).split("```text\n").nth(1).and_then(|text| text.split("```").next());
    for line in block.unwrap_or_else(|| panic!("docs/format.md, `{heading}`: no diagram")).lines() {
        let Some(fields) = line.strip_prefix('|') else {
            bits = line.split_whitespace().map(number).collect();
            continue;
        };
        let mut top = 64;
        let mut drawn = Vec::new();
        for field in fields.trim_end_matches('|').split('|') {
            let (name, width) =
                field.trim().split_once(':').expect("a field is drawn as name:width");
            let width = number(width);
            assert!(width <= top, "docs/format.md, `{heading}`: more than 64 bits in {line}");
            drawn.push(top - 1);
            if width > 1 {
                drawn.push(top - width);
            }
            top -= width;
            docs.push((name.to_string(), [top, width]));
        }
        assert_eq!(top, 0, "docs/format.md, `{heading}`: less than 64 bits in {line}");
        assert_eq!(bits, drawn, "docs/format.md, `{heading}`: the bit numbers above {line}");
    }
    let fact = |&(name, mask): &(&str, u64)| {
        let (shift, width) = (mask.trailing_zeros(), mask.count_ones());
        assert_eq!(
            mask >> shift,
            u64::MAX >> (64 - width),
            "{heading}: the bits of {name} do not stand together"
        );
        (name.to_string(), [shift.into(), width.into()])
    };
    let code: Vec<Fact> = code.iter().map(fact).collect();
    compare(heading, ["its lowest bit", "its number of bits"], &docs, &code);
}

#[test]
fn the_docs_draw_the_order_entry() {
    let fields = [
        ("lap", OrderEntry::free(u64::MAX, 0).0),
        ("full", OrderEntry::full(0, 0).0),
        ("slot", OrderEntry::free(0, ALL_SLOT_BITS).0),
    ];
    compare_diagrams("## Order entry", &fields);
}

#[test]
fn the_docs_draw_the_hold_word() {
    let intent = Hold::Intent(0, 0).pack(0);
    let fields = [
        ("changes", Hold::Held(0).pack(u64::MAX)),
        ("intent", intent),
        ("b", Hold::Intent(0, ALL_SLOT_BITS).pack(0) ^ intent),
        ("a", Hold::Held(ALL_SLOT_BITS).pack(0)),
    ];
    compare_diagrams("### Hold word", &fields);
}

#[test]
fn the_docs_draw_the_pending_word() {
    let pack = |line, bytes| Pending { line: LineNumber::new(line), bytes }.pack();
    compare_diagrams(
        "### Pending word",
        &[("line", pack(u64::MAX, 0)), ("bytes", pack(0, u16::MAX))],
    );
}

#[test]
fn the_docs_draw_the_ticket_word() {
    let opening =
        |cell, epoch| TicketWord::Opening(MirrorId { cell, epoch: LineNumber::new(epoch) }).pack();
    let fields = [
        ("state", 0xf << 60), // no state has all four bits
        ("cell", opening(0, 0) ^ opening(0xfff, 0)),
        ("number", opening(0, 0) ^ opening(0, u64::MAX)),
    ];
    compare_diagrams("### Ticket word", &fields);
}

#[test]
fn the_docs_draw_the_words_of_a_slot_header() {
    let zero = SlotHeader::default();
    let fields = [
        ("position", u64::MAX),
        ("time", SlotHeader { time: u64::MAX, ..zero }.time_word()),
        ("tag", SlotHeader { tag: u16::MAX, ..zero }.time_word()),
        ("line", SlotHeader { line: LineNumber::new(u64::MAX), ..zero }.line_word()),
        ("cell", SlotHeader { cell: u16::MAX, ..zero }.line_word()),
        ("level", SlotHeader { level: u8::MAX, ..zero }.line_word()),
        ("part", SlotHeader { part: u32::MAX, ..zero }.part_word()),
        ("length", SlotHeader { length: u16::MAX, ..zero }.part_word()),
        ("flags", SlotHeader { flags: 0xff_ffff, ..zero }.part_word()),
    ];
    compare_diagrams("## Slot", &fields);
}

#[test]
fn the_docs_draw_the_checksum() {
    let position = crate::exchange::checksum::word(0, 0) >> 32;
    assert_eq!(crate::exchange::checksum::word(u32::MAX, 0) as u32, u32::MAX);
    assert_ne!(position, crate::exchange::checksum::word(0, 1) >> 32);
    let fields =
        [("without_position", u64::from(u32::MAX)), ("with_position", u64::from(u32::MAX) << 32)];
    compare_diagrams("### Checksum", &fields);
}

#[test]
fn the_docs_have_the_flags_of_a_slot() {
    let bits = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        [number(low), number(high)]
    };
    let docs: Vec<Fact> = table("## Slot", "bits")
        .iter()
        .map(|row| (name(row[1]).to_string(), bits(row[0])))
        .collect();
    let one = |name: &str, flag: u32| (name.to_string(), [flag.trailing_zeros().into(); 2]);
    let several = |name: &str, shift: u32, width: u32| {
        (name.to_string(), [shift.into(), (shift + width - 1).into()])
    };
    let code = [
        one("FIRST", flag::FIRST),
        one("LAST", flag::LAST),
        one("TRUNCATED", flag::TRUNCATED),
        one("UNFINISHED", flag::UNFINISHED),
        one("UNACKNOWLEDGED", flag::UNACKNOWLEDGED),
        one("FORGOTTEN", flag::FORGOTTEN),
        one("ANEW", flag::ANEW),
        several("STREAM", flag::STREAM_SHIFT, 2),
        several("KIND", flag::KIND_SHIFT, 3),
    ];
    compare("## Slot", ["its lowest bit", "its highest bit"], &docs, &code);
}

#[test]
fn the_docs_have_the_states_of_a_ticket() {
    let docs: Vec<Fact> = table("### Ticket word", "state")
        .iter()
        .map(|row| (name(row[1]).to_string(), [number(row[0]), 0]))
        .collect();
    let state = |number: u64| {
        let name = format!("{:?}", TicketWord::unpack(number << 60)?);
        Some((name.split('(').next()?.to_string(), [number, 0]))
    };
    let code: Vec<Fact> = (0..16).filter_map(state).collect();
    compare("### Ticket word", ["its state", "and"], &docs, &code);
}

#[test]
fn the_docs_have_the_numbers_of_what_is_counted_off() {
    use crate::line::item::{Kind, Level, Stream};
    use crate::segment::options::{Policy, Timestamps, WakeUp};

    let says = |heading: &str, code: &[(u64, &str)]| {
        let parts: Vec<_> = code.iter().map(|(number, text)| format!("{number} {text}")).collect();
        let said = parts.join(", ");
        assert!(
            section(heading).contains(&said),
            "docs/format.md, `{heading}`: the code says `{said}`"
        );
    };
    let owners = [
        (Owner::Free as u64, "free"),
        (Owner::Live as u64, "live"),
        (Owner::KeepsError as u64, "ended, "),
    ];
    says("## Cell", &owners);
    let policies = [
        (Policy::Block as u64, "block"),
        (Policy::DropNewest as u64, "drop the newest line"),
        (Policy::OverwriteOldest as u64, "overwrite the oldest"),
    ];
    says("### Geometry", &policies);
    says("### Geometry", &[(Timestamps::Off as u64, "off"), (Timestamps::Coarse as u64, "coarse")]);
    says("### Geometry", &[(WakeUp::Futex as u64, "futex"), (WakeUp::Pipe as u64, "pipe")]);
    let streams = [
        (Stream::Stdout as u64, "standard output"),
        (Stream::Stderr as u64, "standard error"),
        (Stream::Log as u64, "log"),
    ];
    says("## Slot", &streams);
    let kinds = [
        (Kind::Line as u64, "one line"),
        (Kind::Text as u64, "a group of lines"),
        (Kind::Warning as u64, "a warning"),
        (Kind::Error as u64, "the error that ended its mirror"),
        (Kind::Packed as u64, "several lines"),
    ];
    says("## Slot", &kinds);
    let levels = [
        (Level::None as u64, "none"),
        (Level::Trace as u64, "trace"),
        (Level::Debug as u64, "debug"),
        (Level::Info as u64, "info"),
        (Level::Warn as u64, "warn"),
        (Level::Error as u64, "error"),
    ];
    says("## Slot", &levels);
}

#[test]
fn the_first_free_entry_is_zero_and_the_lap_after_the_last_is_lap_zero() {
    assert_eq!(OrderEntry::free(0, 0).0, 0);
    assert_eq!(OrderEntry::free(LAP_MASK + 1, 0), OrderEntry::free(0, 0));
}

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_was(lap in 0..=LAP_MASK, slot in 0..=ALL_SLOT_BITS) {
        for (entry, full) in [(OrderEntry::free(lap, slot), false), (OrderEntry::full(lap, slot), true)] {
            prop_assert_eq!((entry.lap(), entry.is_full(), entry.slot()), (lap, full, slot));
        }
    }

    #[test]
    fn a_hold_comes_back_as_it_was(a in 0..=ALL_SLOT_BITS, b in 0..=ALL_SLOT_BITS, changes: u64) {
        for hold in [Hold::Held(a), Hold::Intent(a, b)] {
            prop_assert_eq!(Hold::unpack(hold.pack(changes)), (hold, changes & 0x7fff));
        }
    }

    #[test]
    fn a_pending_word_comes_back_as_it_was(line: u64, bytes: u16) {
        let pending = Pending { line: LineNumber::new(line), bytes };
        prop_assert_eq!(Pending::unpack(pending.pack()), pending);
    }

    #[test]
    fn a_ticket_comes_back_as_it_was(cell in 0..MAX_CELLS as u16, number in 0..=NUMBER_MASK) {
        let mirror = MirrorId { cell, epoch: LineNumber::new(number) };
        let words = [
            TicketWord::Free,
            TicketWord::Reserved(number),
            TicketWord::Opening(mirror),
            TicketWord::Live(mirror),
            TicketWord::Eof(mirror),
            TicketWord::Error(mirror),
            TicketWord::Dead(mirror),
            TicketWord::Cancelled(number),
            TicketWord::TimedOut(number),
            TicketWord::Making,
        ];
        for word in words {
            prop_assert_eq!(TicketWord::unpack(word.pack()), Some(word));
        }
    }

    #[test]
    fn no_bits_make_an_unpacking_panic(word: u64, words: [u64; SLOT_HEADER_WORDS]) {
        let _ = (OrderEntry(word).lap(), OrderEntry(word).slot(), OrderEntry(word).laps_since(words[0]));
        let (hold, changes) = Hold::unpack(word);
        if let Hold::Intent(..) = hold {
            prop_assert_eq!(hold.pack(changes), word);
        }
        prop_assert_eq!(Pending::unpack(word).pack(), word);
        if TicketWord::unpack(word).is_none() {
            prop_assert!(word >> 60 > 9);
        }
        let header = SlotHeader::unpack(words);
        prop_assert_eq!([header.position.0, header.time_word(), header.line_word(), header.part_word()], words);
    }

    #[test]
    fn a_slot_header_comes_back_as_it_was(
        (position, time, tag) in (any::<u64>(), 0..1_u64 << 48, any::<u16>()),
        (line, cell, level) in (any::<u64>(), 0..MAX_CELLS as u16, 0..16_u8),
        (part, length, flags) in (0..1_u32 << 24, any::<u16>(), 0..1_u32 << 24),
    ) {
        let line = LineNumber::new(line);
        let position = Position(position);
        let header = SlotHeader { position, time, tag, line, cell, level, part, length, flags };
        let words = [header.position.0, header.time_word(), header.line_word(), header.part_word()];
        prop_assert_eq!(SlotHeader::unpack(words), header);
        prop_assert_eq!(header.is(flag::LAST), flags & 2 != 0);
    }

    #[test]
    fn a_slot_header_number_that_is_too_great_harms_no_other(time: u64, line: u64, cell: u16, level: u8, part: u32) {
        let line = LineNumber::new(line);
        let header = SlotHeader { time, line, cell, level, part, tag: 1, length: 2, flags: 3, position: Position(4) };
        let words = [header.position.0, header.time_word(), header.line_word(), header.part_word()];
        let found = SlotHeader::unpack(words);
        let low = |number: u64, bits: u32| number & ((1 << bits) - 1);
        let expected = SlotHeader {
            time: low(time, 48),
            cell: low(cell.into(), 12) as u16,
            level: low(level.into(), 4) as u8,
            part: low(part.into(), 24) as u32,
            ..header
        };
        prop_assert_eq!(found, expected);
    }
}
