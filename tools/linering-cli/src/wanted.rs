//! Which of a ring's items are shown.

use std::time::SystemTime;

use linering::{Item, Level, Stream};
use regex::bytes::Regex;

use crate::item_printer::name_of;
use crate::moment::{expression, moment};

/// Which lines are shown.
#[derive(Clone, Debug, clap::Args)]
pub struct Wanted {
    /// The lines of one worker alone: its number, or its label
    #[arg(long, value_name = "WORKER")]
    worker: Option<String>,

    /// The lines of one stream alone: stdout, stderr or log
    #[arg(long, value_name = "STREAM")]
    stream: Option<Stream>,

    /// The lines of this level and above alone: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,

    /// The lines in which this expression is found alone
    ///
    /// Its case counts if it has a capital letter.
    #[arg(short = 'g', long, value_name = "REGEX", value_parser = expression)]
    grep: Option<Regex>,

    /// Not the lines in which this expression is found
    #[arg(long, value_name = "REGEX", value_parser = expression)]
    exclude: Option<Regex>,

    /// The lines from this moment on: a time ago, such as 5m, or a date and time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<SystemTime>,

    /// The lines before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<SystemTime>,
}

impl Wanted {
    /// Whether it is shown. What is of no worker is shown unless one is asked for, and what is no
    /// line unless something of lines is asked for.
    pub fn is_wanted(&self, item: &Item<'_>) -> bool {
        let name = worker_of(item).map(name_of);
        if self.worker.as_ref().is_some_and(|wanted| name.as_ref() != Some(wanted)) {
            return false;
        }
        let Item::Line(line) = item else {
            return self.grep.is_none() && self.level.is_none() && self.stream.is_none();
        };
        self.stream.is_none_or(|stream| line.stream == stream)
            && self.level.is_none_or(|level| line.level >= level)
            && self.since.is_none_or(|since| line.time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| line.time.is_some_and(|time| time < until))
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.bytes))
            && self.exclude.as_ref().is_none_or(|exclude| !exclude.is_match(&line.bytes))
    }
}

/// Which worker's an item is, and what it is called: by its label, or by its number.
fn worker_of<'i>(item: &'i Item<'_>) -> Option<(u32, &'i str)> {
    match item {
        Item::Line(line) => Some((line.writer_id, &line.label)),
        Item::Lost(lost) => Some((lost.writer_id, &lost.label)),
        Item::Ended(ended) => Some((ended.writer_id, &ended.label)),
        _ => None,
    }
}
