//! Sections, sizes and limits: those of the page, and what a sound geometry is.

use proptest::prelude::*;

use super::*;
use crate::layout::geometry::Offsets;
use crate::layout::sync::AtomicU64;

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
