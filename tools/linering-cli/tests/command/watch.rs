//! `linering ls`, `stat`, `tail` and `wait` from outside.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};
use std::time::Duration;

use linering::{Level, LineRing, Options, Policy, Stream, Timestamps};

use crate::common::{Gate, err, folder, linering, out};

fn run(args: &[&str]) -> Output {
    linering(args).output().expect("it starts")
}

fn options() -> Options {
    Options::new().lines(8).line_bytes(128).timestamps(Timestamps::Coarse)
}

/// A name that no other test has.
fn name(of: &str) -> String {
    format!("watch-{of}-{}", std::process::id())
}

/// A command that goes on, and its output.
struct Going(Child, BufReader<ChildStdout>);

impl Going {
    fn start(args: &[&str]) -> Self {
        let mut command = linering(args);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("a pipe");
        Self(child, BufReader::new(out))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("text");
        line
    }

    /// Its code, what else it printed, and its notes.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut rest, mut notes) = (String::new(), String::new());
        self.1.read_to_string(&mut rest).expect("text");
        self.0.stderr.take().expect("a pipe").read_to_string(&mut notes).expect("text");
        (self.0.wait().expect("a child").code(), rest, notes)
    }
}

fn ring_in(path: &Path) -> LineRing {
    LineRing::create_file(path, options()).expect("a ring")
}

#[test]
fn rings_are_listed_alive_and_dead_and_nothing_else() {
    let folder = folder();
    let dead = folder.path().join("dead");
    let ring = ring_in(&dead);
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("room");
    drop((mirror, ring));
    fs::write(folder.path().join("no-ring"), "some other file").expect("a file");
    let alive = folder.path().join("with\tcontrol");
    let ring = ring_in(&alive);
    let _mirror = ring.mirror().expect("a mirror");

    let output = run(&["ls", folder.path().to_str().expect("UTF-8")]);
    let listed = out(&output);
    let rows: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{listed}");
    let of = |row: &[&str]| [row[1], row[2], row[3], row[5]].map(str::to_owned);
    assert_eq!(of(&rows[1]), ["dead", "0", "1", "1/8"]);
    assert_eq!(of(&rows[2]), ["alive", "1", "0", "0/8"]);
    assert!(rows[2][0].ends_with("with\u{fffd}control"), "{listed}");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));

    // By its name, and as JSON.
    let name = name("ls");
    let named = LineRing::create_named(&name, options()).expect("a ring");
    let listed = out(&run(&["ls", "-o", "json"]));
    let objects: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let found = objects.iter().find(|object| object["ring"] == name.as_str());
    assert_eq!(found.expect("it is found")["used"], true);
    // One without a name, by its descriptor.
    assert!(objects.iter().all(|object| object["ring"] != "no-ring"));
    drop(named);

    let output = run(&["ls", "/no/such/path"]);
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(1), 1));
    assert_eq!(
        err(&output),
        "linering: cannot read /no/such/path: No such file or directory (os error 2)\n"
    );
}

#[test]
fn one_without_a_name_is_found_by_its_descriptor() {
    let ring = LineRing::new(options()).expect("a ring");
    let label = name("unnamed");
    let mut mirror = ring.mirror_labelled(&label).expect("a mirror");
    mirror.write_line(b"said").expect("room");
    let listed = out(&run(&["ls", "-o", "json"]));
    let paths: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).ok()?;
            object["writers"]
                .as_array()?
                .iter()
                .find(|writer| writer["label"] == label.as_str())?;
            Some(object["ring"].as_str()?.to_owned())
        })
        .collect();
    let [path] = &paths[..] else { panic!("it is listed once: {listed}") };
    assert!(out(&run(&["tail", path])).ends_with(&format!("[{label}] said\n")));
}

