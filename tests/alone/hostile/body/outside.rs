//! Steps with what comes from outside of a ring: the strings of seats, and names.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use linering::{AttachError, CreateError, LineRing, Observer, Options, RingName, Seat};
use rustix::fs::{AtFlags, CWD};

use super::places::{FOLDER, MOST_NAME, UNFINISHED};
use super::stage::Stage;
use super::{Input, MOST_LOOKS, MOST_MIRRORS, check, sound};

impl Stage<'_> {
    /// Opens the seat that a string names, which is nearly good.
    pub(super) fn seat_of_text(&mut self, input: &mut Input<'_>) {
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
    pub(super) fn name(&mut self, input: &mut Input<'_>) {
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
            // As a file: a process that would take part does not follow a link, an observer does.
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
    pub(super) fn some_name(&self, input: &mut Input<'_>) -> String {
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
    pub(super) fn give_name(&mut self, text: &str) {
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
}

/// One of these.
pub(super) fn pick(which: u8, texts: &[&str]) -> String {
    texts[usize::from(which) % texts.len()].to_owned()
}

/// Whether no ring can have this name, whatever is in shared memory.
pub(super) fn cannot_be(text: &str) -> bool {
    !(1..=MOST_NAME).contains(&text.len())
        || text.contains(['/', '\0'])
        || text.starts_with('.') && !text.starts_with(UNFINISHED)
}

pub(super) fn is_refused<T>(result: &Result<T, AttachError>) -> bool {
    matches!(result, Err(AttachError::Name { .. }))
}
