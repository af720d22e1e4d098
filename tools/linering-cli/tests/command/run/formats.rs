//! How a line is shown: tags, times, JSON, and what a terminal is sent.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use super::{linering, run};
use crate::common::{err, out, sorted};

#[test]
fn a_tag_stands_before_each_line() {
    let script = "echo out; echo err >&2; printf unfinished";
    let output = run(&["-n", "2", "--tag", "--", "sh", "-c", script]);
    assert_eq!(sorted(&out(&output)), ["[0] out", "[0] unfinished", "[1] out", "[1] unfinished"]);
    assert_eq!(sorted(&err(&output)), ["[0] err", "[1] err"]);
    let output = run(&["--tag={{{stream}}} ", "--", "sh", "-c", script]);
    assert_eq!(
        (out(&output), err(&output)),
        ("{stdout} out\n{stdout} unfinished".into(), "{stderr} err\n".into())
    );
}

#[test]
fn a_line_is_a_json_object_if_that_is_asked_for() {
    let script = r#"printf 'a "quoted"\tline\n\377\n'; echo err >&2; printf end"#;
    let output = run(&["-o", "json", "--", "sh", "-c", script]);
    let objects: Vec<serde_json::Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), 4, "{objects:?}");
    for object in &objects {
        assert_eq!(object["worker"], 0);
        let time: jiff::Timestamp =
            object["time"].as_str().expect("a time").parse().expect("RFC 3339");
        let age = jiff::Timestamp::now().duration_since(time);
        assert!(age.abs().as_secs() < 1000, "{time}");
    }
    let of = |stream: &str| {
        objects.iter().filter(|object| object["stream"] == stream).collect::<Vec<_>>()
    };
    let [first, second, third] = of("stdout")[..] else { panic!("{objects:?}") };
    assert_eq!(
        (&first["msg"], first.get("lossy"), first.get("unfinished")),
        (&"a \"quoted\"\tline".into(), None, None)
    );
    assert_eq!((&second["msg"], &second["lossy"]), (&"\u{fffd}".into(), &true.into()));
    assert_eq!((&third["msg"], &third["unfinished"]), (&"end".into(), &true.into()));
    assert!(first["position"].as_u64() < second["position"].as_u64());
    assert_eq!(of("stderr")[0]["msg"], "err");
    assert_eq!(err(&output), "");
}

#[test]
fn times_stand_before_lines_and_tags() {
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    for (args, rest) in [
        (&["--timestamps"][..], "text"),
        (&["--timestamps", "--tag"], "[0] text"),
        (&["-o", "short"], "[0] text"),
        (&["-o", "short", "--tag=<{worker}> "], "<0> text"),
    ] {
        let output = out(&run(&[args, &["--", "echo", "text"]].concat()));
        let (time, found) = output.trim_end().split_once(' ').expect("a time");
        assert!(is_time(time) && found == rest, "{args:?}: {output}");
    }
}

/// What a terminal is sent, by a command whose stderr, and stdout too if `out`, is that terminal;
/// and the rest of its stdout.
fn on_a_terminal(mut command: Command, out: bool) -> (String, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let open = || fs::OpenOptions::new().read(true).write(true).open(&name).expect("a terminal");
    let side = open();
    let mut modes = tcgetattr(&side).expect("a terminal");
    // As it was written.
    modes.output_modes -= OutputModes::OPOST;
    tcsetattr(&side, OptionalActions::Now, &modes).expect("a terminal");
    drop(side);
    command.stdin(Stdio::null()).stderr(open());
    command.stdout(if out { Stdio::from(open()) } else { Stdio::piped() });
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut stdout = child.stdout.take();
    let rest = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.as_mut().map(|stdout| stdout.read_to_string(&mut text));
        text
    });
    let mut sent = Vec::new();
    // The end of a terminal is an error.
    let _ = fs::File::from(terminal).read_to_end(&mut sent);
    child.wait().expect("ours");
    (String::from_utf8_lossy(&sent).into_owned(), rest.join().expect("no panic"))
}

#[test]
fn a_terminal_is_shown_control_characters_and_colours() {
    let args = ["--tag", "--", "printf", r"a\033[31mb\tc\177\r\302\233d\303\251\n"];
    let shown = "a^[[31mb\tc^?^MM-^[d\u{e9}\n";
    let command = |more: &[&str]| {
        let mut command = linering(&[more, &args].concat());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR").env("TERM", "xterm");
        command
    };
    let colored = format!("\u{1b}[36m[0] \u{1b}[0m{shown}");
    assert_eq!(on_a_terminal(command(&[]), true).0, colored);
    let plain = format!("[0] {shown}");
    assert_eq!(on_a_terminal(command(&["--color", "never"]), true).0, plain);
    let mut without = command(&[]);
    without.env("NO_COLOR", "1");
    assert_eq!(on_a_terminal(without, true).0, plain);
    // A file is given what was written.
    let raw = "a\u{1b}[31mb\tc\u{7f}\r\u{9b}d\u{e9}\n";
    assert_eq!(on_a_terminal(command(&[]), false).1, format!("[0] {raw}"));
    assert_eq!(
        on_a_terminal(command(&["--color", "always"]), false).1,
        format!("\u{1b}[36m[0] \u{1b}[0m{raw}")
    );
}

