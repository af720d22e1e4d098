//! The bytes that a ring begins with: those of small real rings.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use linering::{LineRing, Options, Policy, WakeUp};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use super::Input;
use super::places::{FOLDER, Places, SLOT};

/// The bytes of a real ring, and a file for them.
pub(super) struct Template {
    pub(super) file: File,
    pub(super) image: Vec<u8>,
    pub(super) places: Places,
    pub(super) is_sealed: bool,
    /// What it is called in shared memory while it has a name there. No other thread, and no other
    /// process, has that.
    pub(super) name: String,
    /// What no ring is in: a pipe, a device and a folder.
    pub(super) strange: Rc<[OwnedFd; 3]>,
    /// Keeps the wake-up pipe, which those who attach open again.
    pub(super) _ring: LineRing,
}

/// Rings in which the processes have died: no process holds the locks of their cells.
pub(super) fn templates() -> Vec<Template> {
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
pub(super) fn template(
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
pub(super) fn nameless() -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

pub(super) fn memory() -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create("hostile", flags).expect("memory").into()
}

impl Template {
    /// Its file has the ring's bytes again.
    pub(super) fn reset(&self) {
        if !self.is_sealed {
            self.file.set_len(self.image.len() as u64).expect("a file");
        }
        self.file.write_all_at(&self.image, 0).expect("a file");
    }

    /// Its file has any bytes; behind a sound geometry, if `is_sound`.
    pub(super) fn scribble(&self, input: &mut Input<'_>, is_sound: bool) {
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
