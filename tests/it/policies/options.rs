//! Options at their bounds work, and options beyond them are refused by name.

use std::time::Duration;

use linering::{CreateError, LineRing, Options, Policy};

use super::{mirror, now, reader, ring, small, write};

#[test]
fn an_option_out_of_bounds_is_named_with_what_was_found_and_expected() {
    let new = Options::new;
    let cases = [
        (new().lines(0), "lines", 0, "2 to 8388608"),
        (new().lines(1), "lines", 1, "2 to 8388608"),
        (new().lines(usize::MAX), "lines", u64::MAX, "2 to 8388608"),
        (new().line_bytes(0), "line_bytes", 0, "64 to 65536"),
        (new().line_bytes(63), "line_bytes", 63, "64 to 65536"),
        (new().line_bytes(65_537), "line_bytes", 65_537, "64 to 65536"),
        (new().line_bytes(usize::MAX), "line_bytes", u64::MAX, "64 to 65536"),
        (new().mirrors(0), "mirrors", 0, "1 to 4095"),
        (new().mirrors(4096), "mirrors", 4096, "1 to 4095"),
        (new().seats(0), "seats", 0, "1 to 1048576"),
        (new().seats(1_048_577), "seats", 1_048_577, "1 to 1048576"),
        (new().max_line(0), "max_line", 0, "1 to 3758096384"),
        (new().max_line(usize::MAX), "max_line", u64::MAX, "1 to 3758096384"),
        (
            new().max_line(458_753).policy(Policy::OverwriteOldest),
            "max_line",
            458_753,
            "1 to 458752",
        ),
    ];
    for (options, name, number, bounds) in cases {
        let error = LineRing::new(options).expect_err(name);
        assert_eq!(error.to_string(), format!("{name} is {number}, expected {bounds}"));
        let CreateError::Option { option, found, expected } = error else {
            panic!("another error: {error}")
        };
        assert_eq!((option, found, &*expected), (name, number, bounds));
    }
}

#[test]
fn options_at_their_bounds_make_a_ring_that_works() {
    let new = || {
        Options::new().lines(4).line_bytes(64).mirrors(1).seats(1).max_line(1).assembly_budget(0)
    };
    let cases = [
        new().lines(2),
        new().line_bytes(65_536).max_line(1000),
        new().line_bytes(65).max_line(1000),
        new().mirrors(4095).max_line(1000),
        new().lines(3).seats(1 << 20).max_line(1000),
        new().start_position(u64::MAX),
        new().block_limit(Duration::ZERO).reader_grace(Duration::ZERO),
        new().block_limit(Duration::MAX).reader_grace(Duration::MAX).seat_limit(Duration::MAX),
    ];
    for options in cases {
        let case = format!("{options:?}");
        let ring = LineRing::new(options).expect(&case);
        let mut reader = reader(&ring);
        write(&mut ring.seat().expect(&case).open().expect(&case), "x");
        let items: Vec<_> = reader.by_ref().map(|item| item.expect(&case).to_string()).collect();
        assert_eq!(items, ["x", "-- worker 0 ended --"], "{case}");
    }
}

#[test]
fn the_numbers_of_lines_are_rounded_up_to_powers_of_two() {
    for (lines, holds) in [(2, 2), (3, 4), (5, 8), (1000, 1024)] {
        let ring = ring(small(lines, Policy::DropNewest));
        let mut mirror = mirror(&ring);
        (0..2000).for_each(|_| write(&mut mirror, "line"));
        assert_eq!(now(&mut reader(&ring)).len(), holds, "{lines} lines");
    }
}
