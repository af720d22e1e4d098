//! What `top` shows: the last samples, and what the keys have chosen.

use std::collections::{HashMap, VecDeque};

use super::keys::Key;
use super::sample::{Sample, WriterSample};

/// Samples over which a rate is taken.
const SMOOTH: usize = 4;

/// Rates that are kept for a spark line.
const HISTORY: usize = 120;

/// The order of writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Writer,
    Label,
    State,
    Lines,
    Bytes,
    Lost,
}

/// The order in which a key goes through them.
const SORTS: [Sort; 6] =
    [Sort::Lines, Sort::Bytes, Sort::Lost, Sort::State, Sort::Label, Sort::Writer];

/// What a key asks for that is not done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Quit,
    Interrupt,
    Suspend,
    Redraw,
}

/// How lines came.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// When, and how many by then.
    counted: VecDeque<(f64, u64)>,
    /// Lines a second, sample by sample, oldest first.
    pub rates: VecDeque<f64>,
    /// Bytes of a line, of those that were seen last.
    mean: Option<f64>,
    /// The last line that was seen.
    pub last: Option<String>,
}

impl Track {
    fn add(&mut self, seconds: f64, lines: u64) {
        if let Some((before, counted)) = self.counted.back() {
            let came = lines.saturating_sub(*counted);
            self.rates.push_back(came as f64 / (seconds - before).max(1e-3));
            if self.rates.len() > HISTORY {
                self.rates.pop_front();
            }
        }
        self.counted.push_back((seconds, lines));
        if self.counted.len() > SMOOTH + 1 {
            self.counted.pop_front();
        }
    }

    fn see(&mut self, writer: &WriterSample) {
        let seen = &writer.seen;
        if seen.lines > 0 {
            self.mean = Some(seen.bytes as f64 / seen.lines as f64);
        }
        if seen.last.is_some() {
            self.last.clone_from(&seen.last);
        }
    }

    /// Lines a second.
    pub fn rate(&self) -> f64 {
        match (self.counted.front(), self.counted.back()) {
            (Some((before, first)), Some((now, last))) if now > before => {
                last.saturating_sub(*first) as f64 / (now - before)
            }
            _ => 0.0,
        }
    }

    /// Bytes a second, if the length of a line is known.
    pub fn bytes(&self) -> Option<f64> {
        let rate = self.rate();
        if rate == 0.0 { Some(0.0) } else { Some(rate * self.mean?) }
    }
}

/// All of it.
#[derive(Debug)]
pub struct State {
    pub ring: String,
    pub every: f64,
    pub now: Sample,
    pub total: Track,
    tracks: HashMap<u32, Track>,
    pub sort: Sort,
    pub is_reversed: bool,
    pub filter: String,
    /// The filter is being typed.
    pub is_typing: bool,
    pub is_paused: bool,
    pub is_helping: bool,
    /// The chosen writer.
    chosen: Option<u32>,
    /// Writers that the screen has room for.
    pub page: usize,
}

impl State {
    pub fn new(ring: String, every: f64) -> Self {
        Self {
            ring,
            every,
            now: Sample::default(),
            total: Track::default(),
            tracks: HashMap::new(),
            sort: Sort::Lines,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            is_helping: false,
            chosen: None,
            page: 1,
        }
    }

    /// Takes in a sample.
    pub fn add(&mut self, sample: Sample) {
        self.total.add(sample.seconds, sample.lines);
        self.tracks.retain(|id, _| sample.writers.iter().any(|writer| writer.id == *id));
        for writer in &sample.writers {
            let track = self.tracks.entry(writer.id).or_default();
            track.add(sample.seconds, writer.lines);
            track.see(writer);
        }
        self.now = sample;
    }

