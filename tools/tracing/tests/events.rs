//! Events come at their levels, one record each, from wherever a service has them.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use linering::{Ends, Format, Item, Level, Line, LineRing, LogDrain, Options, Sink};
use serde_json::{Value, json};
use tracing::{Subscriber, debug, error, info, info_span, trace, warn};
use tracing_linering::{RingLayer, RingWriter};
use tracing_subscriber::fmt as text;
use tracing_subscriber::layer::SubscriberExt;

/// For what comes as soon as a thread runs.
const LIMIT: Duration = Duration::from_secs(600);

fn ring() -> LineRing {
    LineRing::new(Options::new()).expect("a ring")
}

fn lines(ring: &LineRing) -> Vec<Line<'static>> {
    let items = ring.reader().expect("no other").map(|item| item.expect("ours"));
    items.filter_map(|item| item.line().cloned()).collect()
}

fn as_text(ring: &LineRing) -> impl Subscriber + Send + Sync + use<> {
    let writer = RingWriter::new(&ring.writer().expect("a writer"));
    let format = text::layer().with_ansi(false).without_time().with_writer(writer);
    tracing_subscriber::registry().with(format)
}

fn as_records(ring: &LineRing) -> impl Subscriber + Send + Sync + use<> {
    tracing_subscriber::registry().with(RingLayer::new(&ring.writer().expect("a writer")))
}

fn body(line: &Line<'_>) -> Value {
    serde_json::from_slice(&line.bytes).expect("an object")
}

#[test]
fn an_event_is_one_record_of_its_level_whatever_lines_it_has() {
    let ring = ring();
    tracing::subscriber::with_default(as_text(&ring), || {
        error!("out of luck");
        warn!(disk = "full", "two\nlines");
        info!("fine");
        debug!("finer");
        trace!("finest");
    });
    let found = lines(&ring);
    let levels: Vec<_> = found.iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]);
    assert_eq!(found[1].to_string(), " WARN events: two\nlines disk=\"full\"");
}

#[test]
fn a_record_has_the_fields_of_its_event_and_of_its_spans() {
    let ring = ring();
    tracing::subscriber::with_default(as_records(&ring), || {
        let outer = info_span!("request", id = 7, user = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("user", "ann");
        let _inner = info_span!("query").entered();
        info!(target: "api", rows = 3_u64, cached = false, load = f64::NAN, "served\n{}", "all");
    });
    let found = lines(&ring);
    let [line] = &found[..] else { panic!("{found:#?}") };
    let body = body(line);
    assert_eq!(line.level, Level::Info);
    assert_eq!((&body["target"], &body["message"]), (&json!("api"), &json!("served\nall")));
    assert_eq!(body["fields"], json!({"rows": 3, "cached": false, "load": "NaN"}));
    let request = json!({"name": "request", "fields": {"id": 7, "user": "ann"}});
    assert_eq!(body["spans"], json!([request, {"name": "query"}]));
    assert_eq!(body["file"], json!("tests/events.rs"));
    assert!(body["thread"].is_string());

    // As a drain prints it.
    let mut page = Vec::new();
    tracing_linering::json(&Item::from(line.clone()), &mut page);
    let object: Value = serde_json::from_slice(&page).expect("an object in a line");
    assert_eq!((&object["level"], &object["message"]), (&json!("info"), &body["message"]));
    assert!(object["time"].is_string() && object.get("msg").is_none(), "{object}");
    assert_eq!(page.iter().filter(|byte| **byte == b'\n').count(), 1);
    for other in ["no object", "[1]", "{\"level\":\"error\",\"time\":1,\"worker\":9}"] {
        let mut page = Vec::new();
        tracing_linering::json(&Line::new(other).into(), &mut page);
        let object: Value = serde_json::from_slice(&page).expect("an object in a line");
        assert_eq!(object["worker"], json!(0), "{other}");
    }
}

/// A formatter of another layer keeps a span's fields too, with colours.
#[test]
fn layers_do_not_mix_their_spans() {
    let ring = ring();
    let coloured = text::layer().with_ansi(true).with_writer(io::sink);
    let records = RingLayer::new(&ring.writer().expect("a writer"));
    let subscriber = tracing_subscriber::registry().with(records).with(coloured);
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("request", id = 7, late = tracing::field::Empty).entered();
        span.record("late", 1);
        info!("served");
    });
    let body = body(&lines(&ring)[0]);
    assert_eq!(body["spans"], json!([{"name": "request", "fields": {"id": 7, "late": 1}}]));
}

