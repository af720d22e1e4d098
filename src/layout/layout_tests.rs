//! Holds `docs/format.md` against the code, and the arithmetic of positions against its promises.
#![cfg(not(loom))]

use core::mem::offset_of;

use proptest::prelude::*;

use super::entry::{LAP_BITS, LAP_MASK, SLOT_MASK};
use super::geometry::Offsets;
use super::header::*;
use super::sync::AtomicU64;
use super::*;
use bytemuck::Zeroable;

const FORMAT: &str = include_str!("../../docs/format.md");

// -------------------------------------------------------------------------------- reading the page

/// What stands below a heading of the page, up to the next heading.
fn section(heading: &str) -> &'static str {
    let start = FORMAT.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("docs/format.md has no heading `{heading}`"));
    let text = &FORMAT[start + heading.len() + 2..];
    &text[..text.find("\n#").unwrap_or(text.len())]
}

/// The rows of the table below a heading whose first column is called `first`.
fn table(heading: &str, first: &str) -> Vec<Vec<&'static str>> {
    let cells =
        |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let lines =
        section(heading).lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "docs/format.md, `{heading}`: no table with a column `{first}`");
    rows
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("docs/format.md: `{text}` is not a number"))
}

/// `` `name` (remark) `` without the rest.
fn name(text: &str) -> &str {
    text.split('`').nth(1).unwrap_or(text)
}

/// Something that the page and the code both say: a name, and two numbers.
type Fact = (String, [u64; 2]);

/// Fails with every disagreement in words; `numbers` says what the two numbers of a fact are.
fn compare(place: &str, numbers: [&str; 2], docs: &[Fact], code: &[Fact]) {
    let mut faults = Vec::new();
    for (name, found) in docs {
        match code.iter().find(|(other, _)| other == name) {
            None => faults.push(format!("`{name}` is in the docs, but not in the code")),
            Some((_, expected)) => {
                for ((what, found), expected) in numbers.iter().zip(found).zip(expected) {
                    if found != expected {
                        faults.push(format!(
                            "`{name}`: {what} is {found} in the docs, {expected} in the code"
                        ));
                    }
                }
            }
        }
    }
    for (name, [first, second]) in code {
        if !docs.iter().any(|(other, _)| other == name) {
            let [one, two] = numbers;
            faults.push(format!(
                "`{name}` ({one} {first}, {two} {second}) is in the code, but not in the docs"
            ));
        }
    }
    assert!(faults.is_empty(), "docs/format.md, `{place}`:\n  {}", faults.join("\n  "));
    assert_eq!(docs.len(), code.len(), "docs/format.md, `{place}`: a name comes twice");
}

// ------------------------------------------------------------------------------- fields of structs

fn bytes_of<T, F>(_: fn(&T) -> &F) -> u64 {
    size_of::<F>() as u64
}

/// Fails if the struct has other fields than the test that compares it with the docs.
fn expect_fields(name: &str, listed: &[&str]) {
    let source = concat!(include_str!("geometry.rs"), include_str!("header.rs"));
    let (_, after) = source
        .split_once(&format!("pub(crate) struct {name} {{\n"))
        .expect("a struct of geometry.rs or header.rs");
    let (body, _) = after.split_once("\n}").expect("the end of a struct");
    let fields =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.split_once(':'));
    let fields: Vec<_> = fields.map(|(field, _)| field).collect();
    assert_eq!(
        fields, listed,
        "left: the fields of `{name}`; right: those that this test and docs/format.md know"
    );
}

/// The fields of a struct that begins at `$base`: name, offset and bytes.
macro_rules! fields {
    ($base:expr, $type:ident { $($field:ident),* }) => {{
        expect_fields(stringify!($type), &[$(stringify!($field)),*]);
        let base = $base as u64;
        [$((stringify!($field).to_string(), [
            base + offset_of!($type, $field) as u64,
            bytes_of(|it: &$type| &it.$field),
        ])),*]
    }};
}

