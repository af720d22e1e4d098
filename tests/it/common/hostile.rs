//! Hostile bytes: what an input of a fuzzer makes of a ring, and what has to hold whatever it makes
//! (P8).
//!
//! An input names the bytes that a ring begins with, those of a real one or any, and then the
//! steps: words are changed, and the ring is attached, looked at, drained, recovered and written.
//! What was opened stays open while words change. All of it happens in one thread and ends, so an
//! input does the same each time.
//!
//! Nothing may panic, crash or hang. A drain gives no more items than the ring's geometry allows
//! for, a line is no longer than the ring's longest, and an error is a sentence of one line.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use linering::{
    Item, LineProcMirror, LineRing, Observer, Options, Policy, ReadError, Reader, Seat, Stream,
    WakeUp,
};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

/// Steps of one input.
const MOST_STEPS: usize = 20;
/// Looks among them: one at a ring that nobody uses makes a copy, which costs as much as all else.
const MOST_LOOKS: usize = 2;
/// Mirrors that are open at a time.
const MOST_MIRRORS: usize = 3;
/// A position, a ticket or a cell's last words give at most: a line that was cut off, a loss, and
/// what it is itself.
const ITEMS_OF_ONE: usize = 3;
/// In how many rounds without an item a drain goes on that looks for the dead: damaged cells are
/// given up in fewer.
const LOOKS: usize = 80;

/// Runs an input.
///
/// # Panics
///
/// If the library does something that it must not do.
pub fn run(input: &[u8]) {
    thread_local! {
        // One file for each template, written anew for each input: making them costs more than most inputs.
        static TEMPLATES: Vec<Template> = templates();
    }
    TEMPLATES.with(|templates| {
        let mut input = Input(input);
        let which = usize::from(input.byte()) % (templates.len() + 2);
        match templates.get(which) {
            Some(template) => {
                template.reset();
                Stage::new(template).play(input);
            }
            // The last one is a file, whose size is free.
            None => {
                let template = templates.last().expect("there are some");
                template.scribble(&mut input, which % 2 == 0);
                Stage::new(template).play(input);
            }
        }
    });
}

// --------------------------------------------------------------------------------------------
// input

/// What is left of an input. Behind its end it is all zeros.
struct Input<'i>(&'i [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let low = usize::from(self.byte());
        let number = if bound > 256 { low | usize::from(self.byte()) << 8 } else { low };
        number % bound.max(1)
    }

    fn word(&mut self) -> u64 {
        u64::from_ne_bytes(core::array::from_fn(|_| self.byte()))
    }
}

// ----------------------------------------------------------------------------------------
// templates

/// The bytes of a real ring, and a file for them.
struct Template {
    file: File,
    image: Vec<u8>,
    places: Places,
    is_sealed: bool,
    /// Keeps the wake-up pipe, which those who attach open again.
    _ring: LineRing,
}

/// Rings in which the processes have died: nobody holds the locks of their cells.
fn templates() -> Vec<Template> {
    let small = || {
        Options::new()
            .lines(8)
            .line_bytes(64)
            .mirrors(5)
            .seats(8)
            .block_limit(Duration::ZERO)
            .max_line(100)
    };
    // The laps overflow soon, and so do the positions.
    let overflow = |options: Options| options.start_position(u64::MAX - 12);
    vec![
        template(small().policy(Policy::Block), true, 0),
        template(overflow(small()).policy(Policy::DropNewest), true, 12),
        template(
            overflow(small()).policy(Policy::OverwriteOldest).max_line(90).checksums(true),
            true,
            9,
        ),
        template(small().policy(Policy::OverwriteOldest).wake_up(WakeUp::Pipe), true, 3),
        template(
            small()
                .policy(Policy::OverwriteOldest)
                .rewrite(true)
                .fold_crlf(true)
                .max_line(90)
                .checksums(true),
            false,
            0,
        ),
        template(
            overflow(small()).policy(Policy::DropNewest).line_bytes(128).max_line(40),
            false,
            2,
        ),
        template(small().policy(Policy::Block).lines(2).mirrors(2).seats(3), false, 0),
        template(
            overflow(small()).policy(Policy::Block).wake_up(WakeUp::Pipe).checksums(true),
            false,
            0,
        ),
    ]
}

