//! The rings that operations are tried in, and what of them other processes can see.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use linering::{LineProcMirror, LineRing, Options, Policy};

use super::operations::{Hands, Log, Operation};
use super::{LINES, MIRRORS, PATIENCE, PAYLOAD};
use crate::common::tracer::{Traced, mark};
use crate::common::{RING_SEALS, below_overflow, bytes_of, memory};

pub(super) fn before(number: usize) -> String {
    format!("before {number}")
}

/// A ring, and who holds its cells.
pub(super) struct Stage {
    pub(super) ring: LineRing,
    pub(super) keepers: Vec<LineProcMirror>,
}

impl Operation {
    pub(super) fn stage(&self) -> Stage {
        let ring = self.ring();
        Log::of_this_test().clear();
        let keepers = if self.crowded { MIRRORS - 1 } else { 0 };
        let keepers =
            (0..keepers).map(|_| ring.mirror_labelled("keeper").expect("a cell")).collect();
        if let Some((operation, change)) = &self.victim {
            let victim = operation.start(&ring);
            if *change > 0 {
                operation.step_until(&ring, &victim, |_, now, _| now == *change);
            }
            victim.kill();
        }
        Stage { ring, keepers }
    }

    /// How many changes it makes.
    pub(super) fn changes(&self) -> usize {
        let Stage { ring, .. } = self.stage();
        let child = self.start(&ring);
        let mut changes = 0;
        self.step_until(&ring, &child, |_, change, _| {
            changes = changes.max(change);
            false
        });
        changes
    }

    /// Bytes of a line that fit in a slot.
    pub(super) fn payload(&self) -> usize {
        PAYLOAD - if self.checksums { 8 } else { 0 }
    }

    fn ring(&self) -> LineRing {
        let options = Options::new()
            .lines(LINES)
            .line_bytes(64)
            .max_line(if self.policy == Policy::OverwriteOldest {
                LINES * self.payload() / 2
            } else {
                400
            })
            .checksums(self.checksums)
            .mirrors(MIRRORS)
            .seats(12)
            .policy(self.policy)
            .timestamps(linering::Timestamps::Off)
            .start_position(below_overflow(LINES))
            // A seat that no process opens any more keeps no reader waiting; and no writer waits
            // for a reader that died.
            .seat_limit(Duration::from_millis(1))
            .block_limit(PATIENCE);
        let ring = LineRing::new(options).expect("a ring");
        let mut mirror = ring.mirror_labelled("before").expect("a mirror");
        for number in 0..self.before {
            mirror.write_line(before(number).as_bytes()).expect("room");
        }
        ring
    }

    /// A child that stands before the operation, in this ring.
    pub(super) fn start(&self, ring: &LineRing) -> Traced {
        Traced::start(|| {
            let mut hands = Hands::default();
            (self.prepare)(ring, &mut hands);
            mark();
            let done = (self.act)(ring, &mut hands);
            mark();
            // Its mirrors end.
            drop(hands);
            u8::from(!done)
        })
    }
}

/// What others can see of a ring: its bytes, and which of its cells' locks are held.
pub(super) struct State {
    /// A description of its own, with which locks are asked about.
    pub(super) file: File,
    pub(super) bytes: Vec<u8>,
    pub(super) locks: Vec<bool>,
}

impl State {
    pub(super) fn of(ring: &LineRing) -> Self {
        let descriptor = ring.descriptor().expect("open").as_raw_fd();
        let path = format!("/proc/self/fd/{descriptor}");
        let file = File::options().read(true).write(true).open(path).expect("it is open");
        let mut state = Self { file, bytes: bytes_of(ring), locks: vec![false; MIRRORS + 1] };
        state.has_changed();
        state
    }

    /// Looks again.
    pub(super) fn has_changed(&mut self) -> bool {
        let mut bytes = vec![0; self.bytes.len()];
        self.file.read_exact_at(&mut bytes, 0).expect("so many bytes");
        let locks: Vec<bool> = (0..self.locks.len()).map(|cell| self.is_locked(cell)).collect();
        let is_same = bytes == self.bytes && locks == self.locks;
        (self.bytes, self.locks) = (bytes, locks);
        !is_same
    }

    fn is_locked(&self, cell: usize) -> bool {
        // SAFETY: a plain struct, for which zeros are valid, which lives during the call.
        unsafe {
            let mut lock: libc::flock = core::mem::zeroed();
            lock.l_type = libc::F_WRLCK as libc::c_short;
            lock.l_start = cell as libc::off_t;
            lock.l_len = 1;
            assert_eq!(libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock), 0);
            lock.l_type != libc::F_UNLCK as libc::c_short
        }
    }
}

/// A ring with the same bytes, in which no process lives.
pub(super) fn copy(bytes: &[u8]) -> LineRing {
    LineRing::attach(memory(bytes, RING_SEALS)).expect("the bytes of a ring")
}
