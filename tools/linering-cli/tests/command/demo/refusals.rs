//! Bad input gets one sentence, and harms nothing.

use std::fs;

use super::{MODES, demo, stderr_of, stdout_of};
use crate::common::{scratch, text};

/// It ends with this code, prints nothing, and says one sentence with these words.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let done = demo(args).code(code);
    let said = stderr_of(&done);
    assert_eq!(stdout_of(&done), "");
    assert!(said.starts_with("linering: ") && said.lines().count() == 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn wrong_usage_names_what_was_expected() {
    let cases: [(&[&str], &str); 9] = [
        (&["--workers", "0"], "1 to 1000"),
        (&["--workers", "1001"], "1 to 1000"),
        (&["--workers", "99999999999999999999999"], "1 to 1000"),
        (&["--len=-1"], "0 to 1073741824"),
        (&["--len", "9999999999999"], "0 to 1073741824"),
        (&["--lines", "many"], "--lines"),
        (&["--mode", "fibres"], "threads"),
        (&["--nonsense"], "--nonsense"),
        (&["--input", "x", "--lines", "3"], "cannot be used with"),
    ];
    for (args, word) in cases {
        let done = demo(args).code(2);
        assert!(stderr_of(&done).contains(word), "{}", stderr_of(&done));
        assert_eq!(stdout_of(&done), "");
    }
}

#[test]
fn rings_that_cannot_be_are_refused() {
    refused(&["--ring-lines", "1"], 2, &["lines is 1", "expected 2 to"]);
    refused(&["--ring-lines", "99999999999"], 2, &["99999999999", "expected 2 to"]);
    refused(&["--line-bytes", "0"], 2, &["line_bytes is 0", "expected 64 to"]);
    let narrow = ["--policy", "overwrite", "--ring-lines", "2", "--len", "1000"];
    refused(&narrow, 2, &["the longest line has 1000 bytes", "larger ring"]);
}

#[test]
fn an_input_that_is_no_file_is_refused() {
    refused(&["--input", "/nowhere/at/all"], 1, &["cannot read /nowhere/at/all", "No such file"]);
    refused(&["--input", "/"], 1, &["/ is a directory, expected a regular file"]);
    refused(&["--input", "/dev/null"], 1, &["/dev/null is a device, expected a regular file"]);
    refused(&["--input", "/proc/self/status"], 1, &["does not say its size"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    refused(&["--output", "/nowhere/at/all"], 1, &["cannot write /nowhere/at/all", "No such file"]);
    refused(&["--output", "/"], 1, &["cannot write /", "Is a directory"]);
    for mode in MODES {
        refused(
            &["--mode", mode, "--output", "/dev/full"],
            1,
            &["cannot write /dev/full", "No space left"],
        );
        refused(&["--mode", mode, "--output", "/dev/full", "--lines", "1"], 1, &["No space left"]);
    }
}

#[test]
fn an_input_is_never_overwritten_as_the_output() {
    let (input, link) = (scratch("both"), scratch("both-link"));
    fs::write(&input, "precious\n").expect("the input");
    fs::hard_link(&input, &link).expect("a link");
    for output in [&input, &link] {
        refused(
            &["--input", text(&input), "--output", text(output)],
            2,
            &["is the input, expected another file"],
        );
    }
    assert_eq!(fs::read(&input).expect("the input"), b"precious\n");
}
