//! Hostile bytes: what an input of a fuzzer makes of a ring, and what has to hold whatever it makes
//! (P8).
//!
//! An input names the bytes that a ring begins with, those of a real one or any, and then the
//! steps: words are changed, and the ring is attached, looked at, drained, recovered and written.
//! What was opened stays open while words change. Seats come from strings and rings in files from
//! names, good ones and bad ones. A crash is what is left in the file of what was open. All of it
//! happens in one thread and ends, so an input does the same each time.
//!
//! Nothing may panic, crash or hang. A drain gives no more items than the ring's geometry allows
//! for, a line is no longer than the ring's longest, and an error is a sentence of one line.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use linering::{
    AttachError, CreateError, Item, Level, LineProcMirror, LineRing, Message, Observer, Options,
    Policy, ReadError, Reader, RingName, Seat, Stream, WakeUp,
};
use rustix::fs::{AtFlags, CWD, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};

/// Steps of one input.
const MOST_STEPS: usize = 20;
/// Looks among them: one at a ring that nobody uses makes a copy, which costs as much as all else.
const MOST_LOOKS: usize = 2;
/// And steps of other kinds that cost much: rings that are opened by name or made, seats' strings.
const MOST_COSTLY: usize = 3;
/// Steps that came later have the bytes from this one on, so that older inputs mean what they
/// meant.
const LATER_STEPS: u8 = 192;
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

// ------------------------------------------------------------------------------------------- input

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

// --------------------------------------------------------------------------------------- templates