fn compare_fields(heading: &str, code: &[Fact]) {
    let row = |row: &Vec<&str>| (name(row[2]).to_string(), [number(row[0]), number(row[1])]);
    let docs: Vec<Fact> = table(heading, "offset").iter().map(row).collect();
    compare(heading, ["its offset", "its size in bytes"], &docs, code);
    assert!(
        docs.is_sorted_by_key(|fact| fact.1[0]),
        "docs/format.md, `{heading}`: not in the order of offsets"
    );
}

#[test]
fn the_docs_have_the_geometry() {
    let code = fields!(
        offset_of!(Header, geometry),
        Geometry {
            magic,
            version,
            endianness,
            word_bytes,
            slot_bytes,
            order_bits,
            cells,
            tickets,
            policy,
            checksums,
            total_bytes,
            start_position,
            max_line,
            identity,
            created,
            block_limit,
            reader_grace,
            timestamps,
            returns,
            wake_up,
            backing,
            pipe_process,
            pipe_descriptor,
            pipe_inode
        }
    );
    compare_fields("### Geometry", &code);
    assert_eq!(
        code.iter().map(|fact| fact.1[1]).sum::<u64>(),
        128,
        "the geometry has padding, or another size"
    );
}

#[test]
fn the_docs_have_the_words_of_the_header() {
    let mut code = Vec::new();
    let pairs = fields!(0, Header { geometry, next_position, read_position, flags, space, counts });
    for (name, [offset, _]) in pairs {
        assert_eq!(offset % 128, 0, "`{name}` shares a cache-line pair");
        match &*name {
            "geometry" => {}
            "flags" => code.extend(fields!(offset, HotFlags { reader_sleeps, stopped })),
            "counts" => code.extend(fields!(
                offset,
                SegmentCounters {
                    serial,
                    tickets_used,
                    ticket_hint,
                    events,
                    unfinished,
                    eofs,
                    errors,
                    deaths,
                    found_full,
                    claimed_in
                }
            )),
            "next_position" => {
                code.push((name, [offset, bytes_of(|it: &Header| &it.next_position.0)]))
            }
            "read_position" => {
                code.push((name, [offset, bytes_of(|it: &Header| &it.read_position.0)]))
            }
            "space" => code.push((name, [offset, bytes_of(|it: &Header| &it.space.0)])),
            _ => panic!("say here what words `{name}` has"),
        }
    }
    compare_fields("### Words that change", &code);
}

#[test]
fn the_docs_have_the_fields_of_a_ticket() {
    compare_fields(
        "## Ticket",
        &fields!(0, Ticket { word, serial, lines, dropped, detail, label }),
    );
}

#[test]
fn the_docs_have_the_fields_of_a_cell() {
    let mut code = Vec::new();
    for (name, [offset, _]) in fields!(0, Cell { writer, reader }) {
        match &*name {
            "writer" => {
                code.extend(fields!(offset, WriterWords { hold, pending, owner, dropped }));
            }
            "reader" => code
                .extend(fields!(offset, ReaderWords { epoch, delivered, ticket, serial, claim })),
            _ => panic!("say here what words `{name}` has"),
        }
    }
    compare_fields("## Cell", &code);
}

// ------------------------------------------------------------------------------------ packed words

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

const ALL_SLOT_BITS: u32 = SLOT_MASK as u32;

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
    let pack = |line, bytes| Pending { line, bytes }.pack();
    compare_diagrams(
        "### Pending word",
        &[("line", pack(u64::MAX, 0)), ("bytes", pack(0, u16::MAX))],
    );
}