#[test]
fn a_rings_numbers_are_shown() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = LineRing::create_file(&path, options().policy(Policy::DropNewest)).expect("a ring");
    let mut web = ring.mirror_labelled("web").expect("a mirror");
    for _ in 0..10 {
        web.write_line(b"line").expect("a mirror");
    }
    drop(ring.mirror_labelled("say \"hi\"").expect("a mirror"));
    let path = path.to_str().expect("UTF-8");
    let shown = out(&run(&["stat", path]));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with(&format!("{path}: 8 lines of up to ")), "{shown}");
    assert!(lines[1].contains("positions 0 to 8, 8 unread; found full 2 times"), "{shown}");
    assert!(lines[1].ends_with("no process reads it"), "{shown}");
    assert_eq!(lines[2], "writers: 1 open, 0 seats, 1 ended, 0 with an error, 0 died");
    let row: Vec<_> = lines[4].split_whitespace().collect();
    let process = std::process::id().to_string();
    assert_eq!(row, ["0", "web", &process, "open", "10", "2"]);

    let object: serde_json::Value =
        serde_json::from_str(&out(&run(&["stat", "-o", "json", path]))).expect("JSON");
    assert_eq!((&object["unread"], &object["reader"]), (&8.into(), &false.into()));
    assert_eq!(object["writers"][1]["state"], "eof");

    let metrics = out(&run(&["stat", "-o", "prometheus", path]));
    let label = "label=\"say \\\"hi\\\"\"";
    let expected = format!("linering_writer_lines_total{{ring=\"{path}\",writer=\"1\",{label}}} 0");
    assert!(metrics.lines().any(|line| line == expected), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        value.parse::<f64>().expect("a number");
        let name = name.split('{').next().expect("a name");
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{line}");
    }

    // It ends with the ring.
    let mut watch = Going::start(&["stat", "--watch", path]);
    assert!(watch.line().starts_with(path));
    drop((web, ring));
    assert_eq!(watch.end().0, Some(0));
}

#[test]
fn the_last_lines_are_shown_of_those_that_are_wanted() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = LineRing::create_file(&path, options().lines(32)).expect("a ring");
    let mut one = ring.mirror_labelled("one").expect("a mirror");
    let mut two = ring.mirror_labelled("two").expect("a mirror");
    two.set_stream(Stream::Stderr);
    for number in 0..12 {
        one.write_line(format!("Number {number}").as_bytes()).expect("room");
    }
    two.set_level(Level::Warn).write_line(b"odd").expect("room");
    two.set_level(Level::Error).write_line(b"failed").expect("room");
    let path = path.to_str().expect("UTF-8");
    let tail = |args: &[&str]| {
        let output = run(&[&["tail", "-o", "cat"], args, &[path]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tail(&[]).len(), 10);
    assert_eq!(tail(&["-n", "3"]), ["Number 11", "odd", "failed"]);
    assert_eq!(tail(&["-n", "1", "-g", "number"]), ["Number 11"]);
    assert_eq!(tail(&["-g", "nUmber"]), [""; 0]);
    assert_eq!(tail(&["-g", "number 1", "--exclude", "1$"]), ["Number 10"]);
    assert_eq!(tail(&["--worker", "two"]), ["odd", "failed"]);
    assert_eq!(tail(&["--stream", "stderr", "--level", "error"]), ["failed"]);
    assert_eq!(tail(&["--since", "1h", "-n", "1"]), ["failed"]);
    assert_eq!(tail(&["--until", "1h"]), [""; 0]);
    assert_eq!(tail(&["--since", "2999-01-01T00:00:00"]), [""; 0]);
    let cat = out(&run(&["cat", "-g", "odd", path]));
    assert_eq!(cat, "odd\n");

    for (args, what) in [
        (["-g", "("], "unclosed group"),
        (["--since", "soon"], "expected a time ago"),
        (["--level", "loud"], "level"),
    ] {
        let output = run(&[&["tail"], &args[..], &[path]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(what), "{}", err(&output));
    }
}

#[test]
fn lines_are_shown_as_a_template_says() {
    let folder = folder();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let [ring, other] = [ring_in(&one), ring_in(&two)];
    let mut web = ring.mirror_labelled("web").expect("a mirror");
    let mut db = other.mirror_labelled("db").expect("a mirror");
    web.set_level(Level::Warn).write_line(b"slow").expect("room");
    web.send_error_text("two\nlines\n").expect("room");
    db.set_stream(Stream::Stderr);
    let [one, two] = [&one, &two].map(|path| path.to_str().expect("UTF-8"));
    let shown = |command: &str, template: &str, ring: &str| {
        let output = run(&[command, "-o", template, ring]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output)
    };
    let template = "{{{label}}} {worker}/{stream}/{level}/{position}:{text}";
    let expected = "{web} 0/stdout/warn/0:slow\n\
                    {web} 0/stderr/error/1:two\n{web} 0/stderr/error/1:lines\n";
    for command in ["tail", "cat"] {
        assert_eq!(shown(command, template, one), expected);
    }
    let timed = shown("tail", "{time} {text}", one);
    let plain = out(&run(&["tail", one]));
    assert_eq!(timed.lines().next(), plain.replace("[web] ", "").lines().next());
    db.write_line(b"late").expect("room");
    let both = out(&run(&["tail", "-n1", "-o", "{ring}:{text}", one, two]));
    assert!(both.lines().any(|line| line == format!("{two}:late")), "{both}");

    for (template, told) in [
        (
            "{host}",
            "found {host}, expected {time}, {ring}, {worker}, {label}, {stream}, {level}, \
                    {position} or {text}",
        ),
        ("{time", "found a lone {, expected {{ for one brace"),
        ("long", "[possible values: cat, short, json]"),
    ] {
        let output = run(&["tail", "-o", template, one]);
        assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()));
        assert!(err(&output).contains(told), "{}", err(&output));
    }
}

