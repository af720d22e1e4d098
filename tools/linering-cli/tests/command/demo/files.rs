//! Lines of a real file: they come back as they were, and in the order of their worker's share.

use std::collections::HashMap;
use std::fs;

use super::{MODES, count_in_order, demo, row, stderr_of, stdout_of};
use crate::common::{scratch, text};

/// Lines that differ, with every byte that is a nuisance, and a last one without an end.
fn nasty() -> Vec<u8> {
    let mut file = Vec::new();
    let nuisances: [&[u8]; 8] = [
        b"",
        b"\0\0",
        b"\xff\xfe\x80",
        b"\r",
        b"a\rb\r",
        "\u{2028}é".as_bytes(),
        b"\x1b[31m\x07",
        b"\x0b\x0c\x85",
    ];
    for number in 0..20_000 {
        let nuisance = nuisances[number % nuisances.len()];
        file.extend_from_slice(format!("{number} ").as_bytes());
        file.extend_from_slice(nuisance);
        file.extend_from_slice(&b"x".repeat(number % 300));
        file.push(b'\n');
        if number % 100 == 0 {
            file.extend_from_slice(b"\n\r\n");
        }
        if number == 7000 {
            file.extend(b"long \0".iter().cycle().take(1_000_000));
            file.push(b'\n');
        }
    }
    file.extend_from_slice(b"the last line has no end");
    file
}

#[test]
fn one_worker_gives_the_file_back_byte_for_byte() {
    let empty_lines = b"\n".repeat(5);
    let files: [(&str, &[u8]); 6] = [
        ("nasty", &nasty()),
        ("empty", b""),
        ("end", b"\n"),
        ("ends", &empty_lines),
        ("unfinished", b"no end"),
        ("nul", b"a\nb\n\0"),
    ];
    for mode in MODES {
        for (name, bytes) in files {
            let (input, output) =
                (scratch(&format!("{name}-{mode}-in")), scratch(&format!("{name}-{mode}-out")));
            fs::write(&input, bytes).expect("the input");
            let ends = ["--workers", "1", "--input", text(&input), "--output", text(&output)];
            demo(&[&["--mode", mode], &ends[..]].concat()).success();
            assert!(fs::read(&output).expect("the output") == bytes, "{name} {mode}");
        }
    }
}

#[test]
fn several_workers_give_back_every_line_each_share_in_order() {
    let bytes = nasty();
    for mode in MODES {
        for workers in [3, 8] {
            let (input, output) =
                (scratch(&format!("share-{mode}-in")), scratch(&format!("share-{mode}-out")));
            fs::write(&input, &bytes).expect("the input");
            let ends = [
                "--workers",
                &workers.to_string(),
                "--input",
                text(&input),
                "--output",
                text(&output),
            ];
            demo(&[&["--mode", mode], &ends[..]].concat()).success();
            let drained = fs::read(&output).expect("the output");
            // Another worker's lines may come after the one without an end, so it got one.
            assert_shares(&[&bytes[..], b"\n"].concat(), &drained, workers);
        }
    }
}

/// `drained` has the lines of `input`, and is a mixture of `workers` contiguous parts of it, each
/// in order.
fn assert_shares(input: &[u8], drained: &[u8], workers: usize) {
    let lines_of = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (input, drained) = (lines_of(input), lines_of(drained));
    let sorted = |lines: &[Vec<u8>]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert!(sorted(&input) == sorted(&drained), "lines are missing, doubled or changed");
    let place: HashMap<&[u8], usize> =
        drained.iter().enumerate().map(|(at, line)| (&line[..], at)).collect();
    // Empty lines are all alike.
    let places: Vec<usize> =
        input.iter().filter(|line| line.len() > 2).map(|line| place[&line[..]]).collect();
    let cuts = places.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(
        cuts < workers,
        "{cuts} lines come before the one before them, expected fewer than {workers}"
    );
}

#[test]
fn an_outputs_old_content_is_gone() {
    let (input, output) = (scratch("old-in"), scratch("old-out"));
    fs::write(&input, "new\n").expect("the input");
    fs::write(&output, "old, and much longer\n").expect("the output");
    demo(&["--workers", "1", "--input", text(&input), "--output", text(&output)]).success();
    assert_eq!(fs::read(&output).expect("the output"), b"new\n");
}

#[test]
fn lines_on_stdout_put_the_report_on_stderr() {
    let done = demo(&["--lines", "1000", "--output", "-"]).success();
    assert_eq!(count_in_order(&stdout_of(&done)).values().sum::<u64>(), 1000);
    assert_eq!(row(&stderr_of(&done), "lines"), 1000);
}