#[test]
fn the_docs_draw_the_ticket_word() {
    let opening = |cell, epoch| TicketWord::Opening(MirrorId { cell, epoch }).pack();
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
        ("line", SlotHeader { line: u64::MAX, ..zero }.line_word()),
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
    fn a_pending_word_comes_back_as_it_was(line in 0..=LINE_MASK, bytes: u16) {
        let pending = Pending { line, bytes };
        prop_assert_eq!(Pending::unpack(pending.pack()), pending);
    }

    #[test]
    fn a_ticket_comes_back_as_it_was(cell in 0..MAX_CELLS as u16, number in 0..=LINE_MASK) {
        let mirror = MirrorId { cell, epoch: number };
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
        prop_assert_eq!([header.position, header.time_word(), header.line_word(), header.part_word()], words);
    }

    #[test]
    fn a_slot_header_comes_back_as_it_was(
        (position, time, tag) in (any::<u64>(), 0..=LINE_MASK, any::<u16>()),
        (line, cell, level) in (0..=LINE_MASK, 0..MAX_CELLS as u16, 0..16_u8),
        (part, length, flags) in (0..1_u32 << 24, any::<u16>(), 0..1_u32 << 24),
    ) {
        let header = SlotHeader { position, time, tag, line, cell, level, part, length, flags };
        let words = [header.position, header.time_word(), header.line_word(), header.part_word()];
        prop_assert_eq!(SlotHeader::unpack(words), header);
        prop_assert_eq!(header.is(flag::LAST), flags & 2 != 0);
    }

    #[test]
    fn a_slot_header_number_that_is_too_great_harms_no_other(time: u64, line: u64, cell: u16, level: u8, part: u32) {
        let header = SlotHeader { time, line, cell, level, part, tag: 1, length: 2, flags: 3, position: 4 };
        let words = [header.position, header.time_word(), header.line_word(), header.part_word()];
        let found = SlotHeader::unpack(words);
        let low = |number: u64, bits: u32| number & ((1 << bits) - 1);
        let expected = SlotHeader {
            time: low(time, 48),
            line: low(line, 48),
            cell: low(cell.into(), 12) as u16,
            level: low(level.into(), 4) as u8,
            part: low(part.into(), 24) as u32,
            ..header
        };
        prop_assert_eq!(found, expected);
    }
}

// ------------------------------------------------------------------------------ laps and positions

#[test]
fn a_lap_after_the_last_is_one_lap_on() {
    assert_eq!(OrderEntry::free(0, 0).laps_since(LAP_MASK), 1);
    assert_eq!(OrderEntry::free(LAP_MASK, 0).laps_since(0), -1);
    assert_eq!(OrderEntry::full(5, 7).laps_since(5), 0);
    let half = 1_u64 << (LAP_BITS - 1);
    assert_eq!(OrderEntry::free(half - 1, 0).laps_since(0), half as i64 - 1);
    assert_eq!(OrderEntry::free(half, 0).laps_since(0), -(half as i64));
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1..SLOT_INDEX_BITS, 8..8192_usize, any::<bool>()).prop_map(
        |(order_bits, slot_words, checks)| Shape {
            order_bits,
            slot_words,
            check_bytes: 8 * usize::from(checks),
        },
    )
}

proptest! {
    #[test]
    fn lap_differences_are_signed_and_modular(
        lap in 0..=LAP_MASK,
        laps in -(1_i64 << (LAP_BITS - 1))..1 << (LAP_BITS - 1),
        slot in 0..=ALL_SLOT_BITS,
    ) {
        let later = lap.wrapping_add(laps as u64);
        prop_assert_eq!(OrderEntry::free(later, slot).laps_since(lap), laps);
        prop_assert_eq!(OrderEntry::full(later, slot).laps_since(lap), laps);
    }

    #[test]
    fn laps_and_positions_overflow_together(shape in shapes(), position: u64, near in -2000..2000_i64, laps in -9..9_i64) {
        for position in [position, (near as u64) << shape.order_bits, near as u64] {
            let later = shape.after_laps(position, laps);
            prop_assert_eq!(shape.index(later), shape.index(position));
            prop_assert_eq!(OrderEntry::full(shape.lap(later), 0).laps_since(shape.lap(position)), laps);
            let next = position.wrapping_add(1);
            let wraps = shape.index(next) == 0;
            prop_assert_eq!(shape.index(next), if wraps { 0 } else { shape.index(position) + 1 });
            let laps_on = OrderEntry::free(shape.lap(next), 0).laps_since(shape.lap(position));
            prop_assert_eq!(laps_on, i64::from(wraps));
        }
    }

    #[test]
    fn a_new_ring_is_free_from_its_start_and_consumed_before(order_bits in 1..9_u32, start: u64, back in 0..600_u64) {
        let shape = Shape { order_bits, slot_words: 8, check_bytes: 0 };
        for start in [start, 0_u64.wrapping_sub(back), back] {
            for ahead in 0..shape.positions() {
                let position = start.wrapping_add(ahead);
                let entry = shape.first_entry(start, shape.index(position));
                prop_assert_eq!(entry, OrderEntry::free(shape.lap(position), shape.index(position) as u32));
                let before = position.wrapping_sub(shape.positions());
                prop_assert_eq!(entry.laps_since(shape.lap(before)), 1, "the position a lap before was consumed");
            }
        }
    }
}