#[test]
fn what_comes_is_shown_until_no_process_uses_the_ring() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = ring_in(&path);
    let mut mirror = ring.mirror_labelled("a").expect("a mirror");
    mirror.write_line(b"before").expect("room");
    let path = path.to_str().expect("UTF-8");
    let mut tail = Going::start(&["tail", "-f", "-o", "cat", path]);
    assert_eq!(tail.line(), "before\n");
    let mut reader = ring.reader().expect("no other");
    for number in 0..50 {
        mirror.write_line(number.to_string().as_bytes()).expect("room");
        // Taken at once.
        while reader.try_recv().expect("ours").is_some() {}
        assert_eq!(tail.line(), format!("{number}\n"));
    }
    drop((mirror, reader, ring));
    let (code, rest, notes) = tail.end();
    assert_eq!((code, rest.as_str()), (Some(0), ""));
    assert_eq!(notes, "linering: -- worker a ended --\n");
}

#[test]
fn of_more_lines_than_it_can_show_each_is_shown_or_counted() {
    let folder = folder();
    let path = folder.path().join("ring");
    let options = options().lines(16_384).policy(Policy::OverwriteOldest);
    let ring = LineRing::create_file(&path, options).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"first").expect("room");
    let path = path.to_str().expect("UTF-8");
    let mut tail = Going::start(&["tail", "-f", "-o", "{position}", path]);
    assert_eq!(tail.line(), "0\n");
    // It shows meanwhile what it can.
    let reads = std::thread::spawn(|| tail.end());
    const LINES: u64 = 1_000_000;
    for number in 1..LINES {
        mirror.write_line(number.to_string().as_bytes()).expect("never full");
    }
    drop((mirror, ring));
    let (code, shown, notes) = reads.join().expect("text");
    assert_eq!(code, Some(0), "{notes}");
    let positions: Vec<u64> = shown.lines().map(|line| line.parse().expect("a position")).collect();
    assert!(positions.is_sorted_by(|one, next| one < next));
    let passed: u64 = notes
        .lines()
        .filter_map(|note| note.strip_prefix("linering: -- ")?.split_once(" line"))
        .filter(|(_, rest)| rest.contains("passed by"))
        .map(|(count, _)| count.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(1 + positions.len() as u64 + passed, LINES, "{notes}");
}

#[test]
fn what_a_killed_run_has_left_ends_it() {
    let folder = folder();
    let path = folder.path().join("ring");
    let path = path.to_str().expect("UTF-8");
    let gate = Gate::new();
    let worker = format!("echo one; echo two; printf last; {}", gate.wait());
    let mut run = linering(&["run", "--file", path, "--", "sh", "-c", &worker]);
    let mut run = run.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut first = String::new();
    // Kept: run ends when what it prints is not read any more.
    let mut printed = BufReader::new(run.stdout.take().expect("a pipe"));
    printed.read_line(&mut first).expect("text");
    let mut tail = Going::start(&["tail", "-f", "-o", "cat", path]);
    assert_eq!((tail.line(), tail.line()), ("one\n".to_owned(), "two\n".to_owned()));
    run.kill().expect("a child");
    run.wait().expect("a child");
    let (code, rest, notes) = tail.end();
    assert_eq!(code, Some(0), "{notes}");
    assert!(rest.is_empty() || rest == "last\n", "{rest}");
    assert!(notes.contains("-- worker 0 is gone, no EOF --"), "{notes}");
}

