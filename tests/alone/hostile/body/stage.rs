//! What is open at a time, and the steps that open, change, read and write it.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use linering::{Item, Level, LineProcMirror, LineRing, Message, Observer, Reader, Seat, Stream};

use super::places::{Places, SLOT};
use super::template::Template;
use super::{
    Input, LATER_STEPS, LOOKS, MOST_COSTLY, MOST_LOOKS, MOST_MIRRORS, MOST_STEPS, check, drained,
    sound,
};

/// What is open at a time.
pub(super) struct Stage<'t> {
    pub(super) template: &'t Template,
    pub(super) ring: Option<(LineRing, Places)>,
    pub(super) reader: Option<(Reader, Places)>,
    pub(super) observer: Option<(Observer, Places)>,
    pub(super) mirrors: Vec<LineProcMirror>,
    pub(super) seat: Option<Seat>,
    pub(super) looks: usize,
    pub(super) costly: usize,
    /// Where the file has a name.
    pub(super) paths: Vec<PathBuf>,
}

impl<'t> Stage<'t> {
    pub(super) fn new(template: &'t Template) -> Self {
        Self {
            template,
            ring: None,
            reader: None,
            observer: None,
            mirrors: Vec::new(),
            seat: None,
            looks: 0,
            costly: 0,
            paths: Vec::new(),
        }
    }

    pub(super) fn play(mut self, mut input: Input<'_>) {
        for _ in 0..MOST_STEPS {
            if input.0.is_empty() {
                break;
            }
            let step = input.byte();
            if step >= LATER_STEPS {
                self.later(step, &mut input);
                continue;
            }
            match step % 16 {
                0..=4 => self.change(&mut input),
                5 => self.look(input.byte()),
                6 | 7 => self.drain(&mut input),
                8 => self.drain_batches(&mut input),
                9 => self.recover(LOOKS),
                10 | 11 => self.write(&mut input),
                12 => self.end(&mut input),
                13 => self.seat(&mut input),
                14 => self.cut(&mut input),
                _ => self.close(&mut input),
            }
        }
        // However it was left, who takes it over comes to an end too.
        self.recover(1);
    }

    pub(super) fn later(&mut self, step: u8, input: &mut Input<'_>) {
        match step % 8 {
            0 if self.may_cost() => self.seat_of_text(input),
            1 if self.may_cost() => self.name(input),
            2 => self.crash(input.byte()),
            3 if self.looks == 0 => self.verify(input.byte()),
            4 => self.sum(input),
            5 => self.write_more(input),
            6 => self.read_more(input.byte()),
            7 => self.cut_while_mapped(input),
            _ => {}
        }
    }

    pub(super) fn may_cost(&mut self) -> bool {
        self.costly += 1;
        self.costly <= MOST_COSTLY
    }

    // --------------------------------------------------------------------------------------- words

    pub(super) fn load(&self, at: usize) -> Option<u64> {
        let mut word = [0; 8];
        self.template.file.read_exact_at(&mut word, at as u64).ok()?;
        Some(u64::from_ne_bytes(word))
    }

    pub(super) fn store(&self, at: usize, word: u64) {
        // A file that was cut stays so.
        if self.load(at).is_some() {
            self.template.file.write_all_at(&word.to_ne_bytes(), at as u64).expect("a file");
        }
    }

    pub(super) fn change(&self, input: &mut Input<'_>) {
        for _ in 0..=input.byte() % 4 {
            let at = self.some_word(input);
            let Some(old) = self.load(at) else { continue };
            let word = self.some_value(input, old);
            self.store(at, word);
        }
    }

    /// Where a word is that means something, mostly.
    pub(super) fn some_word(&self, input: &mut Input<'_>) -> usize {
        let places = &self.template.places;
        let kind = input.byte() % 16;
        match kind {
            0 => 8 * input.below(16),
            1 | 2 => {
                let words = [128, 256, 384, 512, 640, 648, 656, 664, 672, 680, 688, 696, 704];
                words[input.below(words.len())]
            }
            3 | 4 => places.tickets + 64 * input.below(places.ticket_count) + 8 * input.below(6),
            5..=7 => {
                let fields = [0, 8, 16, 24, 128, 136, 144, 152];
                places.cells + 256 * input.below(places.cell_count) + fields[input.below(8)]
            }
            8..=11 => places.order + 8 * input.below(places.positions),
            12 | 13 => {
                places.slots
                    + places.slot_bytes * input.below(places.slot_count())
                    + 8 * input.below(4)
            }
            14 => places.slots + 8 * input.below(places.slot_count() * places.slot_bytes / 8),
            _ => 8 * input.below(self.template.image.len() / 8),
        }
    }

