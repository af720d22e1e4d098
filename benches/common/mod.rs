//! What the benches share: lines that can be checked, and transports that carry them.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::sync::atomic::{AtomicU64, Ordering};

use linering::{Item, LineRing, Options, Policy, Timestamps};

mod round_trip;

/// Prints how far the processors are apart at this moment: figures of several threads are
/// comparable where that is the same.
pub fn print_distance() {
    if let Some(time) = round_trip::round_trip_ns() {
        println!("round trip of a cache line between two processors: {time:.0} ns");
    }
}

/// Bytes of a line, without its end.
pub const LINE: usize = 100;

/// Line `number` of `writer`: both numbers, and a filling that depends on them.
#[inline]
pub fn line(writer: u64, number: u64) -> [u8; LINE] {
    let mut line = [b'.'; LINE];
    line[..8].copy_from_slice(&writer.to_ne_bytes());
    line[8..16].copy_from_slice(&number.to_ne_bytes());
    line[LINE - 8..].copy_from_slice(&(writer ^ number).to_ne_bytes());
    line
}

/// Checks what a reader got: every line whole, each writer's in its order, none lost.
#[derive(Debug, Default)]
pub struct Check {
    next: Vec<u64>,
    pub lines: u64,
}

impl Check {
    /// # Panics
    ///
    /// If this is not its writer's next line.
    #[inline]
    pub fn line(&mut self, bytes: &[u8]) {
        let writer = u64::from_ne_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        if self.next.len() <= writer {
            assert!(writer < 64, "the line is torn: it names writer {writer}");
            self.next.resize(writer + 1, 0);
        }
        let number = self.next[writer];
        assert_eq!(bytes, line(writer as u64, number), "writer {writer} has another line {number}");
        self.next[writer] += 1;
        self.lines += 1;
    }
}

/// A ring with room for `lines` lines of 100 bytes, one slot each.
pub fn ring(lines: usize, policy: Policy) -> LineRing {
    ring_with(lines, policy, false)
}

/// The same, with checksums or without.
pub fn ring_with(lines: usize, policy: Policy, checksums: bool) -> LineRing {
    let options = Options::new().lines(lines).line_bytes(192).timestamps(Timestamps::Off);
    LineRing::new(options.policy(policy).checksums(checksums)).expect("there is memory for a ring")
}

/// The floor for anything that gives lines one order: copy the line, and bump one shared counter.
#[derive(Debug)]
pub struct Floor {
    next: AtomicU64,
    /// A power of two of them.
    slots: Vec<[AtomicU64; LINE.div_ceil(8)]>,
}

impl Floor {
    pub fn new(lines: usize) -> Self {
        Self { next: AtomicU64::new(0), slots: (0..lines).map(|_| Default::default()).collect() }
    }

    /// Writes one line of exactly 100 bytes. Nothing is spared to make it quick: what beats it
    /// earns it.
    #[inline]
    pub fn write(&self, bytes: &[u8; LINE]) {
        let position = self.next.fetch_add(1, Ordering::AcqRel) as usize;
        let slot = &self.slots[position & (self.slots.len() - 1)];
        let (words, tail) = bytes.as_chunks::<8>();
        for (to, word) in slot.iter().zip(words) {
            to.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
        let tail = u32::from_ne_bytes(tail.try_into().expect("100 is 12 words and 4 bytes"));
        slot[LINE / 8].store(u64::from(tail).to_le(), Ordering::Relaxed);
    }

    /// The line at a position, which has been written.
    pub fn read(&self, position: usize) -> [u8; LINE] {
        let mut line = [0; LINE];
        for (chunk, word) in line.chunks_mut(8).zip(&self.slots[position % self.slots.len()]) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[..chunk.len()]);
        }
        line
    }
}

/// Reads a ring until every mirror has ended, and checks every line.
///
/// # Panics
///
/// If a line is not its writer's next, or anything was lost.
pub fn drain(ring: &LineRing) -> Check {
    let mut reader = ring.reader().expect("the ring has no other reader");
    let mut check = Check::default();
    loop {
        let batch = reader.batch().expect("nothing interrupts");
        if batch.is_empty() {
            return check;
        }
        for item in batch.iter() {
            match item {
                Item::Line(line) => check.line(&line.bytes),
                Item::Ended(_) => {}
                other => panic!("expected every line, got {other}"),
            }
        }
        batch.commit();
    }
}
