use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::keys::{Key, keys};
use super::super::sample::{Sample, Seen};
use super::super::state::Asked;
use super::*;

/// A ring of four writers, after so many looks.
fn state(looks: u64) -> State {
    let mut state = State::new("builds".to_owned(), 0.25);
    for look in 0..looks {
        let writer = |id: u32, label: &str, what, rate: u64, length: u64| WriterSample {
            id,
            label: label.to_owned(),
            process: (what != "waiting").then_some(71_200 + id),
            state: what,
            lines: look * rate / 4,
            dropped: u64::from(id == 2) * look * 100,
            seen: Seen {
                lines: 10.min(rate),
                bytes: 10.min(rate) * length,
                last: (rate > 0).then(|| format!("request {look} of {label}")),
            },
        };
        state.add(Sample {
            seconds: look as f64 / 4.0,
            is_used: true,
            has_reader: true,
            policy: "block",
            age: "12m".to_owned(),
            size: 1_887_436,
            room: 8192,
            unread: 2048 + 512 * (look % 3),
            overwritten: 0,
            lines: look * (1_200_000 + 800 + 40) / 4,
            live: 3,
            seats: 1,
            ended: 2,
            errors: 0,
            deaths: 1,
            found_full: 311,
            writers: vec![
                writer(1, "web-1", "open", 800, 95),
                writer(2, "web-2", "open", 1_200_000, 80),
                writer(3, "a-worker-with-a-long-name", "gone", 40 * (look % 4), 20),
                writer(4, "late", "waiting", 0, 0),
            ],
        });
    }
    state
}

