//! `linering top` on a terminal, which it sets back however it ends.

use std::fs::OpenOptions;
use std::io::Read;
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use linering::{LineRing, Options};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::termios::LocalModes;

use crate::common::{Gate, err, folder, linering, out, text};
use crate::hostile::{damaged, sound_rings};
use crate::run::terminal::Terminal;

/// What takes the terminal, and what gives it back.
const TAKEN: &str = "\x1b[?1049h";
const BACK: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

/// The command on a terminal, and what that shows.
struct Top {
    child: Child,
    terminal: Terminal,
    modes: LocalModes,
    screen: vt100::Parser,
    /// All that was written to it.
    written: String,
    began: Instant,
}

impl Top {
    fn start(ring: &Path) -> Self {
        let terminal = Terminal::new();
        terminal.resize(80, 24);
        let modes = terminal.modes();
        let mut command = linering(&["top", "--every", "50ms", text(ring)]);
        terminal.controls(&mut command);
        command.stdout(terminal.open()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        let screen = vt100::Parser::new(cells(24), cells(80), 0);
        Self { child, terminal, modes, screen, written: String::new(), began: Instant::now() }
    }

    /// Waits until the terminal shows this.
    fn shows(&mut self, what: &str) -> String {
        loop {
            let shown = self.screen.screen().contents();
            if shown.contains(what) {
                return shown;
            }
            self.read();
        }
    }

    /// Reads what is drawn, for a minute at most.
    fn read(&mut self) {
        let shown = self.screen.screen().contents();
        assert!(self.began.elapsed() < Duration::from_secs(60), "it shows\n{shown}");
        let bytes = self.terminal.read_some();
        self.screen.process(&bytes);
        self.written.push_str(&String::from_utf8_lossy(&bytes));
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child");
    }

    /// Its code and what it said, once it has ended and the terminal is as it was.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("a child").code();
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        self.written.push_str(&self.terminal.rest());
        self.is_back();
        (code, said)
    }

    /// Whether the terminal is as it was.
    #[track_caller]
    fn is_back(&self) {
        let last = self.written.rfind(BACK).expect("it was given back");
        assert!(self.written[last..].contains(CURSOR), "{:?}", &self.written[last..]);
        assert!(self.written.rfind(TAKEN).expect("it was taken") < last);
        assert_eq!(self.terminal.modes(), self.modes);
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size")
}

/// A ring with a writer, in a file.
fn ring(path: &Path) -> (LineRing, linering::LineProcMirror) {
    let options = Options::new().lines(64).line_bytes(128);
    let ring = LineRing::create_file(path, options).expect("a ring");
    let mut mirror = ring.mirror_labelled("web").expect("a mirror");
    mirror.write_line(b"it begins").expect("room");
    (ring, mirror)
}

#[test]
fn it_shows_writers_and_their_last_lines_and_ends_with_a_key() {
    let folder = folder();
    let path = folder.path().join("ring");
    let (ring, mut web) = ring(&path);
    let mut top = Top::start(&path);
    let shown = top.shows("it begins");
    assert!(shown.contains("no process reads it") && shown.contains("1/64"), "{shown}");
    let row = shown.lines().find(|line| line.contains(" web ")).expect("a row");
    assert_eq!(row.split_whitespace().nth(3), Some("open"), "{shown}");
    web.write_line("two\x1b[31m red".as_bytes()).expect("room");
    top.shows("[31m red");
    let _db = ring.mirror_labelled("db").expect("a mirror");
    top.shows(" db ");
    top.terminal.write(b"/web\r");
    top.shows("/web (Esc: all)");
    assert!(!top.screen.screen().contents().contains(" db "));
    top.terminal.write(b"p");
    top.shows("PAUSED");
    top.terminal.write(b"h");
    top.shows("choose a writer");
    top.terminal.write(b"hpq");
    assert_eq!(top.end(), (Some(0), String::new()));
}

#[test]
fn it_ends_by_signals_and_keys_with_the_terminal_as_it_was() {
    let folder = folder();
    let path = folder.path().join("ring");
    let _ring = ring(&path);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut top = Top::start(&path);
        top.shows("it begins");
        top.send(signal);
        assert_eq!(top.end(), (Some(130), String::new()), "{signal:?}");
    }
    let mut top = Top::start(&path);
    top.shows("it begins");
    top.terminal.write(b"\x03");
    assert_eq!(top.end(), (Some(130), String::new()));
}

