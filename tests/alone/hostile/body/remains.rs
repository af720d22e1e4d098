//! Steps with what is left of a ring: after a crash, of slots' checksums, of a file that was cut.

use std::os::unix::fs::FileExt;
use std::sync::Once;

use linering::Observer;
use rustix::fs::FallocateFlags;

use super::stage::Stage;
use super::{Input, MOST_LOOKS, check, sound};

impl Stage<'_> {
    /// What was open is gone as by a kill: the words stay as they are, and the kernel gives the
    /// locks away.
    pub(super) fn crash(&mut self, how: u8) {
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
    pub(super) fn verify(&mut self, how: u8) {
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
    pub(super) fn sum(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        if how & 1 == 0 {
            // Slots have one or not, for processes that attach from now on.
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
    pub(super) fn cut_while_mapped(&mut self, input: &mut Input<'_>) {
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
    pub(super) fn is_unmapped(&self) -> bool {
        let looks = self.observer.as_ref().is_some_and(|(observer, _)| observer.is_used());
        self.ring.is_none()
            && self.reader.is_none()
            && self.mirrors.is_empty()
            && self.seat.is_none()
            && !looks
    }

    /// Punches a hole into the file, or makes it longer or shorter.
    ///
    /// Shorter only while no process has it mapped: the kernel kills one that has, which is why a
    /// ring in memory is sealed and a file is not to be cut while it is used.
    pub(super) fn cut(&mut self, input: &mut Input<'_>) {
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

    pub(super) fn close(&mut self, input: &mut Input<'_>) {
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