/// The bytes of a real ring, and a file for them.
struct Template {
    file: File,
    image: Vec<u8>,
    places: Places,
    is_sealed: bool,
    /// What it is called in shared memory while it has a name there. No other thread, and no other
    /// process, has that.
    name: String,
    /// What no ring is in: a pipe, a device and a folder.
    strange: Rc<[OwnedFd; 3]>,
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
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe").0;
    let open = |path: &str| File::open(path).expect("it is there").into();
    let strange = Rc::new([pipe, open("/dev/null"), open("/")]);
    let template = |options, is_sealed, more| template(options, is_sealed, more, &strange);
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
fn template(
    options: Options,
    is_sealed: bool,
    more: usize,
    strange: &Rc<[OwnedFd; 3]>,
) -> Template {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let name = format!("hostile-{}-{number}", std::process::id());
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
    if !number.is_multiple_of(4) {
        // Of some, the process is not there any more: to ask what becomes of this one takes long.
        for ticket in 0..places.ticket_count {
            let process = places.tickets + 64 * ticket + 32;
            if image[process + 7] & 0x80 != 0 {
                image[process..process + 2].fill(0xff);
                image[process + 2] |= 0x3f;
            }
        }
    }
    if more == 0 {
        // The last mirror died in the middle of an exchange.
        let hold = places.cells + (places.cell_count - 1) * 256;
        let word = |at: usize| u64::from_ne_bytes(image[at..at + 8].try_into().expect("8 bytes"));
        let intent = word(hold) | 1 << 48 | (word(places.order) & SLOT) << 24;
        image[hold..hold + 8].copy_from_slice(&intent.to_ne_bytes());
    }
    let file = if is_sealed { memory() } else { nameless().unwrap_or_else(memory) };
    file.set_len(image.len() as u64).expect("memory");
    if is_sealed {
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .expect("seals");
    }
    Template { file, image, places, is_sealed, name, strange: Rc::clone(strange), _ring: ring }
}

/// A file where rings with a name are, that can be given one; `None` where there is no such place.
fn nameless() -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
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

// ------------------------------------------------------------------------------------------ places

/// Where rings are that have a name.
const FOLDER: &str = "/dev/shm";
/// What names begin with while their rings are made; the process follows.
const UNFINISHED: &str = ".linering-new-";
/// The most bytes of a name.
const MOST_NAME: usize = 250;
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

// ------------------------------------------------------------------------------------------- steps

/// What is open at a time.
struct Stage<'t> {
    template: &'t Template,
    ring: Option<(LineRing, Places)>,
    reader: Option<(Reader, Places)>,
    observer: Option<(Observer, Places)>,
    mirrors: Vec<LineProcMirror>,
    seat: Option<Seat>,
    looks: usize,
    costly: usize,
    /// Where the file has a name.
    paths: Vec<PathBuf>,
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
            costly: 0,
            paths: Vec::new(),
        }
    }

    fn play(mut self, mut input: Input<'_>) {
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

    fn later(&mut self, step: u8, input: &mut Input<'_>) {
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

    fn may_cost(&mut self) -> bool {
        self.costly += 1;
        self.costly <= MOST_COSTLY
    }

    // --------------------------------------------------------------------------------------- words

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

    // ------------------------------------------------------------------------------------- opening

    fn places(&self) -> Option<Places> {
        let mut header = [0; 128];
        self.template.file.read_exact_at(&mut header, 0).ok()?;
        Places::of(&header)
    }

    /// The ring, attached anew unless it is open.
    fn ring(&mut self) -> Option<(LineRing, Places)> {
        if self.ring.is_none() {
            self.opened(|stage| sound(LineRing::attach(&stage.template.file)));
        }
        self.ring.clone()
    }

    /// The ring is what `open` gives, if it gives one.
    fn opened(&mut self, open: impl FnOnce(&Self) -> Option<LineRing>) {
        // Whatever the geometry says, a writer that finds the ring full does not wait here.
        self.store(88, 0);
        let places = self.places();
        if let Some(ring) = open(self) {
            self.ring = Some((ring, places.expect("a small ring, since the file is small")));
        }
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

    // ------------------------------------------------------------------------------------- reading

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
        // Or the file was cut while it was mapped.
        let Some(items) = sound(observer.snapshot()) else { return };
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

    // ------------------------------------------------------------------------------------- writing

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

    /// Writes with what `write` does not call.
    fn write_more(&mut self, input: &mut Input<'_>) {
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
    fn read_more(&mut self, how: u8) {
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
        assert!(reader.as_fd().as_raw_fd() >= 0);
        if let Some((ring, places)) = &self.ring {
            assert!(ring.max_line() == places.max_line);
            _ = (ring.has_checksums(), ring.counts());
        }
    }

    // --------------------------------------------------------------------------------------- seats

    /// Opens the seat that a string names, which is nearly good.
    fn seat_of_text(&mut self, input: &mut Input<'_>) {
        let (field, how) = (usize::from(input.byte() % 9), input.byte());
        let good = match &self.seat {
            Some(seat) if how & 1 == 0 => seat.to_string(),
            _ => {
                let [high, low] = [64, 72].map(|at| self.load(at).unwrap_or(0));
                let (process, file) = (std::process::id(), self.template.file.as_raw_fd());
                let ticket = input.below(self.template.places.ticket_count + 1);
                let serial = self.load(self.template.places.tickets + 64 * ticket + 8).unwrap_or(0);
                format!("linering1:{high:016x}{low:016x}:{process}:{file}:{ticket}:{serial}")
            }
        };
        let mut fields: Vec<String> = good.split(':').map(str::to_owned).collect();
        let which = input.byte();
        match field {
            // No other process's descriptors, and none of this one that is not a ring of its own or
            // no ring at all.
            2 => {
                let own = std::process::id();
                let (plus, zeros) = (format!("+{own}"), format!("000{own}"));
                fields[2] = pick(
                    which,
                    &[&plus, &zeros, "0", "-1", "4294967295", "4294967296", "self", "", "\n"],
                );
            }
            3 => {
                let numbers = self.template.strange.iter().map(|file| file.as_raw_fd().to_string());
                let mut all: Vec<String> = numbers.collect();
                all.extend(
                    ["-1", "2147483647", "2147483648", "", "/", "\u{1b}[31m"].map(str::to_owned),
                );
                fields[3] = all.swap_remove(usize::from(which) % all.len());
            }
            0 | 1 | 4 | 5 => {
                let old = &fields[field];
                let [more, less] = [1, -1]
                    .map(|by| old.parse().map_or(0, |old: i64| old.wrapping_add(by)).to_string());
                let (upper, twice) = (old.to_uppercase(), old.repeat(40));
                let hostile = [
                    "",
                    "0",
                    "-1",
                    "+1",
                    "4294967295",
                    "4294967296",
                    "18446744073709551615",
                    "18446744073709551616",
                    " 1",
                    "1\n",
                    "\0",
                    "\u{202e}\u{1b}[2J",
                    &more,
                    &less,
                    &upper,
                    &twice,
                ];
                fields[field] = pick(which, &hostile);
            }
            6 => drop(fields.pop()),
            7 => fields.push(pick(which, &["", "1", "\n", "linering1"])),
            // As it is.
            _ => {}
        }
        let text = fields.join(":");
        self.store(88, 0);
        let seat = text.parse::<Seat>();
        let is_strange = self
            .template
            .strange
            .iter()
            .any(|file| fields.get(3) == Some(&file.as_raw_fd().to_string()));
        if is_strange {
            // Not even opened.
            assert!(
                matches!(seat, Err(AttachError::NotAFile { .. } | AttachError::Seat { .. })),
                "{seat:?}"
            );
        }
        let Some(seat) = sound(seat) else { return };
        let again: Option<Seat> = sound(seat.to_string().parse());
        assert!(
            again.is_some_and(|again| again.writer_id() == seat.writer_id()),
            "{text:?} is not what it says"
        );
        _ = (seat.is_reserved(), LineRing::from(&seat).counts());
        if how & 2 == 0 && self.mirrors.len() < MOST_MIRRORS {
            self.mirrors.extend(sound(seat.open()));
        }
        if how & 4 == 0 {
            seat.cancel();
        }
        self.seat = Some(seat);
    }

    // --------------------------------------------------------------------------------------- names

    /// Does something with the ring of a name, which may be the file's, another's form of it, or
    /// none at all.
    fn name(&mut self, input: &mut Input<'_>) {
        let (how, what) = (input.byte(), input.byte());
        let text = self.some_name(input);
        if how & 1 == 0 {
            self.give_name(&text);
        }
        if how & 2 == 0 {
            // Memory with a name, and no file.
            let word = self.load(104).unwrap_or(0);
            self.store(104, word & !(0xffff << 48) | 1 << 48);
        }
        let name =
            if how & 4 == 0 { RingName::new(&text) } else { RingName::new(&text).of_any_user() };
        let refused = match what % 7 {
            0 => {
                let mut result = None;
                self.opened(|_| {
                    sound(result.insert(LineRing::open_named(name)).as_ref().map(LineRing::clone))
                });
                is_refused(&result.expect("it was tried"))
            }
            1 => {
                let result = Observer::open_named(name);
                let is_refused = is_refused(&result);
                if let Some((observer, places)) = sound(result).zip(self.places()) {
                    self.looks += 1;
                    if self.looks <= MOST_LOOKS {
                        let items = sound(observer.snapshot()).unwrap_or_default();
                        items.iter().for_each(|item| check(item, &places));
                    }
                    self.observer = Some((observer, places));
                }
                is_refused
            }
            2 => {
                let result = LineRing::is_abandoned(name);
                let is_refused = is_refused(&result);
                sound(result);
                is_refused
            }
            3 => {
                let result = LineRing::remove_named(name);
                let is_refused = is_refused(&result);
                sound(result);
                is_refused
            }
            4 => {
                let result = LineRing::create_named(
                    &text,
                    Options::new().lines(2).line_bytes(64).mirrors(1).seats(1),
                );
                let is_refused = matches!(result, Err(CreateError::Name { .. }));
                assert!(result.is_err() || text.starts_with(&self.template.name), "{text:?}");
                sound(result);
                is_refused || !cannot_be(&text)
            }
            // As a file: a link is not followed by who would take part, and is by who looks.
            5 => {
                let link = format!("/proc/self/fd/{}", self.template.file.as_raw_fd());
                let path = if how & 8 == 0 {
                    PathBuf::from(link)
                } else {
                    Path::new(FOLDER).join(&self.template.name)
                };
                self.opened(|_| sound(LineRing::open_file(&path)));
                return;
            }
            _ => {
                let path = Path::new(FOLDER).join(&self.template.name);
                let small = Options::new().lines(2).mirrors(1).seats(1);
                if sound(LineRing::create_file(&path, small)).is_some() {
                    // Else it would be the one that the name leads to from now on.
                    std::fs::remove_file(path).expect("it was made");
                }
                return;
            }
        };
        assert!(refused || !cannot_be(&text), "{text:?} is a name");
    }

    /// The file's name, or what looks like a name: each that could lead anywhere begins with the
    /// file's.
    fn some_name(&self, input: &mut Input<'_>) -> String {
        let own = &self.template.name;
        let kind = input.byte();
        let raw: Vec<u8> = (0..input.byte() % 8).map(|_| input.byte()).collect();
        let raw = String::from_utf8_lossy(&raw);
        match kind % 16 {
            0..=3 => own.clone(),
            4 => pick(kind >> 4, &["", ".", "..", "/", "\0", "/\n", "./", "//"]),
            5 => format!("/{own}"),
            6 => format!("../shm/{own}"),
            7 => format!(".{own}"),
            8 => format!("{own}{}", "n".repeat(MOST_NAME - own.len() + usize::from(kind >> 7))),
            9 => format!("{own}\0"),
            10 => format!("{own}/{raw}"),
            11 | 12 => format!("{own}{raw}"),
            _ => {
                let this = std::process::id().to_string();
                let numbers =
                    ["4294967295", &this, "4294967296", "0", "", "+4294967295", "-1", "x"];
                format!("{UNFINISHED}{}-{own}{raw}", pick(kind >> 4, &numbers))
            }
        }
    }

    /// The file is found under this name, if it can be.
    fn give_name(&mut self, text: &str) {
        let is_ours = text.trim_start_matches(UNFINISHED).contains(&self.template.name);
        if self.template.is_sealed || !is_ours || text.contains(['/', '\0']) {
            return;
        }
        let path = Path::new(FOLDER).join(text);
        let file = format!("/proc/self/fd/{}", self.template.file.as_raw_fd());
        if rustix::fs::linkat(CWD, file, CWD, &path, AtFlags::SYMLINK_FOLLOW).is_ok() {
            self.paths.push(path);
        }
    }

    // -------------------------------------------------------------------------------- what is left

    /// What was open is gone as by a kill: the words stay as they are, and the kernel gives the
    /// locks away.
    fn crash(&mut self, how: u8) {
        let Ok(bytes) = self.template.file.metadata().map(|data| data.len()) else { return };
        let mut words = vec![0; bytes as usize];
        if self.template.file.read_exact_at(&mut words, 0).is_err() {
            return;
        }
        if how & 1 == 0 {
            self.mirrors.clear();
        }
        if how & 2 == 0 {
            self.reader = None;
        }
        if how & 4 == 0 {
            (self.seat, self.ring) = (None, None);
        }
        self.template.file.write_all_at(&words, 0).expect("a file");
    }

    /// Two looks at the same words give the same, and change none of them.
    fn verify(&mut self, how: u8) {
        let Some(places) = self.places() else { return };
        self.looks = MOST_LOOKS;
        if how & 1 == 0 {
            // What a crash has left is read as a copy.
            self.crash(0);
        }
        let words = |stage: &Self| {
            let mut words =
                vec![0; stage.template.file.metadata().map_or(0, |data| data.len() as usize)];
            stage.template.file.read_exact_at(&mut words, 0).map(|()| words).ok()
        };
        let before = words(self);
        self.observer = None;
        let Some(observer) = sound(Observer::attach(&self.template.file)) else { return };
        assert_eq!(observer.is_used(), !self.is_unmapped());
        let (first, second) = (sound(observer.snapshot()), sound(observer.snapshot()));
        let (Some(first), Some(second)) = (first, second) else { return };
        assert_eq!(first, second);
        assert!(first.len() <= places.most_seen(), "{} items in {places:?}", first.len());
        first.iter().for_each(|item| check(item, &places));
        assert!(words(self) == before, "a look has changed something");
        _ = observer.has_checksums();
        self.observer = Some((observer, places));
    }

    /// Gives slots the checksums that their words ask for: those of a process that may write there,
    /// and knows how.
    fn sum(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        if how & 1 == 0 {
            // Slots have one or not, for who attaches from now on.
            let word = self.load(32).unwrap_or(0);
            self.store(32, word ^ 1 << 48);
        }
        let places = &self.template.places;
        let count = places.slot_count();
        let first = input.below(count);
        let slots = if how & 2 == 0 { first..first + 1 } else { 0..count };
        for slot in slots {
            let at = places.slots + places.slot_bytes * slot;
            let mut words = vec![0; places.slot_bytes];
            if self.template.file.read_exact_at(&mut words, at as u64).is_err() {
                return;
            }
            let length = usize::from(u16::from_ne_bytes([words[27], words[28]]));
            let Some(payload) = words.get(40..40 + length) else { continue };
            let sum = crc32c::crc32c_append(crc32c::crc32c(payload), &words[8..32]);
            let with_position = crc32c::crc32c_append(sum, &words[..8]);
            self.store(at + 32, u64::from(sum) | u64::from(with_position) << 32);
        }
    }

    // ---------------------------------------------------------------------------------------- file

    /// Cuts the file while it is mapped, which is an error then and not a signal.
    fn cut_while_mapped(&mut self, input: &mut Input<'_>) {
        static ASKED: Once = Once::new();
        ASKED.call_once(|| linering::turn_sigbus_into_errors().expect("a handler"));
        let at = input.below(self.template.image.len() + 64) as u64;
        if !self.template.is_sealed
            && self.template.file.metadata().is_ok_and(|data| at < data.len())
        {
            self.template.file.set_len(at).expect("a file");
        }
    }

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

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One of these.
fn pick(which: u8, texts: &[&str]) -> String {
    texts[usize::from(which) % texts.len()].to_owned()
}

/// Whether no ring can have this name, whatever is in shared memory.
fn cannot_be(text: &str) -> bool {
    !(1..=MOST_NAME).contains(&text.len())
        || text.contains(['/', '\0'])
        || text.starts_with('.') && !text.starts_with(UNFINISHED)
}

fn is_refused<T>(result: &Result<T, AttachError>) -> bool {
    matches!(result, Err(AttachError::Name { .. }))
}

// ------------------------------------------------------------------------------------------ checks

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
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
        })
        .ok()
}
