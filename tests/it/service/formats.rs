//! No record looks like two in the text, or like another writer's.

use linering::{Format, Item, Level, LineRing, Options, Policy, Timestamps};

use super::ring;

/// All that a writer may put into a record to look like another.
const FORGERIES: &[&str] = &[
    "one\n2026-01-01T00:00:00.000Z ERROR [root] forged",
    "one\r2026-01-01T00:00:00.000Z ERROR [root] forged",
    "one\r\n    | forged",
    "one\u{85}forged",
    "one\u{2028}forged\u{2029}forged",
    "one\u{b}forged\u{c}forged",
    "one\u{1b}[2K\u{1b}[1Gforged",
    "one\u{8}\u{8}\u{8}forged",
    "\n\n\n",
    "    | like a further line",
    "\",\"level\":\"error\",\"msg\":\"forged",
];

fn items(ring: &LineRing) -> Vec<Item<'static>> {
    ring.reader().expect("no other").map(|item| item.expect("ours")).collect()
}

fn page(format: Format, items: &[Item<'_>]) -> String {
    let mut page = Vec::new();
    items.iter().for_each(|item| format.add(&mut page, item));
    String::from_utf8(page).expect("UTF-8")
}

#[test]
fn no_record_forges_a_line() {
    for forgery in FORGERIES {
        for is_raw_line in [false, true] {
            let ring = ring(Policy::Block, 64);
            let mut mirror = ring.mirror_labelled("guest").expect("a mirror");
            if is_raw_line {
                mirror.write_line(forgery.as_bytes()).expect("room");
            } else {
                mirror.record(Level::Info, forgery).expect("room");
            }
            mirror.record(Level::Info, "next").expect("room");
            drop(mirror);
            let items: Vec<_> =
                items(&ring).into_iter().filter(|item| item.line().is_some()).collect();

            let text = page(Format::Text, &items);
            let begun: Vec<_> =
                text.split('\n').filter(|line| !line.starts_with("    | ")).collect();
            let [first, next, ""] = begun[..] else { panic!("{text:?}") };
            assert!(first.contains(" [guest] ") || first.ends_with(" [guest] "), "{text:?}");
            assert!(next.ends_with(" [guest] next"), "{text:?}");
            let is_obeyed = |c: char| c.is_control() && c != '\n' || "\u{2028}\u{2029}".contains(c);
            assert!(!text.contains(is_obeyed), "{text:?}");

            let json = page(Format::Json, &items);
            let objects: Vec<_> = json.lines().collect();
            assert_eq!(objects.len(), 2, "{json:?}");
            let object: serde_json::Value = serde_json::from_str(objects[0]).expect("JSON");
            let expected = forgery.strip_suffix('\n').filter(|_| !is_raw_line).unwrap_or(forgery);
            let found = object["msg"].as_str().expect("a string");
            assert_eq!(found.trim_end_matches('\n'), expected.trim_end_matches('\n'));
            assert_eq!((&object["label"], &object["worker"]), (&"guest".into(), &0.into()));
            assert!(!json.contains(is_obeyed), "{json:?}");
        }
    }
}

#[test]
fn each_format_tells_losses_and_ends() {
    let ring = ring(Policy::DropNewest, 2);
    let mut mirror = ring.mirror_labelled("busy").expect("a mirror");
    for _ in 0..5 {
        mirror.write_line(b"line").expect("no error");
    }
    mirror.send_error_text("").expect("no error");
    let items = items(&ring);
    let text = page(Format::Text, &items);
    assert_eq!(text.matches(" WARN  -- worker busy: ").count(), 1, "{text}");
    assert_eq!(text.matches(" ERROR -- worker busy ended with an error --\n").count(), 1, "{text}");
    let json = page(Format::Json, &items);
    let objects = json.lines().map(serde_json::from_str::<serde_json::Value>);
    let events: Vec<_> = objects
        .map(|object| object.expect("JSON"))
        .filter(|object| object["event"].is_string())
        .map(|object| (object["event"].clone(), object["level"].clone(), object["label"].clone()))
        .collect();
    let event = |event: &str, level: &str| (event.into(), level.into(), "busy".into());
    assert_eq!(events, [event("lost", "warn"), event("ended", "error")]);
}

#[test]
fn bytes_that_are_no_text_are_shown_and_kept_by_the_raw_format() {
    let options = Options::new().timestamps(Timestamps::Off);
    let ring = LineRing::new(options).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.record(Level::Warn, b"\xff\0\xc3\n\x80").expect("room");
    mirror.write_packed(b"one\ntwo\n").expect("room");
    mirror.write_line(b"").expect("room");
    drop(mirror);
    let items = items(&ring);
    let mut raw = Vec::new();
    items[..3].iter().for_each(|item| Format::Raw.add(&mut raw, item));
    assert_eq!(raw, b"\xff\0\xc3\n\x80\none\ntwo\n\n");
    let text = page(Format::Text, &items[..3]);
    assert_eq!(text, "WARN  [0] \\xff\\u{0}\\xc3\n    | \\x80\n[0] one\n[0] two\n[0] \n");
}

#[test]
#[cfg(feature = "serde")]
fn items_are_serialised_with_their_words() {
    let ring = LineRing::new(Options::new().timestamps(Timestamps::Off)).expect("a ring");
    let mut mirror = ring.mirror_labelled("api").expect("a mirror");
    mirror.record(Level::Warn, "text").expect("room");
    mirror.record(Level::Warn, b"\xff").expect("room");
    drop(mirror);
    let items = serde_json::to_value(items(&ring)).expect("values");
    let line = &items[0]["line"];
    for (key, value) in [("level", "warn"), ("stream", "log"), ("kind", "line"), ("bytes", "text")]
    {
        assert_eq!(line[key], value);
    }
    assert_eq!(items[1]["line"]["bytes"][0], 255);
    assert_eq!(items[2]["ended"]["end"], "eof");
    assert!(items[2]["ended"]["exit"].is_null());
    assert_eq!(serde_json::to_value(ring.counts()).expect("a value")["eofs"], 1);
}