/// A ring with some of everything, and `more` lines.
fn template(options: Options, is_sealed: bool, more: usize) -> Template {
    let ring = LineRing::new(options).expect("a ring");
    let open = |label: &str| ring.mirror_labelled(label);
    let mut reader = ring.reader().expect("no other");
    // Lines that were taken, and an end that was not.
    if let Ok(mut mirror) = open("taken") {
        for line in ["one", "two", "three"] {
            let _ = mirror.write_line(line.as_bytes());
        }
        while reader.try_recv().expect("ours").is_some() {}
        let _ = mirror.send_eof();
    }
    if let Ok(mut mirror) = open("error") {
        let _ = mirror.write_line(b"before it");
        let _ = mirror.send_panic(&"no good, and more of that than fits in a slot");
    }
    let mut living = Vec::new();
    if let Ok(mut mirror) = open("long") {
        let _ = mirror.write_line(&[b'x'; 80]);
        living.push(mirror);
    }
    if let Ok(mut mirror) = open("unfinished") {
        let _ = mirror.write_line(b"whole");
        for _ in 0..more {
            let _ = mirror.write_line(b"another");
        }
        let _ = mirror.write_all(b"last words");
        living.push(mirror);
    }
    let _ = ring.seat_labelled("kept");
    let _ = ring.seat_labelled("cancelled").map(|seat| seat.cancel());
    let held =
        File::from(ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor"));
    let bytes = held.metadata().expect("a file").len() as usize;
    let mut image = vec![0; bytes];
    held.read_exact_at(&mut image, 0).expect("so many bytes");
    drop((reader, living));
    if !is_sealed {
        image[110..112].copy_from_slice(&2_u16.to_ne_bytes());
    }
    let places = Places::of(&image).expect("a ring's geometry");
    if more == 0 {
        // The last mirror died in the middle of an exchange.
        let hold = places.cells + (places.cell_count - 1) * 256;
        let word = |at: usize| u64::from_ne_bytes(image[at..at + 8].try_into().expect("8 bytes"));
        let intent = word(hold) | 1 << 48 | (word(places.order) & SLOT) << 24;
        image[hold..hold + 8].copy_from_slice(&intent.to_ne_bytes());
    }
    let file = memory();
    file.set_len(image.len() as u64).expect("memory");
    if is_sealed {
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .expect("seals");
    }
    Template { file, image, places, is_sealed, _ring: ring }
}

fn memory() -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create("hostile", flags).expect("memory").into()
}

impl Template {
    /// Its file has the ring's bytes again.
    fn reset(&self) {
        if !self.is_sealed {
            self.file.set_len(self.image.len() as u64).expect("a file");
        }
        self.file.write_all_at(&self.image, 0).expect("a file");
    }

    /// Its file has any bytes; behind a sound geometry, if `is_sound`.
    fn scribble(&self, input: &mut Input<'_>, is_sound: bool) {
        let mut bytes = self.image.clone();
        if !is_sound {
            bytes.truncate(64 * input.below(80));
        }
        let first = if is_sound { 128 } else { 0 };
        let mut random = input.word() | 1;
        for word in bytes.chunks_exact_mut(8).skip(first / 8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Small numbers are more often good for something.
            let value = if random & 1 == 0 { random } else { random >> 59 };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        // Far enough to be recognised, now and then.
        let kept = input.below(129).min(bytes.len());
        bytes[..kept].copy_from_slice(&self.image[..kept]);
        self.file.set_len(bytes.len() as u64).expect("a file");
        self.file.write_all_at(&bytes, 0).expect("a file");
    }
}

// -------------------------------------------------------------------------------------------
// places

/// An order entry's slot.
const SLOT: u64 = 0xff_ffff;

/// Where the words are: docs/format.md.
#[derive(Clone, Copy, Debug)]
struct Places {
    slot_bytes: usize,
    positions: usize,
    cell_count: usize,
    ticket_count: usize,
    max_line: usize,
    tickets: usize,
    cells: usize,
    order: usize,
    slots: usize,
}

impl Places {
    /// Those of a geometry; `None` if it is of no small ring.
    fn of(header: &[u8]) -> Option<Self> {
        let number =
            |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?) as usize);
        let max_line = u64::from_ne_bytes(header.get(56..64)?.try_into().ok()?) as usize;
        let (slot_bytes, bits, cell_count, ticket_count) =
            (number(20)?, number(24)?, number(28)?, number(32)?);
        if slot_bytes > 1 << 16 || bits > 12 || cell_count > 1 << 12 || ticket_count > 1 << 12 {
            return None;
        }
        let up = |at: usize| at.next_multiple_of(128);
        let (tickets, positions) = (768, 1 << bits);
        let cells = up(tickets + ticket_count * 64);
        let order = cells + cell_count * 256;
        let slots = up(order + positions * 8);
        Some(Self {
            slot_bytes,
            positions,
            cell_count,
            ticket_count,
            max_line,
            tickets,
            cells,
            order,
            slots,
        })
    }

    fn slot_count(&self) -> usize {
        self.positions + self.cell_count
    }

    /// The most items that a drain gives while nothing changes: two laps of positions, and what was
    /// decoded before.
    fn most_items(&self) -> usize {
        ITEMS_OF_ONE * (3 * self.positions + self.cell_count + self.ticket_count)
    }

    /// The most items of a look: what stands in slots, the ends, and of a dead ring what a drain
    /// gives.
    fn most_seen(&self) -> usize {
        ITEMS_OF_ONE * (self.slot_count() + self.ticket_count) + self.most_items()
    }

    /// The most bytes of a line. What fits in one slot is not put together, and so not measured.
    fn most_bytes(&self) -> usize {
        self.max_line.max(self.slot_bytes - 32)
    }
}