#[test]
fn lines_of_several_rings_come_by_time_with_the_names_of_their_rings() {
    let folder = folder();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let rings = [ring_in(&one), ring_in(&two)];
    let mut mirrors = rings.each_ref().map(|ring| ring.mirror_labelled("w").expect("a mirror"));
    let mut written = Vec::new();
    for number in 0..6 {
        mirrors[number % 2].write_line(number.to_string().as_bytes()).expect("room");
        written.push(number.to_string());
        // Until the coarse clock has gone on: times are what they are merged by.
        let now = coarse();
        while coarse() == now {
            std::thread::yield_now();
        }
    }
    let paths = [&one, &two].map(|path| path.to_str().expect("UTF-8"));
    let shown = out(&run(&["tail", paths[0], paths[1]]));
    let said: Vec<_> = shown.lines().map(|line| line.rsplit_once(' ').expect("a tag").1).collect();
    assert_eq!(said, written);
    assert!(shown.lines().nth(1).expect("a line").contains(&format!("[{} w] 1", paths[1])));
    let shown = out(&run(&["tail", "-n", "1", "-o", "json", paths[0], paths[1]]));
    let ring: Vec<_> = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["ring"].clone())
        .collect();
    assert_eq!(ring, paths);
}

fn coarse() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
fn one_that_follows_the_name_waits_for_the_next_ring() {
    let folder = folder();
    let path = folder.path().join("ring");
    let text = path.to_str().expect("UTF-8");
    let mut tail = Going::start(&["tail", "-F", "-o", "cat", text]);
    for round in 0..3 {
        let ring = ring_in(&path);
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_line(format!("round {round}").as_bytes()).expect("room");
        assert_eq!(tail.line(), format!("round {round}\n"));
        drop((mirror, ring));
        fs::remove_file(&path).expect("a file");
    }
    tail.0.kill().expect("a child");
    let output = run(&["tail", "-f", text]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("No such file"), "{}", err(&output));
}

#[test]
fn one_whose_reader_goes_ends() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = ring_in(&path);
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("room");
    let mut tail = Going::start(&["tail", "-f", "-o", "cat", path.to_str().expect("UTF-8")]);
    assert_eq!(tail.line(), "line\n");
    let Going(mut child, pipe) = tail;
    drop(pipe);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

#[test]
fn a_script_waits_for_what_happens() {
    let folder = folder();
    let path = folder.path().join("ring");
    let text = path.to_str().expect("UTF-8");
    let code = |args: &[&str]| {
        let output = run(&[&["wait", text], args].concat());
        (output.status.code(), out(&output))
    };
    assert_eq!(code(&["--timeout", "100ms"]), (Some(124), String::new()));
    // For a ring that is made later, and for a line of it.
    let waits = Going::start(&["wait", text, "--for", r"line=port \d+$"]);
    let ring = ring_in(&path);
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"starts").expect("room");
    mirror.write_line(b"listens on Port 8080").expect("room");
    let (ended, said, notes) = waits.end();
    assert_eq!((ended, said.as_str()), (Some(0), "listens on Port 8080\n"), "{notes}");
    // What has happened already counts.
    assert_eq!(code(&["--for", "line=starts"]), (Some(0), "starts\n".to_owned()));
    assert_eq!(code(&["--for", "eof", "--timeout", "100ms"]).0, Some(124));
    let waits = Going::start(&["wait", text, "--for", "death", "--for", "error"]);
    mirror.send_error_text("oh no\n").expect("room");
    assert_eq!(waits.end().0, Some(0));
    let waits = Going::start(&["wait", text]);
    let line = Going::start(&["wait", text, "--for", "line=never said"]);
    drop(ring);
    assert_eq!(waits.end().0, Some(0));
    assert_eq!(line.end().0, Some(3));
    for args in [["--for", "tea"], ["--for", "line=("], ["--timeout", "soon"]] {
        assert_eq!(code(&args).0, Some(2));
    }
    // The last two may be about to become one, but not for ever.
    for bytes in ["no ring", "", "linering"] {
        fs::write(&path, bytes).expect("a file");
        assert_eq!(code(&[]).0, Some(1), "{bytes:?}");
    }
}
