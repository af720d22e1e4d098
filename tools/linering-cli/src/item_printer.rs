//! Prints a ring's items for `cat` and `recover`: lines on stdout, losses and ends on stderr, in
//! their places.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use linering::{End, Item};

use crate::failure::{Failure, note};
use crate::output::{Clock, Format, LineForm, Look, Sink, Times, is_colored, own};

/// Prints items.
#[derive(Debug)]
pub struct ItemPrinter {
    sink: Sink,
    look: Look,
    clock: Clock,
    form: LineForm,
}

/// What a writer is called: by its label, or by its number.
pub fn name_of((worker, label): (u32, &str)) -> String {
    match (worker, label) {
        (u32::MAX, "") => "?".to_owned(),
        (worker, "") => worker.to_string(),
        (_, label) => label.to_owned(),
    }
}

impl ItemPrinter {
    pub fn new(form: LineForm, color: clap::ColorChoice) -> Result<Self, Failure> {
        let out = io::stdout();
        let format = form.format();
        let look = Look {
            format,
            timestamps: format == Format::Short,
            color: is_colored(color, &out),
            caret: out.is_terminal(),
            sgr: color == clap::ColorChoice::Always,
        };
        Ok(Self {
            sink: Sink::new("the standard output", look, own(&out)?),
            look,
            clock: Clock::new(Times::Utc),
            form,
        })
    }

    pub fn item(&mut self, item: &Item<'_>) {
        self.item_of(None, item);
    }

    /// An item of one of several rings, by its name.
    pub fn item_of(&mut self, ring: Option<&str>, item: &Item<'_>) {
        let line = match item {
            Item::Line(line) => line,
            // No process wrote there: `run` gives each worker a seat for programs that know rings.
            Item::Ended(ended) if ended.end == End::Cancelled => return,
            _ => return self.note(ring, item),
        };
        let Self { sink, look, clock, form } = self;
        let name = name_of((line.writer_id, &line.label));
        let tag = match (look.format, ring) {
            (Format::Short, None) => format!("[{name}] "),
            (Format::Short, Some(ring)) => format!("[{ring} {name}] "),
            _ => String::new(),
        };
        sink.add(|page| {
            if let LineForm::Template(template) = form {
                return template.fill(page, look, clock, (ring.unwrap_or(""), &name), line);
            }
            page.ring = ring.map(str::to_owned);
            page.line(look, clock, name.parse().ok(), &tag, line);
        });
        if line.damaged && look.format != Format::Json {
            // In its place, as above.
            self.sink.flush();
            note(format_args!(
                "-- worker {name}: the line at position {} is damaged --",
                line.position
            ));
        }
    }

    /// What is no line, in its place.
    pub fn note(&mut self, ring: Option<&str>, text: impl fmt::Display) {
        // So that it comes there if stdout and stderr are the same file.
        self.sink.flush();
        match ring {
            None => note(text),
            Some(ring) => note(format_args!("{ring}: {text}")),
        }
    }

    /// Writes out what was added; `false` if that is not possible any more.
    pub fn flush(&mut self) -> bool {
        self.sink.flush();
        self.is_alive()
    }

    /// Whether more can be printed, as far as is known.
    pub fn is_alive(&self) -> bool {
        !self.sink.is_dead() && !self.sink.has_failed()
    }

    /// Ends it. It is no failure if the reader of stdout has gone.
    pub fn finish(mut self) -> ExitCode {
        self.sink.add(|page| page.end());
        self.sink.flush();
        if self.sink.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