    /// The writers that are shown, in their order.
    pub fn rows(&self) -> Vec<(&WriterSample, &Track)> {
        let filter = self.filter.to_lowercase();
        let is_shown = |writer: &WriterSample| {
            let fields = [&writer.label, &writer.id.to_string(), writer.state];
            filter.is_empty() || fields.iter().any(|field| field.to_lowercase().contains(&filter))
        };
        let mut rows: Vec<_> = self
            .now
            .writers
            .iter()
            .filter(|writer| is_shown(writer))
            .filter_map(|writer| Some((writer, self.tracks.get(&writer.id)?)))
            .collect();
        rows.sort_by(|(one, left), (other, right)| {
            let bytes = |track: &Track| track.bytes().unwrap_or(0.0);
            // The most first, of numbers.
            let order = match self.sort {
                Sort::Writer => one.id.cmp(&other.id),
                Sort::Label => one.label.cmp(&other.label),
                Sort::State => one.state.cmp(other.state),
                Sort::Lines => right.rate().total_cmp(&left.rate()),
                Sort::Bytes => bytes(right).total_cmp(&bytes(left)),
                Sort::Lost => other.dropped.cmp(&one.dropped),
            };
            if self.is_reversed { order.reverse() } else { order }.then(one.id.cmp(&other.id))
        });
        rows
    }

    /// Bytes a second of all writers whose lines' length is known; `None` if none is.
    pub fn bytes(&self) -> Option<f64> {
        let known: Vec<f64> = self.tracks.values().filter_map(Track::bytes).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// Lines that are known to be lost.
    pub fn lost(&self) -> u64 {
        let dropped: u64 = self.now.writers.iter().map(|writer| writer.dropped).sum();
        dropped + self.now.overwritten
    }

    /// Which of these rows is the chosen one: the first, if none is.
    pub fn chosen(&self, rows: &[(&WriterSample, &Track)]) -> Option<usize> {
        let found = rows.iter().position(|(writer, _)| Some(writer.id) == self.chosen);
        found.or((!rows.is_empty()).then_some(0))
    }

    /// Does what a key says.
    pub fn key(&mut self, key: Key) -> Asked {
        match key {
            Key::Control('c') => return Asked::Interrupt,
            Key::Control('z') => return Asked::Suspend,
            Key::Control('l') => return Asked::Redraw,
            _ if self.is_typing => self.typed(key),
            Key::Char('h' | '?') => self.is_helping = !self.is_helping,
            // The first closes the help.
            Key::Char('q') | Key::Escape if self.is_helping => self.is_helping = false,
            Key::Char('q') => return Asked::Quit,
            Key::Escape => self.filter.clear(),
            Key::Char('/') => (self.is_typing, self.is_helping) = (true, false),
            Key::Char('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Char('s') => self.next_sort(1),
            Key::Char('S') => self.next_sort(SORTS.len() - 1),
            Key::Char('r') => self.is_reversed = !self.is_reversed,
            Key::Up | Key::Char('k') => self.choose(|row| row.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.choose(|row| row + 1),
            Key::PageUp => self.choose_by_page(|row, page| row.saturating_sub(page)),
            Key::PageDown => self.choose_by_page(|row, page| row + page),
            Key::Home => self.choose(|_| 0),
            Key::End => self.choose(|_| usize::MAX),
            _ => {}
        }
        Asked::Nothing
    }

    fn typed(&mut self, key: Key) {
        match key {
            Key::Char(letter) => self.filter.push(letter),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.is_typing = false,
            Key::Escape => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    fn next_sort(&mut self, by: usize) {
        let at = SORTS.iter().position(|sort| *sort == self.sort).unwrap_or(0);
        self.sort = SORTS[(at + by) % SORTS.len()];
    }

    fn choose_by_page(&mut self, to: impl Fn(usize, usize) -> usize) {
        let page = self.page.max(1);
        self.choose(|row| to(row, page));
    }

    fn choose(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.rows();
        let Some(row) = self.chosen(&rows) else { return };
        let chosen = rows[to(row).min(rows.len() - 1)].0.id;
        self.chosen = Some(chosen);
    }
}