struct Logs;

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!("inner");
        f.write_str("shown")
    }
}

#[test]
fn what_an_event_shows_may_log() {
    let ring = ring();
    tracing::subscriber::with_default(as_records(&ring), || {
        let _span = info_span!("span", field = %Logs).entered();
        info!("{Logs}");
    });
    let messages: Vec<_> = lines(&ring).iter().map(|line| body(line)["message"].clone()).collect();
    assert!(messages.contains(&json!("shown")), "{messages:?}");
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        warn!("it ends");
    }
}

/// Each in a program of its own: the subscriber is the whole process's.
fn in_a_child(work: impl FnOnce() -> u8) {
    // SAFETY: the child runs `work`, which uses no lock that a thread of the harness has, and
    // leaves.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", io::Error::last_os_error()),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
            // SAFETY: runs nothing of this process's.
            unsafe { libc::_exit(code.into()) }
        }
        child => {
            let mut status = 0;
            // SAFETY: a child of ours; the integer lives during the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child's check of that number failed");
        }
    }
}

/// (The formatter of `tracing_subscriber::fmt` cannot: its buffer is gone by then, and the thread's
/// panic ends the process. So these are records.)
#[test]
fn four_hundred_threads_log_while_they_end() {
    in_a_child(|| {
        let (ring, kept) = (ring(), Kept::default());
        let drain = LogDrain::new(ring.reader().expect("no other")).to(kept.clone());
        let drain = drain.format_with(tracing_linering::json).spawn().expect("a thread");
        if tracing::subscriber::set_global_default(as_records(&ring)).is_err() {
            return 1;
        }
        let barrier = Arc::new(Barrier::new(400));
        let threads: Vec<_> = (0..400)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    AT_END.set(Some(AtEnd));
                    barrier.wait();
                    info!("it begins");
                })
            })
            .collect();
        for thread in threads {
            if thread.join().is_err() {
                return 2;
            }
        }
        drain.stop(LIMIT).expect("ours");
        let text = kept.text();
        u8::from((text.matches("it begins").count(), text.matches("it ends").count()) != (400, 400))
            * 3
    });
}

#[test]
fn events_of_a_forked_child_come_into_its_parents_log() {
    in_a_child(|| {
        let kept = Kept::default();
        let (writer, guard) = tracing_linering::non_blocking(kept.clone()).expect("a log");
        let subscriber = text().with_ansi(false).with_writer(writer).finish();
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            return 1;
        }
        info!("from the parent");
        in_a_child(|| {
            for number in 0..5 {
                info!("from the child {number}");
            }
            0
        });
        guard.stop(LIMIT).expect("ours");
        u8::from(kept.text().lines().filter(|line| line.contains("from the")).count() != 6) * 2
    });
}

/// A sink that traces: an exporter whose client does.
#[test]
fn a_sink_that_traces_does_not_feed_itself() {
    struct Traces(Kept);
    impl Sink for Traces {
        fn put(&mut self, text: &[u8]) -> io::Result<usize> {
            info!("sent");
            self.0.put(text)
        }
    }
    in_a_child(|| {
        let ring = ring();
        let kept = Kept::default();
        let drain = LogDrain::new(ring.reader().expect("no other")).to(Traces(kept.clone()));
        let drain = drain.format(Format::Raw).ends(Ends::None).spawn().expect("a thread");
        if tracing::subscriber::set_global_default(as_text(&ring)).is_err() {
            return 1;
        }
        info!("one");
        let totals = drain.stop(LIMIT).expect("ours");
        u8::from(totals.lines != 1 || kept.text() != " INFO events: one\n") * 2
    });
}

/// A sink that keeps what it gets.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Sink for Kept {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(text);
        Ok(text.len())
    }
}