    /// A value that is nearly good, mostly.
    pub(super) fn some_value(&self, input: &mut Input<'_>, old: u64) -> u64 {
        let places = &self.template.places;
        let small = |input: &mut Input<'_>| i64::from(input.byte() as i8) as u64;
        // Indexes of slots, and now and then of none.
        let slot = |input: &mut Input<'_>| (input.below(places.slot_count() + 1)) as u64;
        let position = |stage: &Self, input: &mut Input<'_>| {
            stage.load(256).unwrap_or(0).wrapping_add(small(input))
        };
        let bits = places.positions.trailing_zeros();
        match input.byte() % 18 {
            0 => input.word(),
            1 => input.byte().into(),
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => self.load(self.some_word(input)).unwrap_or(0),
            5 => old ^ 1 << (input.byte() % 64),
            6 => old & !SLOT | slot(input),
            // Laps on or back, by a few or by quarters of all there are.
            7 => old.wrapping_add(small(input) << 25),
            8 => old.wrapping_add(u64::from(input.byte()) << 62),
            9 => old ^ 1 << 24,
            // An entry of a position near the next one to be read.
            10 => {
                let lap = position(self, input) >> bits;
                lap << 25 | u64::from(input.byte() & 1) << 24 | slot(input)
            }
            11 => slot(input) | slot(input) << 24 | 1 << 48,
            12 => slot(input),
            13 => position(self, input),
            // A ticket's word, or a slot's line and cell: both name a cell.
            14 => {
                let (state, cell) =
                    (u64::from(input.byte() & 15), input.below(places.cell_count + 1) as u64);
                state << 60 | cell << 48 | u64::from(input.byte())
            }
            15 => {
                let cell = input.below(places.cell_count + 1) as u64;
                u64::from(input.byte()) << 16 | cell << 4 | u64::from(input.byte() & 15)
            }
            // A slot's part, length and flags.
            16 => {
                let (part, length) = (u64::from(input.byte()), u64::from(input.byte()));
                part << 40 | length << 24 | u64::from(input.byte() & 63)
            }
            _ => small(input),
        }
    }

    // ------------------------------------------------------------------------------------- opening

    pub(super) fn places(&self) -> Option<Places> {
        let mut header = [0; 128];
        self.template.file.read_exact_at(&mut header, 0).ok()?;
        Places::of(&header)
    }

    /// The ring, attached anew unless it is open.
    pub(super) fn ring(&mut self) -> Option<(LineRing, Places)> {
        if self.ring.is_none() {
            self.opened(|stage| sound(LineRing::attach(&stage.template.file)));
        }
        self.ring.clone()
    }

    /// The ring is what `open` gives, if it gives one.
    pub(super) fn opened(&mut self, open: impl FnOnce(&Self) -> Option<LineRing>) {
        // Whatever the geometry says, a writer that finds the ring full does not wait here.
        self.store(88, 0);
        let places = self.places();
        if let Some(ring) = open(self) {
            self.ring = Some((ring, places.expect("a small ring, since the file is small")));
        }
    }

    /// Makes sure that there is a reader, if there can be one.
    pub(super) fn open_reader(&mut self) {
        if self.reader.is_none()
            && let Some((ring, places)) = self.ring()
        {
            self.reader = sound(ring.reader()).map(|reader| (reader, places));
        }
    }

    pub(super) fn mirror(&mut self, which: usize) -> Option<&mut LineProcMirror> {
        if self.mirrors.len() <= which.min(MOST_MIRRORS - 1) {
            let (ring, _) = self.ring()?;
            self.mirrors.push(sound(ring.mirror_labelled("late"))?);
        }
        let last = self.mirrors.len() - 1;
        self.mirrors.get_mut(which.min(last))
    }

    // ------------------------------------------------------------------------------------- reading

    pub(super) fn look(&mut self, how: u8) {
        self.looks += 1;
        if self.looks > MOST_LOOKS {
            return;
        }
        if how & 1 == 0 {
            self.observer = None;
        }
        if self.observer.is_none() {
            let places = self.places();
            let Some(observer) = sound(Observer::attach(&self.template.file)) else { return };
            self.observer =
                Some((observer, places.expect("a small ring, since the file is small")));
        }
        let Some((observer, places)) = &self.observer else { return };
        // Or the file was cut while it was mapped.
        let Some(items) = sound(observer.snapshot()) else { return };
        assert!(items.len() <= places.most_seen(), "{} items in {places:?}", items.len());
        items.iter().for_each(|item| check(item, places));
    }

    /// Takes some items, the last of which is accepted or not.
    pub(super) fn drain(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        self.open_reader();
        let Some((reader, places)) = &mut self.reader else { return };
        let most = if how & 1 == 0 { usize::from(how >> 2) } else { usize::MAX };
        drained(reader, places, most);
        if how & 2 == 0 {
            sound(reader.commit());
        }
    }

    pub(super) fn drain_batches(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        self.open_reader();
        let Some((reader, places)) = &mut self.reader else { return };
        let mut seen = 0;
        for round in 0..u8::MAX {
            if sound(reader.wait_timeout(Duration::ZERO)) != Some(true) {
                break;
            }
            // Something is there, so this does not wait.
            let Some(batch) = sound(reader.batch()) else { break };
            seen += batch.len();
            batch.iter().for_each(|item| check(&item, places));
            if how & 3 == round {
                break;
            }
            batch.commit();
        }
        assert!(seen <= places.most_items(), "{seen} items in {places:?}");
    }

    /// What a reader does that comes after one that died.
    pub(super) fn recover(&mut self, looks: usize) {
        self.reader = None;
        self.open_reader();
        let Some((reader, places)) = &mut self.reader else { return };
        // In all, since nothing changes meanwhile.
        let mut left = places.most_items();
        for _ in 0..looks {
            left = left.saturating_sub(drained(reader, places, left + 1));
            if reader.is_over() {
                break;
            }
        }
        assert!(left > 0, "more than {} items in {places:?}", places.most_items());
        self.ring.iter().for_each(|(ring, _)| _ = ring.counts());
    }

    // ------------------------------------------------------------------------------------- writing

    pub(super) fn write(&mut self, input: &mut Input<'_>) {
        let (which, how) = (input.below(MOST_MIRRORS), input.byte());
        let Some(mirror) = self.mirror(which) else { return };
        let long = [b'l'; 128];
        match how % 9 {
            0 | 1 => {
                for _ in 0..=how >> 5 {
                    // Each further one would find the same, and gives way to other threads before
                    // it says so.
                    if sound(mirror.write_line(b"line")).is_none() {
                        break;
                    }
                }
            }
            2 => drop(sound(mirror.write_all(b"piece "))),
            3 => drop(sound(mirror.write_all(b"piece\r50%\r\nline\npiece"))),
            4 => drop(sound(mirror.write_line(&long[..usize::from(how >> 1)]))),
            5 => drop(sound(mirror.write_packed(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\nrest"))),
            6 => {
                if let Some(mut group) = sound(mirror.group()) {
                    sound(group.line(b"first of a group"));
                    sound(group.line(&long[..usize::from(how >> 2)]));
                    sound(group.end());
                }
            }
            7 => drop(sound(mirror.send_warning("warning of\ntwo lines"))),
            _ => drop(sound(mirror.set_stream(Stream::Stderr).set_tag(7).flush_partial())),
        }
    }

    pub(super) fn end(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        let Some(mirror) = self.mirror(usize::from(how >> 4)) else { return };
        match how % 4 {
            0 => drop(sound(mirror.send_eof())),
            1 => drop(sound(mirror.send_panic(&"hostile bytes, more of them than fit in a slot"))),
            2 => {
                let again = sound(mirror.reopen());
                if self.mirrors.len() < MOST_MIRRORS {
                    self.mirrors.extend(again);
                }
            }
            _ => drop(self.mirrors.swap_remove(usize::from(how >> 4).min(self.mirrors.len() - 1))),
        }
    }

    pub(super) fn seat(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        let Some((ring, _)) = self.ring() else { return };
        if self.seat.is_none() || how & 1 == 0 {
            self.seat = sound(ring.seat_labelled("seat"));
        }
        let Some(seat) = &self.seat else { return };
        match how >> 1 & 3 {
            0 => drop(seat.cancel()),
            1 | 2 if self.mirrors.len() < MOST_MIRRORS => self.mirrors.extend(sound(seat.open())),
            _ => drop(ring.counts()),
        }
        if how == u8::MAX {
            ring.stop_all_mirrors();
        }
    }

    /// Writes with what `write` does not call.
    pub(super) fn write_more(&mut self, input: &mut Input<'_>) {
        let (which, how) = (input.below(MOST_MIRRORS), input.byte());
        let Some(mirror) = self.mirror(which) else { return };
        match how % 8 {
            0 => drop(sound(mirror.send_error_text("an error\nof two \u{1b}[31mlines\n"))),
            1 => drop(sound(
                mirror.send_error_text(&"no end of line ".repeat(usize::from(how >> 4))),
            )),
            2 => drop(sound(mirror.finish_line())),
            3 => drop(sound(mirror.discard_partial())),
            4 => drop(sound(mirror.set_level(Level::Error).write_all(b"a\0b\n\xff\n\r\r\n"))),
            5 => drop(sound(mirror.write_packed(&[b'\n'; 64][..usize::from(how >> 3)]))),
            6 => {
                // It ends where it is dropped.
                if let Some(mut group) = sound(mirror.group()) {
                    sound(group.line(b""));
                    sound(group.line(&[b'g'; 128][..usize::from(how >> 1)]));
                }
            }
            _ => drop(sound(mirror.write_line(b""))),
        }
    }

    /// Reads with what the other steps do not call.
    pub(super) fn read_more(&mut self, how: u8) {
        self.open_reader();
        let Some((reader, places)) = &mut self.reader else { return };
        reader.set_spinning(how & 1 == 0);
        for _ in 0..=how >> 4 {
            let Some(Some(item)) = sound(reader.recv_timeout(Duration::ZERO)) else { break };
            check(&item, places);
            if let Item::Line(line) = item.into_owned()
                && let Message::Group(group) = Message::from(line)
            {
                _ = (group.kind(), group.writer_id(), group.lines().count(), group.is_truncated());
            }
        }
        assert!(reader.poll_fd().is_none_or(|pipe| pipe.as_raw_fd() >= 0));
        if let Some((ring, places)) = &self.ring {
            assert!(ring.max_line() == places.max_line);
            _ = (ring.has_checksums(), ring.counts());
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}