/// What a terminal of this size shows.
fn shown(state: &mut State, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("no terminal");
    terminal.draw(|frame| draw(frame, state)).expect("no terminal");
    let buffer = terminal.backend().buffer();
    let line = |row| {
        let cells = (0..columns).map(|column| buffer[(column, row)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    (0..rows).map(line).collect()
}

fn typed(state: &mut State, text: &str) -> Vec<Asked> {
    keys(text.as_bytes()).into_iter().map(|key| state.key(key)).collect()
}

/// The writers, in the order in which they are shown.
fn order(state: &State) -> Vec<u32> {
    state.rows().iter().map(|(writer, _)| writer.id).collect()
}

#[track_caller]
fn is(found: &str, expected: &str) {
    assert!(found == expected, "found\n{found}expected\n{expected}");
}

#[test]
fn a_terminal_of_80_columns_shows_all_of_it() {
    is(&shown(&mut state(12), 80, 24), GOLD_80);
}

#[test]
fn a_small_one_shows_what_it_has_room_for() {
    is(&shown(&mut state(12), 50, 10), GOLD_50);
}

#[test]
fn the_help_stands_above_it() {
    let mut state = state(3);
    typed(&mut state, "h");
    is(&shown(&mut state, 80, 24), GOLD_HELP);
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut state = state(5);
    for helping in [false, true] {
        state.is_helping = helping;
        for columns in (1..100).step_by(9) {
            for rows in (1..30).step_by(4) {
                shown(&mut state, columns, rows);
            }
        }
    }
    shown(&mut state, 500, 200);
}

#[test]
fn before_the_first_look_it_knows_nothing_and_says_so() {
    let mut state = State::new("web".to_owned(), 1.0);
    let text = shown(&mut state, 80, 24);
    assert!(text.contains("bytes/s not known yet"), "{text}");
    assert!(text.contains("no writer is open"), "{text}");
}

#[test]
fn writers_are_sorted_filtered_and_chosen() {
    let mut state = state(12);
    assert_eq!(order(&state), [2, 1, 3, 4]);
    typed(&mut state, "r");
    assert_eq!(order(&state), [4, 3, 1, 2]);
    typed(&mut state, "rsss");
    assert_eq!(state.sort, Sort::State);
    assert_eq!(order(&state), [3, 1, 2, 4]);
    typed(&mut state, "s");
    assert_eq!(order(&state), [3, 4, 1, 2]);
    typed(&mut state, "SSSS");
    assert_eq!(state.sort, Sort::Lines);
    typed(&mut state, "S");
    assert_eq!((state.sort, order(&state)), (Sort::Writer, vec![1, 2, 3, 4]));

    // The chosen one stays, wherever it goes.
    let chosen = |state: &State| {
        let rows = state.rows();
        state.chosen(&rows).map(|row| rows[row].0.id)
    };
    typed(&mut state, "jj");
    assert_eq!(chosen(&state), Some(3));
    typed(&mut state, "r");
    assert_eq!(chosen(&state), Some(3));
    typed(&mut state, "\x1b[A\x1b[A\x1b[A");
    assert_eq!(chosen(&state), Some(4));
    state.key(Key::End);
    assert_eq!(chosen(&state), Some(1));
    state.page = 2;
    typed(&mut state, "\x1b[5~");
    assert_eq!(chosen(&state), Some(3));

    // Of those that the filter leaves; keys are letters then.
    assert_eq!(typed(&mut state, "/WEBq"), [Asked::Nothing; 5]);
    assert_eq!(order(&state), [0; 0]);
    assert_eq!(chosen(&state), None);
    let text = shown(&mut state, 80, 24);
    assert!(text.contains("the filter leaves none") && text.contains("/WEBq█"), "{text}");
    typed(&mut state, "\x7f\r");
    assert_eq!((order(&state), state.is_typing), (vec![2, 1], false));
    typed(&mut state, "\x1b");
    assert_eq!(order(&state).len(), 4);
    typed(&mut state, "/gone\x1b");
    assert_eq!((order(&state).len(), state.filter.as_str()), (4, ""));
    typed(&mut state, "/gone\r");
    assert_eq!(order(&state), [3]);
}

#[test]
fn keys_ask_for_an_end() {
    let mut state = state(2);
    assert_eq!(typed(&mut state, "q"), [Asked::Quit]);
    assert_eq!(typed(&mut state, "hq"), [Asked::Nothing; 2]);
    assert_eq!(typed(&mut state, "\x03"), [Asked::Interrupt]);
    assert_eq!(typed(&mut state, "/\x03"), [Asked::Nothing, Asked::Interrupt]);
    assert_eq!(typed(&mut state, "\x1a\x0c"), [Asked::Suspend, Asked::Redraw]);
}

#[test]
fn numbers_take_few_characters() {
    for (value, expected) in [
        (0.0, "0"),
        (9999.0, "9999"),
        (9999.6, "10.0k"),
        (123_456.0, "123.5k"),
        (999_960.0, "1.0M"),
        (3.2e7, "32.0M"),
        (1.8e19, "18.0E"),
        (1e30, "1000000000000.0E"),
        (f64::NAN, "0"),
    ] {
        assert_eq!(number(value), expected);
    }
}

#[test]
fn a_writer_that_is_gone_is_forgotten_and_a_rate_is_that_of_the_last_second() {
    let mut state = state(12);
    let rate = |state: &State, id| {
        let rows = state.rows();
        rows.iter().find(|(writer, _)| writer.id == id).map(|(_, track)| track.rate())
    };
    assert_eq!(rate(&state, 1), Some(800.0));
    let mut next = state.now.clone();
    next.writers.remove(1);
    next.seconds += 1.0;
    state.add(next);
    assert_eq!((rate(&state, 2), order(&state).len()), (None, 3));
    // Half of the time without any.
    assert!(rate(&state, 1).is_some_and(|rate| (300.0..500.0).contains(&rate)));
}

/// A terminal of 80 by 24.
const GOLD_80: &str = "\
builds: a process reads it; block, 1.8 MiB, made 12m ago
1.2M lines/s      ███████████  ~91.6 MiB/s  sampled each 0.25 s
unread ████████░░░░░░░░░░░░ 3072/8192 (38 %)  lost 1100  found full 311 times
writers: 3 open, 1 seats, 2 ended, 0 with an error, 1 died
 WRITER LABEL          PID STATE     LINES/S▾   ~BYTES/S   LOST
      2 web-2        71202 open          1.2M      96.0M   1100      ███████████
      1 web-1        71201 open           800      76.0k      0      ███████████
      3 a-worker-w   71203 gone           120       2400      0      ▂▃▄▁▄▅▆▁▆▇█
      4 late             - waiting          0          0      0      ▁▁▁▁▁▁▁▁▁▁▁












3300000 lines of web-2; the last that was seen:
request 11 of web-2
q quit  h help  s sort  r reverse  p pause  ↑↓ choose  / filter
";

/// One of 50 by 10.
const GOLD_50: &str = "\
builds: a process reads it; block, 1.8 MiB, made …
1.2M lines/s      ███████████  ~91.6 MiB/s  sampl…
unread ██░░ 3072/8192 (38 %)  lost 1100  found fu…
writers: 3 open, 1 seats, 2 ended, 0 with an erro…
LABEL         STATE     LINES/S▾   ~BYTES/S   LOST
web-2         open          1.2M      96.0M   1100
web-1         open           800      76.0k      0
3300000 lines of web-2; the last that was seen:
request 11 of web-2
q quit  h help  s sort  r reverse  p pause  ↑↓ cho
";

/// The help.
const GOLD_HELP: &str = "\
builds: a process reads it; block, 1.8 MiB, made 12m ago
1.2M lines/s               ██  ~91.6 MiB/s  sampled each 0.25 s
unread ████████░░░░░░░░░░░░ 3072/8192 (38 %)  lost 200  found full 311 times
writers: 3 open, 1 seats, 2 ended, 0 with an error, 1 died
 WRITER LA┌ help ────────────────────────────────────────────────────┐
      2 we│s, S    sort by the next, the last column                 │        ██
      1 we│r       turn the order around                             │        ██
      3 a-│/       show the writers alone whose label, number        │        ▃█
      4 la│        or state has what is typed; Esc: all              │        ▁▁
          │p       pause, and go on                                  │
          │up, down, k, j, pages, Home, End                          │
          │        choose a writer                                   │
          │h, ?    this help                                         │
          │q, ^C   quit                                              │
          │                                                          │
          │What this shows is sampled. Lines/s are counted by the    │
          │ring. Bytes are not: their number is estimated, from the  │
          │length of the lines that came last. LOST is what a writer │
          │has dropped. Short lines that share a slot count as one.  │
          └──────────────────────────────────────────────────────────┘

600000 lines of web-2; the last that was seen:
request 2 of web-2
q quit  h help  s sort  r reverse  p pause  ↑↓ choose  / filter
";