#[test]
fn a_ring_that_starts_just_below_overflow_crosses_it() {
    let shape = Shape { order_bits: 2, slot_words: 8, check_bytes: 0 };
    let start = 0_u64.wrapping_sub(3); // the second entry of the last lap
    let last = shape.lap(start);
    assert_eq!(last, LAP_MASK);
    let entries: Vec<_> = (0..4).map(|index| shape.first_entry(start, index)).collect();
    let expected = [
        OrderEntry::free(0, 0),
        OrderEntry::free(last, 1),
        OrderEntry::free(last, 2),
        OrderEntry::free(last, 3),
    ];
    assert_eq!(entries, expected, "position 0, the fourth, is a lap after the first three");
}

// ---------------------------------------------------------------------------------------- geometry

/// A sound geometry with these numbers.
fn geometry(slot_bytes: u32, order_bits: u32, cells: u32, tickets: u32) -> Geometry {
    let mut geometry =
        Geometry { slot_bytes, order_bits, cells, tickets, max_line: 1, ..Geometry::zeroed() };
    geometry.total_bytes = geometry.offsets().total as u64;
    geometry
}

#[test]
fn the_docs_have_the_sizes() {
    // However its paragraphs are broken into lines.
    let text = FORMAT.split_whitespace().collect::<Vec<_>>().join(" ");
    for (what, before, bytes, after) in [
        ("the header", "| header | 0 | ", size_of::<Header>(), " |"),
        ("the header", "| tickets | ", size_of::<Header>(), " |"),
        ("the header", "up(", size_of::<Header>(), " + T"),
        ("a ticket", "T × ", size_of::<Ticket>(), ""),
        ("a cell", "C × ", size_of::<Cell>(), ""),
        ("a slot's header", "`slot_bytes - ", SLOT_HEADER_BYTES, "` bytes of payload"),
        ("a slot's header", "`(slot_bytes - ", SLOT_HEADER_BYTES, ") << 24`"),
        ("a slot with a checksum", "`slot_bytes - ", SLOT_HEADER_BYTES + 8, "` bytes of payload"),
        ("a slot with a checksum", "`(slot_bytes - ", SLOT_HEADER_BYTES + 8, ") << 24`"),
        ("a checksum", "word at byte ", 8 * CHECK_WORD, ""),
    ] {
        let said = format!("{before}{bytes}{after}");
        assert!(
            text.contains(&said),
            "docs/format.md has another size for {what}; the code says `{said}`"
        );
    }
    let every = |what: &str, bytes: usize| {
        let of_code = format!("{what} × {bytes}");
        let said = FORMAT.matches(&format!("{what} × ")).count();
        assert_eq!(
            FORMAT.matches(&of_code).count(),
            said,
            "docs/format.md does not say `{of_code}` everywhere"
        );
    };
    every("T", size_of::<Ticket>());
    every("C", size_of::<Cell>());
    every("N", size_of::<AtomicU64>());
}

