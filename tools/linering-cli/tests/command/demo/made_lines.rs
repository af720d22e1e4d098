//! Lines that the demo makes: each arrives, or is counted as lost, and the report says so.

use std::collections::HashMap;
use std::fs;

use super::{MODES, count_in_order, demo, row, stderr_of, stdout_of};
use crate::common::{scratch, text};

#[test]
fn every_line_arrives_and_the_report_says_so() {
    for mode in MODES {
        for workers in ["1", "2", "5"] {
            let done = demo(&["--mode", mode, "--workers", workers, "--lines", "100003"]).success();
            let report = stdout_of(&done);
            assert_eq!(row(&report, "lines"), 100_003, "{report}");
            for name in ["lines/s", "bytes/s", "writers' ns/line"] {
                assert!(row(&report, name) > 0, "{report}");
            }
            row(&report, "ring found full");
            assert_eq!(stderr_of(&done), "");
        }
    }
}

#[test]
fn the_reports_values_end_in_one_column() {
    let report = stdout_of(&demo(&["--lines", "10"]).success());
    let ends = report
        .lines()
        .map(|line| line.get(18..34).map(|value| value.ends_with(|c: char| c.is_ascii_digit())));
    assert!(ends.clone().count() >= 6 && ends.into_iter().all(|end| end == Some(true)), "{report}");
}

#[test]
fn lines_of_any_length_arrive() {
    for mode in MODES {
        for (length, lines) in
            [("0", "1000"), ("1", "1000"), ("29", "1000"), ("224", "1000"), ("225", "1000")]
        {
            demo(&["--mode", mode, "--len", length, "--lines", lines]).success();
        }
        let done = demo(&["--mode", mode, "--len", "10000000", "--lines", "7", "--workers", "3"])
            .success();
        assert_eq!(row(&stdout_of(&done), "lines"), 7);
    }
}

#[test]
fn no_lines_and_fewer_lines_than_workers_are_fine() {
    for mode in MODES {
        assert_eq!(row(&stdout_of(&demo(&["--mode", mode, "--lines", "0"]).success()), "lines"), 0);
        let done = demo(&["--mode", mode, "--lines", "3", "--workers", "9"]).success();
        assert_eq!(row(&stdout_of(&done), "lines"), 3);
    }
}

#[test]
fn the_smallest_ring_is_enough() {
    for mode in MODES {
        let ring = ["--ring-lines", "2", "--line-bytes", "64"];
        let rest = ["--mode", mode, "--lines", "300", "--len", "200", "--workers", "3"];
        let done = demo(&[&ring[..], &rest].concat()).success();
        assert_eq!(row(&stdout_of(&done), "lines"), 300);
    }
}

#[test]
fn what_a_losing_ring_delivers_and_loses_is_what_was_written() {
    for mode in MODES {
        for policy in ["drop", "overwrite"] {
            let ring = ["--policy", policy, "--ring-lines", "8"];
            let done =
                demo(&[&ring[..], &["--mode", mode, "--lines", "200000"]].concat()).success();
            let report = stdout_of(&done);
            let lost = if report.contains("lines lost") { row(&report, "lines lost") } else { 0 };
            assert_eq!(row(&report, "lines") + lost, 200_000, "{report}");
        }
    }
}

#[test]
fn made_lines_go_to_the_output_each_workers_in_order() {
    for mode in MODES {
        let output = scratch(&format!("made-{mode}"));
        demo(&["--mode", mode, "--workers", "3", "--lines", "30000", "--output", text(&output)])
            .success();
        let counts = count_in_order(&fs::read_to_string(&output).expect("the output"));
        assert_eq!(counts, HashMap::from([(0, 10_000), (1, 10_000), (2, 10_000)]));
    }
}