#[test]
fn progress_is_told_on_a_terminal_alone() {
    let args = ["-n", "2", "--progress", "--", "sh", "-c", "seq 1000"];
    let output = run(&args);
    assert_eq!((out(&output).lines().count(), err(&output)), (2000, String::new()));
    let mut command = linering(&args);
    command.env("TERM", "xterm");
    let (terminal, rest) = on_a_terminal(command, false);
    assert_eq!(rest.lines().count(), 2000);
    assert!(terminal.contains("2,000 lines, 7.60 KiB, 2 of 2 workers ended"), "{terminal:?}");
}

#[test]
fn a_windows_line_end_is_none_to_show() {
    // However the bytes come.
    let script = r"printf 'one\r\ntwo\r\n50%%\r100%%\r'; sleep 0.3; printf '\nthree\rx\n'";
    let shown = on_a_terminal(linering(&["--color", "never", "--", "sh", "-c", script]), true).0;
    assert_eq!(shown, "one\r\ntwo\r\n50%^M100%\r\nthree^Mx\n");
    let raw = "one\r\ntwo\r\n50%\r100%\r\nthree\rx\n";
    assert_eq!(on_a_terminal(linering(&["--", "sh", "-c", script]), false).1, raw);
}

#[test]
fn colours_of_workers_are_shown_if_always_and_end_with_the_line() {
    for (written, shown) in [
        // Closed by us, by itself, and no colour at all.
        (r"\033[31mred\n", "\u{1b}[31mred\u{1b}[0m\n"),
        (r"\033[1;38;5;200mred\033[0m\033[mx\n", "\u{1b}[1;38;5;200mred\u{1b}[0m\u{1b}[mx\n"),
        (r"\033[2Jgone\033]0;title\007\n", "^[[2Jgone^[]0;title^G\n"),
        (r"\033[31\n", "^[[31\n"),
        (r"\033[?25lx\233m\n", "^[[?25lx\u{fffd}m\n"),
    ] {
        let command = linering(&["--color", "always", "--", "printf", written]);
        assert_eq!(on_a_terminal(command, true).0, shown, "{written}");
    }
}

#[test]
fn one_pipe_keeps_the_order_of_what_is_written() {
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let expected: String = (0..500).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let output = run(&["--merge", "--", "sh", "-c", script]);
    assert_eq!((out(&output), err(&output)), (expected, String::new()));
}

#[test]
fn a_workers_terminal_is_one_and_changes_no_byte() {
    let script = "test -t 1 && test -t 2 && printf 'a\\r\\nb\\tc\\n' && echo err >&2; printf end";
    let output = run(&["--pty", "--", "sh", "-c", script]);
    assert_eq!((out(&output), err(&output)), ("a\r\nb\tc\nerr\nend".to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(0));
    // A program that looks at it holds no line back.
    let mut child = linering(&["--pty", "--", "sh", "-c", "(echo one; cat) | cat"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = [0; 4];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"one\n");
    drop(child.stdin.take());
    child.wait().expect("ours");
}

#[test]
fn json_divides_no_character_of_a_long_line() {
    let text: String = "aä€😀".repeat(700);
    // In pieces that end anywhere.
    let script = "printf %s \"$0\" | dd bs=7 status=none; dd if=/dev/null status=none";
    for longest in ["1", "2", "3", "5", "8", "100", "1000"] {
        let args = ["-o", "json", "--max-line", longest, "--", "sh", "-c", script, &text];
        let output = run(&args);
        let mut whole = String::new();
        for line in out(&output).lines() {
            let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(object.get("lossy"), None, "{longest}: {object}");
            whole.push_str(object["msg"].as_str().expect("text"));
        }
        assert!(whole == text, "{longest}: {whole}");
    }
    // What the ring has no room for is cut off between two characters too.
    let small = ["--on-full", "overwrite", "--lines", "2", "--line-bytes", "64", "-o", "json"];
    let output = run(&[&small[..], &["--", "printf", "%s\\n", &text]].concat());
    for line in out(&output).lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(object.get("lossy"), None, "{object}");
    }
}