#[test]
fn the_docs_have_the_marks_of_the_layout() {
    assert_eq!(&MAGIC, b"LINERING");
    assert!(FORMAT.contains("the ASCII text `LINERING`"));
    assert!(FORMAT.contains(&format!("`{ENDIANNESS:#010x}`")));
    assert!(FORMAT.contains(&format!("`{:#010x}`", ENDIANNESS.swap_bytes())));
    assert!(
        FORMAT.contains(&format!("layout version {LAYOUT_VERSION}\n")),
        "docs/format.md has another version"
    );
    let version = table("### Geometry", "offset").into_iter().find(|row| name(row[2]) == "version");
    assert_eq!(
        version.map(|row| number(row[3])),
        Some(LAYOUT_VERSION.into()),
        "the version in the geometry table"
    );
}

#[test]
fn the_docs_have_an_example_of_the_sections() {
    for row in table("## Sections", "order_bits") {
        let row: Vec<u64> = row.into_iter().map(number).collect();
        let [order_bits, cells, tickets, slot_bytes] =
            [0, 1, 2, 3].map(|column| row[column] as u32);
        let Offsets { tickets, cells, order, slots, total } =
            geometry(slot_bytes, order_bits, cells, tickets).offsets();
        let code = [tickets, cells, order, slots, total].map(|offset| offset as u64);
        let names = "tickets, cells, order, slots and the end";
        assert_eq!(
            row[4..],
            code,
            "docs/format.md, example with {row:?}: {names}, docs left, code right"
        );
    }
}

proptest! {
    #[test]
    fn sections_are_aligned_and_do_not_overlap(
        lines in 1..=1024_u32, order_bits in 1..SLOT_INDEX_BITS, cells in 2..=4096_u32, tickets in 1..=1_048_576_u32,
    ) {
        let geometry = geometry(64 * lines, order_bits, cells, tickets);
        prop_assert_eq!(geometry.fault(), None);
        let at = geometry.offsets();
        let ends = [
            ("header", 0, size_of::<Header>(), at.tickets),
            ("tickets", at.tickets, tickets as usize * size_of::<Ticket>(), at.cells),
            ("cells", at.cells, cells as usize * size_of::<Cell>(), at.order),
            ("order", at.order, 8 << order_bits, at.slots),
            ("slots", at.slots, geometry.slots() * geometry.slot_bytes as usize, at.total),
        ];
        for (name, start, bytes, next) in ends {
            prop_assert_eq!(start % 128, 0, "{} at {}", name, start);
            prop_assert!(start + bytes <= next, "{} ends at {}, the next begins at {}", name, start + bytes, next);
            prop_assert!(next < start + bytes + 128, "a needless gap after {}", name);
        }
        prop_assert_eq!(geometry.slots(), (1 << order_bits) + cells as usize);
        prop_assert!(geometry.slots() as u64 - 1 <= SLOT_MASK, "a slot that no entry can name");
        prop_assert!(geometry.shape().payload() <= u16::MAX.into(), "a length that no header can hold");
    }
}

#[test]
fn each_type_keeps_its_words_where_its_alignment_puts_them() {
    assert_eq!((align_of::<Header>(), align_of::<Cell>(), align_of::<Ticket>()), (128, 128, 64));
    assert_eq!(size_of::<Header>() % align_of::<Header>(), 0);
}

fn set(geometry: &mut Geometry, field: &str, number: u64) {
    let narrow = u32::try_from(number);
    match field {
        "slot_bytes" => geometry.slot_bytes = narrow.unwrap(),
        "order_bits" => geometry.order_bits = narrow.unwrap(),
        "cells" => geometry.cells = narrow.unwrap(),
        "tickets" => geometry.tickets = narrow.unwrap(),
        "policy" => geometry.policy = number.try_into().unwrap(),
        "checksums" => geometry.checksums = number.try_into().unwrap(),
        "timestamps" => geometry.timestamps = number.try_into().unwrap(),
        "returns" => geometry.returns = number.try_into().unwrap(),
        "wake_up" => geometry.wake_up = number.try_into().unwrap(),
        "backing" => geometry.backing = number.try_into().unwrap(),
        "max_line" => geometry.max_line = number,
        _ => panic!("docs/format.md, `### Limits`: say here how to set `{field}`"),
    }
}