#[test]
fn it_fits_a_terminal_that_is_resized() {
    let folder = folder();
    let path = folder.path().join("ring");
    let _ring = ring(&path);
    let mut top = Top::start(&path);
    top.shows("it begins");
    for (columns, rows) in [(60, 10), (120, 40), (20, 5), (80, 24)] {
        top.screen.screen_mut().set_size(cells(rows), cells(columns));
        top.terminal.resize(columns, rows);
        loop {
            let screen = top.screen.screen();
            let last = screen.contents_between(rows - 1, 0, rows - 1, columns);
            let before = screen.contents_between(rows - 2, 0, rows - 2, columns);
            if last.starts_with("q quit  h help  s so") && before.starts_with("it begins") {
                break;
            }
            top.read();
        }
    }
    top.terminal.write(b"q");
    assert_eq!(top.end().0, Some(0));
}

#[test]
fn a_shell_stops_it_and_lets_it_go_on() {
    let folder = folder();
    let path = folder.path().join("ring");
    let _ring = ring(&path);
    let mut top = Top::start(&path);
    top.shows("it begins");
    for stops in 0..2 {
        match stops {
            0 => top.terminal.write(b"\x1a"),
            _ => top.send(Signal::TSTP),
        }
        let child = Pid::from_child(&top.child);
        let (_, status) = waitpid(Some(child), WaitOptions::UNTRACED)
            .expect("a child")
            .expect("it does not only look");
        assert!(status.stopped());
        while !top.written.contains(BACK) {
            top.read();
        }
        top.is_back();
        top.written.clear();
        top.send(Signal::CONT);
        while !top.written.contains("begins") {
            top.read();
        }
        assert!(top.written.contains(TAKEN));
        assert_ne!(top.terminal.modes(), top.modes);
    }
    top.terminal.write(b"q");
    assert_eq!(top.end().0, Some(0));
}

#[test]
fn what_becomes_of_the_ring_is_said() {
    let folder = folder();
    let path = folder.path().join("ring");
    let (first, mirror) = ring(&path);
    let mut top = Top::start(&path);
    top.shows("it begins");
    std::fs::remove_file(&path).expect("a file");
    drop((mirror, first));
    let shown = top.shows("no process uses it");
    assert!(shown.contains("1 ended"), "{shown}");
    top.terminal.write(b"q");
    assert_eq!(top.end().0, Some(0));

    // One that another process uses, which this one cuts short.
    let gate = Gate::new();
    let mut run = linering(&["run", "--file", text(&path), "--", "sh", "-c", &gate.wait()]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while LineRing::open_file(&path).is_err() {
        std::thread::yield_now();
    }
    let mut top = Top::start(&path);
    top.shows("a process reads it");
    OpenOptions::new().write(true).open(&path).expect("a file").set_len(0).expect("a file");
    let (code, said) = top.end();
    let _ = kill_process(Pid::from_child(&run), Signal::TERM);
    run.wait().expect("a child");
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("linering: cannot read {}: ", text(&path))), "{said}");
}

#[test]
fn a_damaged_ring_is_shown_or_refused() {
    let folder = folder();
    let sound = sound_rings(folder.path());
    for seed in 1..=150 {
        let path = folder.path().join(format!("damaged-{seed}"));
        std::fs::write(&path, damaged(&sound, seed)).expect("a file");
        let mut top = Top::start(&path);
        let is_over = |top: &mut Top| top.child.try_wait().expect("a child").is_some();
        while !is_over(&mut top) && !top.screen.screen().contents().contains("q quit") {
            if top.terminal.has_some() {
                top.read();
            }
        }
        if is_over(&mut top) {
            assert_eq!(top.child.wait().expect("a child").code(), Some(1), "ring {seed}");
            continue;
        }
        top.terminal.write(b"q");
        assert_eq!(top.end(), (Some(0), String::new()), "ring {seed}");
    }
}

#[test]
fn a_terminal_that_hangs_up_ends_it() {
    let folder = folder();
    let path = folder.path().join("ring");
    let _ring = ring(&path);
    let mut top = Top::start(&path);
    top.shows("it begins");
    let Top { mut child, terminal, .. } = top;
    drop(terminal);
    let code = child.wait().expect("a child").code();
    assert!(matches!(code, Some(1 | 130)), "{code:?}");
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let folder = folder();
    let path = folder.path().join("ring");
    let _ring = ring(&path);
    let output = linering(&["top", text(&path)]).output().expect("it starts");
    assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
    assert_eq!(
        err(&output),
        "linering: found a standard input that is no terminal, expected one: linering stat \
         --watch prints the same numbers anywhere\n"
    );
    let terminal = Terminal::new();
    let output = linering(&["top", text(&path)]).stdin(terminal.open()).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("a standard output that is no terminal"), "{}", err(&output));
    assert_eq!(terminal.rest(), "");
    let mut command = linering(&["top", "/no/ring"]);
    command.stdin(terminal.open()).stdout(terminal.open());
    let output = command.output().expect("it starts");
    assert_eq!((output.status.code(), terminal.rest().as_str()), (Some(1), ""));
    assert!(err(&output).contains("cannot read /no/ring"), "{}", err(&output));
}
