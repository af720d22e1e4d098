//! What is lost or cut short is counted and told, and is a failure where that is asked for.

use super::run;
use crate::common::{err, out};

#[test]
fn the_summary_counts_each_copys_lines_and_bytes() {
    let script = "seq $((LINERING_WORKER * 1000)); echo err >&2; printf end";
    let output = run(&["-n", "3", "--summary", "--", "sh", "-c", script]);
    let err = err(&output);
    let rows: Vec<Vec<&str>> = err.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |worker: &str| rows.iter().find(|row| row[0] == worker).expect("a row");
    for (worker, lines, bytes) in [("0", "2", 7), ("1", "1002", 3893 + 7), ("2", "2002", 8893 + 7)]
    {
        assert_eq!(row(worker)[1..4], [lines, &bytes.to_string(), "0"], "{err}");
        assert!(row(worker).ends_with(&["exit", "code", "0"]), "{err}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_ring_that_may_lose_lines_counts_them_and_strict_makes_that_a_failure() {
    for policy in ["drop", "overwrite"] {
        let small = ["--on-full", policy, "--lines", "4", "--line-bytes", "64", "--summary"];
        let command = ["--", "seq", "1", "200000"];
        let output = run(&[&small[..], &command].concat());
        let came = out(&output).lines().count();
        let err = self::err(&output);
        let row: Vec<&str> = err.lines().last().expect("a summary").split_whitespace().collect();
        let (counted, lost): (usize, usize) =
            (row[1].parse().expect("lines"), row[3].parse().expect("lost"));
        assert_eq!((came, came + lost), (counted, 200_000), "{policy}");
        assert_eq!(output.status.code(), Some(0), "{policy}");
        let output = run(&[&small[..], &["--strict"], &command].concat());
        assert_eq!(
            output.status.code(),
            Some(i32::from(self::err(&output).contains(" lost, "))),
            "{policy}"
        );
    }
}

#[test]
fn lines_that_are_cut_short_are_told_and_strict_makes_them_a_failure() {
    let small = ["--on-full", "drop", "--lines", "2", "--line-bytes", "64"];
    let command = ["--", "sh", "-c", "seq -s ' ' 1 300000"];
    let output = run(&[&small[..], &["--strict"], &command].concat());
    assert_eq!(
        (output.status.code(), err(&output).as_str()),
        (Some(1), "linering: worker 0: 1 line cut short\n")
    );
}