#[test]
fn the_limits_of_the_docs_are_those_of_the_code() {
    let subjects = [
        ("slot_bytes", "the slot size"),
        ("order_bits", "the number of order bits"),
        ("cells", "the number of cells"),
        ("tickets", "the number of tickets"),
        ("policy", "the policy"),
        ("checksums", "the kind of checksums"),
        ("timestamps", "the time stamp mode"),
        ("returns", "the handling of carriage returns"),
        ("wake_up", "the wake-up mode"),
        ("backing", "the kind of backing"),
        ("max_line", "the longest line"),
    ];
    let rows = table("### Limits", "number");
    assert_eq!(
        rows.len(),
        subjects.len(),
        "docs/format.md, `### Limits`, has other fields than this test"
    );
    for row in rows {
        let field = name(row[0]);
        let (_, subject) =
            subjects.iter().find(|(name, _)| *name == field).expect("a field with limits");
        let (least, most) = (number(row[1]), number(row[2]));
        for sound in [least, most] {
            let mut geometry = geometry(64, 10, 9, 20);
            set(&mut geometry, field, sound);
            geometry.total_bytes = geometry.offsets().total as u64;
            assert_eq!(geometry.fault(), None, "docs/format.md allows {sound} for `{field}`");
        }
        let largest = if matches!(
            field,
            "policy" | "checksums" | "timestamps" | "returns" | "wake_up" | "backing"
        ) {
            u16::MAX.into()
        } else {
            u32::MAX
        };
        let absurd = [least.checked_sub(1), Some(most + 1), Some(largest.into()), Some(0)];
        for absurd in absurd.into_iter().flatten().filter(|number| !(least..=most).contains(number))
        {
            let mut geometry = geometry(64, 10, 9, 20);
            set(&mut geometry, field, absurd);
            let fault = geometry
                .fault()
                .unwrap_or_else(|| panic!("the code allows {absurd} for `{field}`"));
            assert!(
                fault.starts_with(&format!("{subject} is {absurd}, expected ")),
                "`{field}`: {fault}"
            );
        }
    }
}

#[test]
fn a_slot_size_that_is_no_multiple_of_64_is_a_fault() {
    for slot_bytes in [65, 96, 65_472 + 8] {
        let fault = Geometry { slot_bytes, ..geometry(64, 10, 9, 20) }.fault().expect("a fault");
        assert!(fault.starts_with(&format!("the slot size is {slot_bytes}, ")), "{fault}");
    }
}

#[test]
fn the_longest_line_may_fill_as_many_slots_as_a_part_number_can_count() {
    let mut geometry = geometry(256, 10, 9, 20);
    geometry.max_line = 224 << 24;
    assert_eq!(geometry.fault(), None);
    geometry.max_line += 1;
    assert!(geometry.fault().expect("a fault").starts_with("the longest line is 3758096385, "));
    geometry.max_line = u64::MAX;
    assert!(geometry.fault().is_some());
}

#[test]
fn a_size_that_is_not_that_of_the_sections_is_a_fault() {
    let sound = geometry(256, 10, 9, 20);
    for total_bytes in [0, sound.total_bytes - 1, sound.total_bytes + 1, u64::MAX] {
        let fault = Geometry { total_bytes, ..sound }.fault().expect("a fault");
        let expected = format!(
            "the noted size is {total_bytes}, expected {} for this geometry",
            sound.total_bytes
        );
        assert_eq!(fault, expected);
    }
}

#[test]
fn any_start_position_is_sound() {
    for start_position in [0, 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(Geometry { start_position, ..geometry(64, 1, 2, 1) }.fault(), None);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_check_of_a_geometry_panic(words: [u64; GEOMETRY_WORDS]) {
        let geometry: Geometry = bytemuck::cast(words);
        let _ = geometry.fault();
        let likely = Geometry { slot_bytes: 256, order_bits: geometry.order_bits % 32, ..geometry };
        let _ = likely.fault();
    }
}
