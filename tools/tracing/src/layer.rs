//! [`RingLayer`]: events with their fields.

use std::fmt;
use std::thread;

use linering::{Format, Item, SharedWriter};
use serde_json::{Map, Value};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::level_of;

/// Records each event as one JSON object, with `target`, `message`, `fields`, `spans` (from the
/// outermost), `file`, `line` and `thread`, at the event's level. Level, time and writer are the
/// record's own.
///
/// ```
/// use linering::{LineRing, LogDrain, Options};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let ring = LineRing::new(Options::new())?;
/// let drain = LogDrain::new(ring.reader()?).format_with(tracing_linering::json).spawn()?;
/// let layer = tracing_linering::RingLayer::new(&ring.writer()?);
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || tracing::info!(port = 80, "listening"));
/// drain.stop(std::time::Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What the caller's `Display` and `Debug` give is put together before the ring is touched, so they
/// may log too. An event that cannot be recorded is counted by the writer, which tells the first
/// on standard error.
#[derive(Clone, Debug)]
pub struct RingLayer(SharedWriter);

impl RingLayer {
    /// Into this writer's ring.
    pub fn new(writer: &SharedWriter) -> Self {
        Self(writer.clone())
    }
}

/// A span's fields. A type of this layer's own: another layer's may be for a terminal, with
/// colours.
struct SpanFields(Map<String, Value>);

/// Collects fields.
struct Collector<'m>(&'m mut Map<String, Value>);

impl Collector<'_> {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collector<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Infinities and NaN are no numbers of JSON's.
        let number = serde_json::Number::from_f64(value).map(Value::Number);
        self.add(field, number.unwrap_or_else(|| value.to_string().into()));
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for RingLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collector(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        // Before the lock: the values' own code may log in this span.
        let mut fields = Map::new();
        values.record(&mut Collector(&mut fields));
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<SpanFields>() {
            known.0.extend(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Map::new();
        event.record(&mut Collector(&mut fields));
        let mut body = Map::new();
        body.insert("target".to_owned(), metadata.target().into());
        let message = fields.remove("message").unwrap_or_else(|| "".into());
        body.insert("message".to_owned(), message);
        if !fields.is_empty() {
            body.insert("fields".to_owned(), fields.into());
        }
        let spans: Vec<Value> = context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| {
                let mut shown = Map::new();
                shown.insert("name".to_owned(), span.name().into());
                if let Some(SpanFields(fields)) = span.extensions().get()
                    && !fields.is_empty()
                {
                    shown.insert("fields".to_owned(), fields.clone().into());
                }
                shown.into()
            })
            .collect();
        if !spans.is_empty() {
            body.insert("spans".to_owned(), spans.into());
        }
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            body.insert("file".to_owned(), file.into());
            body.insert("line".to_owned(), line.into());
        }
        let thread = thread::current();
        if let Some(name) = thread.name() {
            body.insert("thread".to_owned(), name.into());
        }
        // The first failure is told by the writer.
        let _ = self.0.record(level_of(metadata), Value::Object(body).to_string());
    }
}

/// A [`LogDrain`](linering::LogDrain)'s format for what [`RingLayer`] records: one JSON object a
/// line, the event's keys beside `time`, `level`, `worker` and the rest of [`Format::Json`]. What
/// is no such record comes as there.
pub fn json(item: &Item<'_>, page: &mut Vec<u8>) {
    let Some(line) = item.line() else { return Format::Json.add(page, item) };
    let body = serde_json::from_slice::<Map<String, Value>>(&line.bytes);
    let Ok(body) = body else { return Format::Json.add(page, item) };
    let mut head = line.clone();
    head.bytes = (&[][..]).into();
    let mut text = Vec::new();
    Format::Json.add(&mut text, &head.into());
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&text) else {
        return Format::Json.add(page, item);
    };
    object.remove("msg");
    for (key, value) in body {
        // What the ring says of a record, its writer does not change.
        object.entry(key).or_insert(value);
    }
    page.extend_from_slice(Value::Object(object).to_string().as_bytes());
    page.push(b'\n');
}