// --------------------------------------------------------------------------------------------
// steps

/// What is open at a time.
struct Stage<'t> {
    template: &'t Template,
    ring: Option<(LineRing, Places)>,
    reader: Option<(Reader, Places)>,
    observer: Option<(Observer, Places)>,
    mirrors: Vec<LineProcMirror>,
    seat: Option<Seat>,
    looks: usize,
}

impl<'t> Stage<'t> {
    fn new(template: &'t Template) -> Self {
        Self {
            template,
            ring: None,
            reader: None,
            observer: None,
            mirrors: Vec::new(),
            seat: None,
            looks: 0,
        }
    }

    fn play(mut self, mut input: Input<'_>) {
        for _ in 0..MOST_STEPS {
            if input.0.is_empty() {
                break;
            }
            match input.byte() % 16 {
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

    // ----------------------------------------------------------------------------------------
    // words

    fn load(&self, at: usize) -> Option<u64> {
        let mut word = [0; 8];
        self.template.file.read_exact_at(&mut word, at as u64).ok()?;
        Some(u64::from_ne_bytes(word))
    }

    fn store(&self, at: usize, word: u64) {
        // A file that was cut stays so.
        if self.load(at).is_some() {
            self.template.file.write_all_at(&word.to_ne_bytes(), at as u64).expect("a file");
        }
    }

    fn change(&self, input: &mut Input<'_>) {
        for _ in 0..=input.byte() % 4 {
            let at = self.some_word(input);
            let Some(old) = self.load(at) else { continue };
            let word = self.some_value(input, old);
            self.store(at, word);
        }
    }

    /// Where a word is that means something, mostly.
    fn some_word(&self, input: &mut Input<'_>) -> usize {
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
    fn some_value(&self, input: &mut Input<'_>, old: u64) -> u64 {
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

    // ---------------------------------------------------------------------------------------
    // opening

    fn places(&self) -> Option<Places> {
        let mut header = [0; 128];
        self.template.file.read_exact_at(&mut header, 0).ok()?;
        Places::of(&header)
    }

    /// The ring, attached anew unless it is open.
    fn ring(&mut self) -> Option<(LineRing, Places)> {
        if self.ring.is_none() {
            // Whatever the geometry says, a writer that finds the ring full does not wait here.
            self.store(88, 0);
            let places = self.places();
            let ring = sound(LineRing::attach(&self.template.file))?;
            self.ring = Some((ring, places.expect("a small ring, since the file is small")));
        }
        self.ring.clone()
    }

    /// Makes sure that there is a reader, if there can be one.
    fn open_reader(&mut self) {
        if self.reader.is_none()
            && let Some((ring, places)) = self.ring()
        {
            self.reader = sound(ring.reader()).map(|reader| (reader, places));
        }
    }

    fn mirror(&mut self, which: usize) -> Option<&mut LineProcMirror> {
        if self.mirrors.len() <= which.min(MOST_MIRRORS - 1) {
            let (ring, _) = self.ring()?;
            self.mirrors.push(sound(ring.mirror_labelled("late"))?);
        }
        let last = self.mirrors.len() - 1;
        self.mirrors.get_mut(which.min(last))
    }

    // ---------------------------------------------------------------------------------------
    // reading

    fn look(&mut self, how: u8) {
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
        let items = observer.snapshot();
        assert!(items.len() <= places.most_seen(), "{} items in {places:?}", items.len());
        items.iter().for_each(|item| check(item, places));
    }

    /// Takes some items, the last of which is accepted or not.
    fn drain(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        self.open_reader();
        let Some((reader, places)) = &mut self.reader else { return };
        let most = if how & 1 == 0 { usize::from(how >> 2) } else { usize::MAX };
        drained(reader, places, most);
        if how & 2 == 0 {
            sound(reader.commit());
        }
    }

    fn drain_batches(&mut self, input: &mut Input<'_>) {
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
    fn recover(&mut self, looks: usize) {
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

    // ---------------------------------------------------------------------------------------
    // writing

    fn write(&mut self, input: &mut Input<'_>) {
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

    fn end(&mut self, input: &mut Input<'_>) {
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

    fn seat(&mut self, input: &mut Input<'_>) {
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

    // ------------------------------------------------------------------------------------------
    // file

    /// Nothing is mapped: of an unused ring, an observer has a copy.
    fn is_unmapped(&self) -> bool {
        let looks = self.observer.as_ref().is_some_and(|(observer, _)| observer.is_used());
        self.ring.is_none()
            && self.reader.is_none()
            && self.mirrors.is_empty()
            && self.seat.is_none()
            && !looks
    }

    /// Punches a hole into the file, or makes it longer or shorter.
    ///
    /// Shorter only while nobody has it mapped: whoever has is killed by the kernel, which is why a
    /// ring in memory is sealed and a file is not to be cut while it is used.
    fn cut(&mut self, input: &mut Input<'_>) {
        let (how, file) = (input.byte(), &self.template.file);
        let Ok(bytes) = file.metadata().map(|data| data.len()) else { return };
        let at = input.below(self.template.image.len() + 64) as u64;
        match how % 3 {
            0 => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(file, flags, at & !7, 1 + u64::from(how)).expect("a hole");
            }
            1 if !self.template.is_sealed => file.set_len(bytes.max(at)).expect("a file"),
            2 if !self.template.is_sealed && self.is_unmapped() => {
                file.set_len(bytes.min(at)).expect("a file")
            }
            _ => {}
        }
    }

    fn close(&mut self, input: &mut Input<'_>) {
        let which = input.byte();
        if which & 1 == 0 {
            self.reader = None;
        }
        if which & 2 == 0 {
            self.mirrors.clear();
        }
        if which & 4 == 0 {
            self.observer = None;
        }
        if which & 8 == 0 {
            (self.seat, self.ring) = (None, None);
        }
    }
}

// -------------------------------------------------------------------------------------------
// checks

/// Takes up to `most` items, until there are no more; gives how many there were.
fn drained(reader: &mut Reader, places: &Places, most: usize) -> usize {
    let mut seen = 0;
    while seen < most {
        let Some(item) = sound::<_, ReadError>(reader.try_recv()).flatten() else { break };
        check(&item, places);
        seen += 1;
        assert!(
            seen <= places.most_items(),
            "more than {} items in {places:?}",
            places.most_items()
        );
    }
    seen
}

fn check(item: &Item<'_>, places: &Places) {
    let shown = item.to_string();
    if let Some(line) = item.line() {
        assert!(
            line.bytes.len() <= places.most_bytes(),
            "{} bytes in {places:?}",
            line.bytes.len()
        );
        // A byte that is not text becomes three.
        assert!(shown.len() <= 3 * line.bytes.len() + 64, "{} bytes shown", shown.len());
        assert!(line.lines().count() <= line.bytes.len() + 1);
    } else {
        assert!(shown.lines().count() == 1, "{shown:?}");
    }
}

/// What a call gave. What it refused has to be told in a sentence of one line.
fn sound<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
        })
        .ok()
}
