//! What no transport can be quicker than: what these write is never read.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::Backoff;

use crate::line::{Check, line};
use crate::shared::SharedMemory;
use crate::transport::{Kind, Reader, Reading, Run, Setup, Transport, Writer};

/// Words before the slots: the counter's, on cache lines of its own.
const COUNTER_WORDS: usize = 16;

/// A copy into a ring of slots: each writer's own, or all writers' with one counter that gives
/// lines their order.
#[derive(Debug)]
pub struct Copy<const N: usize, const COUNTED: bool> {
    memory: Arc<SharedMemory>,
    room: usize,
    writers: usize,
}

/// A copy of the line into a ring of the writer's own.
pub type Own<const N: usize> = Copy<N, false>;
/// One shared `fetch_add`, and a copy to where it says.
pub type Counted<const N: usize> = Copy<N, true>;

impl<const N: usize, const COUNTED: bool> Copy<N, COUNTED> {
    const SLOT_WORDS: usize = N.div_ceil(8);
}

impl<const N: usize, const COUNTED: bool> Transport<N> for Copy<N, COUNTED> {
    const KIND: Kind = Kind::Limit;
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = Copier<N, COUNTED>;
    type Reader = NoReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let room = setup.room.next_power_of_two();
        let slots = if COUNTED { room } else { room * setup.writers };
        let memory = SharedMemory::new(8 * (COUNTER_WORDS + slots * Self::SLOT_WORDS));
        Ok(Self {
            memory: Arc::new(memory.map_err(|error| error.to_string())?),
            room,
            writers: setup.writers,
        })
    }

    fn writer(&self, index: usize) -> Self::Writer {
        let first = if COUNTED { 0 } else { index * self.room };
        Copier { memory: Arc::clone(&self.memory), first, next: 0, mask: self.room - 1 }
    }

    fn reader(&self) -> NoReader<N> {
        let exact = !COUNTED || self.writers == 1;
        NoReader { memory: Arc::clone(&self.memory), room: self.room, exact, line: PhantomData }
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct Copier<const N: usize, const COUNTED: bool> {
    memory: Arc<SharedMemory>,
    first: usize,
    next: usize,
    mask: usize,
}

impl<const N: usize, const COUNTED: bool> Writer<N> for Copier<N, COUNTED> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        let words = self.memory.words();
        let position = if COUNTED {
            words[0].fetch_add(1, Ordering::AcqRel) as usize
        } else {
            self.next += 1;
            self.next - 1
        };
        let slot_words = N.div_ceil(8);
        let start = COUNTER_WORDS + (self.first + (position & self.mask)) * slot_words;
        for (to, chunk) in words[start..start + slot_words].iter().zip(line.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            to.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }
}

/// Waits for the writers, and looks at what one left in its slots.
#[derive(Debug)]
pub struct NoReader<const N: usize> {
    memory: Arc<SharedMemory>,
    room: usize,
    /// Several writers with one counter may write over each other: there is no reader to wait
    /// for.
    exact: bool,
    line: PhantomData<[u8; N]>,
}

impl<const N: usize> Reader<N> for NoReader<N> {
    fn receive(&mut self, _: &mut impl FnMut(&[u8])) -> usize {
        0
    }

    fn read_all(self, run: &Run, check: &mut Check<N>) -> Duration {
        let time = run.clocked(|| {
            let backoff = Backoff::new();
            while !run.stage.all_finished() {
                backoff.snooze();
            }
        });
        let words = &self.memory.words()[COUNTER_WORDS..];
        let looked_at =
            if self.exact { self.room.min((run.total / check.writers()) as usize) } else { 0 };
        for slot in words.chunks_exact(N.div_ceil(8)).take(looked_at) {
            let words: Vec<u64> = slot.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(
                bytes[..N],
                line::<N>(words[0], words[1]),
                "a limit does not hold what was written"
            );
        }
        time
    }
}

/// The harness without a transport: each line is made and checked by the same thread.
#[derive(Debug)]
pub struct Alone<const N: usize>(PhantomData<[u8; N]>);

impl<const N: usize> Transport<N> for Alone<N> {
    const KIND: Kind = Kind::Alone;
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = AloneEnd<N>;
    type Reader = AloneEnd<N>;

    fn make(_: &Setup) -> Result<Self, String> {
        Ok(Self(PhantomData))
    }

    fn writer(&self, _: usize) -> AloneEnd<N> {
        AloneEnd(PhantomData)
    }

    fn reader(&self) -> AloneEnd<N> {
        AloneEnd(PhantomData)
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct AloneEnd<const N: usize>(PhantomData<[u8; N]>);

impl<const N: usize> Writer<N> for AloneEnd<N> {
    fn send(&mut self, _: &[u8; N]) {}
}

impl<const N: usize> Reader<N> for AloneEnd<N> {
    fn receive(&mut self, _: &mut impl FnMut(&[u8])) -> usize {
        0
    }

    fn read_all(self, run: &Run, check: &mut Check<N>) -> Duration {
        run.clocked(|| {
            let writers = check.writers();
            for number in 0..run.total / writers {
                for writer in 0..writers {
                    check.line(std::hint::black_box(&line::<N>(writer, number)));
                }
                run.stage.received(check.lines());
            }
        })
    }
}
