//! The exchange: publish, take, observe.
//!
//! Runs over borrowed atomics and knows no segment, no process and no system call: the same code runs in
//! shared memory, on the heap and under loom.
//!
//! # The structure
//!
//! The order ring has N entries. Position `p` stands in entry `p mod N`, and `p / N` is its lap. Every entry
//! and every cell has exactly one slot at every moment. A writer fills its cell's slot (its spare) and swaps
//! it into an entry; what was there becomes its spare. The reader, which has copied the line by then, only says that
//! the entry can be filled again.
//!
//! ```text
//!              publish                          take
//!   (lap, free, B) ────► (lap, full, A) ────────────────► (lap + 1, free, A)
//!                              │                                   │
//!                              │ publish in lap + 1                │ publish in lap + 1
//!                              ▼ (OverwriteOldest only)            ▼
//!                        (lap + 1, full, A')                (lap + 1, full, A')
//! ```
//!
//! # Invariants
//!
//! * **I1** An entry only moves forward: its `(lap, full)` never comes twice. So an entry that was read twice
//!   with the same value did not change in between.
//! * **I2** A slot is in one place: in one entry, or it is the spare of one cell. While a cell's hold word says
//!   `INTENT(A, B)` exactly one of the two is its spare and the other is elsewhere.
//! * **I3** Only the owner of a spare writes its words; anybody may read them, and only as atomics.
//! * **I4** Positions are filled in order: when `p` is filled, `p - 1` is filled or was consumed.
//! * **I5** The tail hint never leads: every position before it is filled or was consumed.
//!
//! # Pairs
//!
//! Each non-relaxed operation carries its label; a test reads this table and the labels.
//!
//! | release side | acquire side | if the second reads from the first, then |
//! |---|---|---|
//! | publish:E | look:A | the reader sees the slot's words as they were published |
//! | publish:E | publish:A | the next writer sees that the position is filled, and so fills the one after it (I4) |
//! | take:D | publish:A | the writer owns the slot only after the reader has finished reading it |
//! | publish:E | observe:C | as look:A |
//! | take:D | observe:C | an observer sees the slot as the reader found it |
//! | publish:G | observe:D | as observe:B |
//! | publish:G | observe:B | an observer that saw a word of the slot's next use sees that the entry changed |
//! | publish:D | recover:A | who finds the exchange done or not done also finds the intent |
//! | publish:F | recover:A | who finds the new spare held finds the exchange done |
//! | pending:A | unfinished:A | the unfinished line's bytes are in the spare |
//! | publish:E | sleep:B | (both SeqCst) either the reader's last look sees the line |
//! | event:A | sleep:C | (both SeqCst) as publish:E and sleep:B, for an end |
//! | sleep:A | wake:A | (both SeqCst) or the writer sees that the reader sleeps |

use crate::checksum;
use crate::layout::{CHECK_WORD, Cell, Entry, Hold, Pending, SLOT_HEADER_WORDS, Shape, SlotHeader};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, seq_cst_for_loom};
use crate::words::{load_block, load_bytes, load_words, prefetch, store_bytes};

use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// How many positions ahead a writer fetches the slots that will be spares soon.
const SPARES_AHEAD: u64 = 8;

/// Filled, taken, and the next lap's: no two entries are further apart, whatever was taken or overwritten of them.
const NEAR_LAPS: i64 = 2;

/// The order ring and its slots, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a> {
    pub(crate) order: &'a [AtomicU64],
    pub(crate) slots: &'a [AtomicU64],
    /// The tail hint (I5).
    pub(crate) next_position: &'a AtomicU64,
    pub(crate) shape: Shape,
    /// How many slots there are.
    slot_count: usize,
}

/// Positions of one lap, one after another.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Their entries.
    pub(crate) words: &'a [AtomicU64],
    /// What those say that are filled, but for the slot,
    pub(crate) full: Entry,
    /// and those that are taken.
    taken: Entry,
}

/// A cell's slot, as its owner knows it.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) slot: u32,
    changes: u64,
    /// The position after the one that the owner filled last, if it has filled one.
    next: Option<u64>,
    /// The sum of what the slot has, without the position, where slots have checksums.
    sum: u32,
}

impl Spare {
    /// The spare of a cell whose hold word is this; `None` while it is undecided.
    pub(crate) fn of(hold: u64) -> Option<Self> {
        match Hold::unpack(hold) {
            (Hold::Held(slot), changes) => Some(Self { slot, changes, next: None, sum: checksum::NONE }),
            (Hold::Intent(..), _) => None,
        }
    }

    /// The word that says `hold`, with a new change count.
    #[inline]
    fn word(&mut self, hold: Hold) -> u64 {
        self.changes = self.changes.wrapping_add(1);
        hold.pack(self.changes)
    }
}

impl Cell {
    #[inline]
    pub(crate) fn pending(&self) -> Pending {
        // ORD unfinished:A, acquire; pairs with pending:A; the bytes that it counts are in the spare.
        Pending::unpack(self.writer.0.pending.load(Acquire))
    }

    #[inline]
    pub(crate) fn set_pending(&self, line: u64, bytes: usize) {
        // ORD pending:A, release; pairs with unfinished:A; after the bytes it counts.
        self.writer.0.pending.store(Pending { line, bytes: bytes as u16 }.pack(), Release);
    }
}

/// What an entry says about a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The position can be filled.
    Free,
    /// The line of the lap before is still there: the ring is full.
    Oldest,
    /// Filled already, or far off the hint: go on at this position.
    Elsewhere(u64),
}

/// What a writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Look at this position.
    GoOn(u64),
    /// Swap the spare for the slot of this entry.
    Exchange(Entry),
    /// Give up.
    Refuse(Refused),
}

/// Why a spare was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The ring is full: the entry of this position still has the oldest line.
    Full(u64),
    /// The order ring holds words that no writer or reader left there.
    Damaged,
}

/// What stands at a position that the reader has not consumed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The line or part; its payload was copied out.
    Part(SlotHeader),
    /// Not filled yet.
    Empty,
    /// Not filled yet, and the line of the lap before was never taken: a reader that was overrun skipped it.
    Stale,
    /// The entry is of a later lap by this many laps: the line was overwritten or consumed.
    Passed(u64),
    /// Something that no writer left there. The position has to be skipped.
    Damaged,
}

#[inline]
fn place(shape: Shape, entry: Entry, position: u64) -> Place {
    // The common cases, in one comparison each.
    let lap = shape.lap(position);
    if entry.is_at(Entry::free(lap, 0)) {
        return Place::Free;
    }
    if entry.is_at(Entry::full(lap.wrapping_sub(1), 0)) {
        return Place::Oldest;
    }
    place_elsewhere(shape, entry, position)
}

fn place_elsewhere(shape: Shape, entry: Entry, position: u64) -> Place {
    let laps = entry.laps_since(shape.lap(position));
    let there = shape.after_laps(position, laps);
    match (laps, entry.is_full()) {
        (0, false) => Place::Free,
        (-1, true) => Place::Oldest,
        // `there` is filled, so the next free one comes after it.
        (_, true) => Place::Elsewhere(there.wrapping_add(1)),
        // `there` is free and a lap earlier was consumed, so the next free one comes after that.
        (1.., false) => Place::Elsewhere(shape.after_laps(there, -1).wrapping_add(1)),
        // The hint leads by laps: `there` is free.
        (_, false) => Place::Elsewhere(there),
    }
}

/// Whether `position` was filled, in this lap, by what its entry says.
#[inline]
fn is_filled(shape: Shape, entry: Entry, position: u64) -> bool {
    // The common case, in one comparison: full, and of this lap.
    if entry.is_at(Entry::full(shape.lap(position), 0)) {
        return true;
    }
    let laps = entry.laps_since(shape.lap(position));
    laps > 0 || laps == 0 && entry.is_full()
}

impl<'a> Ring<'a> {
    /// # Panics
    ///
    /// If there is not one entry for each position.
    pub(crate) fn new(
        order: &'a [AtomicU64],
        slots: &'a [AtomicU64],
        next_position: &'a AtomicU64,
        shape: Shape,
    ) -> Self {
        assert_eq!(order.len() as u64, shape.positions());
        Self { order, slots, next_position, shape, slot_count: slots.len() / shape.slot_words }
    }

    #[inline]
    fn entry(&self, position: u64) -> &'a AtomicU64 {
        &self.order[self.shape.index(position)]
    }

    /// The words of a slot; `None` for an index that no slot has.
    #[inline]
    fn slot(&self, slot: u32) -> Option<&'a [AtomicU64]> {
        let start = slot as usize * self.shape.slot_words;
        self.slots.get(start..start + self.shape.slot_words)
    }

    #[inline]
    fn own(&self, spare: &Spare) -> &'a [AtomicU64] {
        self.slot(spare.slot).expect("a spare's index was checked when it was taken")
    }

    /// Checks an index that came from shared memory.
    #[inline]
    pub(crate) fn has_slot(&self, slot: u32) -> bool {
        (slot as usize) < self.slot_count
    }

    // ------------------------------------------------------------------------------------ the spare

    /// Puts payload bytes into the owner's spare, from byte `at` on.
    ///
    /// # Panics
    ///
    /// If they do not fit in a slot.
    pub(crate) fn fill(&self, spare: &Spare, at: usize, bytes: &[u8]) {
        store_bytes(&self.own(spare)[self.shape.header_words()..], at, bytes);
    }

    /// The sum of the payload whose sum is `sum`, with these bytes after it; nothing where slots
    /// have no checksum.
    #[inline]
    pub(crate) fn sum(&self, sum: u32, bytes: &[u8]) -> u32 {
        if self.shape.has_checks() { checksum::append_apart(sum, bytes) } else { checksum::NONE }
    }

    /// Puts the header's words except the position into the owner's spare.
    pub(crate) fn head(&self, spare: &Spare, header: &SlotHeader) {
        put_header(self.own(spare), header);
    }

    /// The same for a spare that is going to be published, with the sum of its payload.
    #[inline]
    pub(crate) fn seal(&self, spare: &mut Spare, header: &SlotHeader, payload: u32) {
        put_header(self.own(spare), header);
        if self.shape.has_checks() {
            spare.sum = checksum::with_header_apart(payload, header);
        }
    }

    /// The same for one that is not what its writer put there: each reader of it sees that.
    pub(crate) fn seal_damaged(&self, spare: &mut Spare, header: &SlotHeader, payload: u32) {
        self.seal(spare, header, payload);
        spare.sum = !spare.sum;
    }

    /// Puts a header, but for the position, and a payload into the owner's spare, and seals it: a
    /// line that comes in one piece. `CHECKS`: slots have checksums.
    ///
    /// # Panics
    ///
    /// If the payload does not fit in a slot.
    #[inline(always)]
    pub(crate) fn put<const CHECKS: bool>(&self, spare: &mut Spare, header: &SlotHeader, bytes: &[u8]) {
        let words = self.own(spare);
        store_bytes(&words[SLOT_HEADER_WORDS + usize::from(CHECKS)..], 0, bytes);
        put_header(words, header);
        if CHECKS {
            // Of the caller's bytes: what stands in the segment may be changed by others.
            spare.sum = checksum::with_header(checksum::append(checksum::NONE, bytes), header);
        }
    }

    /// Puts the order of an unfinished line where its position will be.
    pub(crate) fn mark_begun(&self, spare: &Spare, order: u64) {
        self.own(spare)[0].store(order, Relaxed);
    }

    /// Puts another number there, of a spare that was sealed and stays: its checksum is that of a
    /// slot at that position.
    pub(crate) fn mark_kept(&self, spare: &Spare, number: u64) {
        if self.shape.has_checks() {
            self.mark::<true>(spare, number);
        } else {
            self.mark::<false>(spare, number);
        }
    }

    #[inline]
    fn mark<const CHECKS: bool>(&self, spare: &Spare, position: u64) {
        let words = self.own(spare);
        words[0].store(position, Relaxed);
        if CHECKS {
            words[CHECK_WORD].store(checksum::word(spare.sum, position), Relaxed);
        }
    }

    // ------------------------------------------------------------------------------------ publish

    /// Swaps the owner's spare into the order ring and returns its position.
    ///
    /// Lock-free: each retry means that another writer or the reader has moved on. No system call. A process
    /// that dies here has published the line or not, and nobody has to wait for it either way.
    ///
    /// `then` runs between the exchange and the note of it (publish:F): who finds the new spare held finds what it
    /// stored.
    #[inline]
    pub(crate) fn publish(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        overwrite: bool,
        then: impl Fn(),
    ) -> Result<u64, Refused> {
        if self.shape.has_checks() {
            self.publish_as::<true>(hold, spare, overwrite, then)
        } else {
            self.publish_as::<false>(hold, spare, overwrite, then)
        }
    }

    /// The same for a caller that knows whether slots have checksums.
    #[inline(always)]
    pub(crate) fn publish_as<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        overwrite: bool,
        then: impl Fn(),
    ) -> Result<u64, Refused> {
        // The common case: the hint is right, and nobody else is at that position.
        let position = self.next_position.load(Relaxed);
        if let Plan::Exchange(entry) = self.plan(position, overwrite, spare.next)
            && self.exchange::<CHECKS>(hold, spare, position, entry, &then)
        {
            return Ok(position);
        }
        let refused = self.publish_elsewhere::<CHECKS>(hold, spare, overwrite, position, then);
        // An exchange that failed, here or there, left its intent behind; a refusal without one changed nothing.
        if refused.is_err() && Spare::of(hold.load(Relaxed)).is_none() {
            self.keep(hold, spare);
        }
        refused
    }

    #[cold]
    #[inline(never)]
    fn publish_elsewhere<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        overwrite: bool,
        mut position: u64,
        then: impl Fn(),
    ) -> Result<u64, Refused> {
        // A walk along a sound ring is short: this bounds one along words that make no sense.
        for _ in 0..8 * self.shape.positions() + 0x1_0000 {
            match self.plan(position, overwrite, spare.next) {
                Plan::GoOn(other) => position = other,
                Plan::Exchange(entry) => {
                    if self.exchange::<CHECKS>(hold, spare, position, entry, &then) {
                        return Ok(position);
                    }
                    // The same position again: the reader may have consumed the old entry, and a position that is
                    // skipped stays a hole for ever.
                }
                Plan::Refuse(refused) => return Err(refused),
            }
        }
        Err(Refused::Damaged)
    }

    /// What a writer that wants to publish does at `position`, and has itself filled the one before `next`.
    #[inline]
    fn plan(&self, position: u64, overwrite: bool, next: Option<u64>) -> Plan {
        // ORD publish:A, acquire; pairs with publish:E and take:D; the entry's slot is nobody else's any
        // more once the exchange succeeds, and a filled position carries I4 along.
        let entry = Entry(self.entry(position).load(Acquire));
        let place = place(self.shape, entry, position);
        if let Place::Elsewhere(other) = place {
            return Plan::GoOn(other);
        }
        // Before any verdict: no hole (I4), no false drop, no sleep beside free space.
        let before = position.wrapping_sub(1);
        // ORD publish:B, acquire; pairs with publish:E; the line before this one is visible to whoever sees
        // this one.
        if next != Some(position) && !is_filled(self.shape, Entry(self.entry(before).load(Acquire)), before) {
            return Plan::GoOn(before);
        }
        match place {
            Place::Oldest if !overwrite => Plan::Refuse(Refused::Full(position)),
            _ if !self.has_slot(entry.slot()) => Plan::Refuse(Refused::Damaged),
            _ => Plan::Exchange(entry),
        }
    }

    /// Swaps the spare for what `entry` says is at `position`; `false` if it is not there any more.
    #[inline(always)]
    fn exchange<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        position: u64,
        entry: Entry,
        then: impl Fn(),
    ) -> bool {
        self.mark::<CHECKS>(spare, position);
        // ORD publish:D, release; pairs with recover:A; the spare is complete when the intent is seen, and the
        // intent is seen by whoever sees the exchange.
        hold.store(spare.word(Hold::Intent(spare.slot, entry.slot())), Release);
        let filled = Entry::full(self.shape.lap(position), spare.slot);
        // ORD publish:E, SeqCst; pairs with look:A, publish:A and sleep:B; the slot's words are visible to
        // whoever sees the entry. AcqRel fails against a reader that falls asleep: wake:A could be read before.
        if self.entry(position).compare_exchange(entry.0, filled.0, SeqCst, Relaxed).is_err() {
            return false;
        }
        let next = position.wrapping_add(1);
        (spare.slot, spare.next) = (entry.slot(), Some(next));
        then();
        // ORD publish:F, release; pairs with recover:A; who sees the new spare held sees the exchange.
        hold.store(spare.word(Hold::Held(spare.slot)), Release);
        // ORD publish:G, release fence; pairs with observe:B; before the first store into the new spare: who
        // sees such a store sees that the entry changed.
        fence(Release);
        self.next_position.store(next, Relaxed);
        self.prefetch_spare(position.wrapping_add(SPARES_AHEAD));
        true
    }

    /// Tells those who look at the spare that other bytes are written over what it has: the change count moves.
    pub(crate) fn renew(&self, hold: &AtomicU64, spare: &mut Spare) {
        self.keep(hold, spare);
        // ORD renew:A, release fence; pairs with unfinished:B; before the first store of the new bytes.
        fence(Release);
    }

    /// The first position that is not filled: no line that was published before this call stands at or after it.
    pub(crate) fn tail(&self) -> u64 {
        let mut position = self.next_position.load(Relaxed);
        for _ in 0..2 * self.shape.positions() + 64 {
            // ORD tail:A, acquire; pairs with publish:E; by I4 all before a filled position is visible.
            match place(self.shape, Entry(self.entry(position).load(Acquire)), position) {
                Place::Elsewhere(other) => position = other,
                Place::Free | Place::Oldest => break,
            }
        }
        position
    }

    /// Notes that the spare did not leave, whatever was intended.
    fn keep(&self, hold: &AtomicU64, spare: &mut Spare) {
        // ORD publish:H, release; pairs with recover:A; as publish:F.
        hold.store(spare.word(Hold::Held(spare.slot)), Release);
    }

    /// Whether a writer that was refused at `position` would be refused again.
    pub(crate) fn is_full_at(&self, position: u64) -> bool {
        // ORD full:A, SeqCst; pairs with space:A; see `Sleeper`.
        place(self.shape, Entry(self.entry(position).load(SeqCst)), position) == Place::Oldest
    }

    // ------------------------------------------------------------------------------------ look, take

    /// Whether something stands at `position`, also for the reader's last look before it sleeps.
    pub(crate) fn is_filled_at(&self, position: u64) -> bool {
        // ORD sleep:B, SeqCst; pairs with publish:E; a weaker load could be satisfied before the flag is stored.
        is_filled(self.shape, Entry(self.entry(position).load(SeqCst)), position)
    }

    /// Copies what stands at `position` into `image`, header and all, without taking it.
    ///
    /// `image` must have room for a slot's words. Wait-free; also for observers that may only read.
    #[inline]
    pub(crate) fn look(&self, position: u64, image: &mut [u64]) -> Seen {
        let full = Entry::full(self.shape.lap(position), 0);
        match self.copy_part(self.entry(position), full, position, image) {
            Ok(()) => Seen::Part(SlotHeader { position, ..header_of(image) }),
            Err(entry) => self.seen_instead(position, entry),
        }
    }

    /// The positions from `position` on, to the end of its lap.
    #[inline]
    pub(crate) fn run(&self, position: u64) -> Run<'a> {
        let lap = self.shape.lap(position);
        Run {
            words: &self.order[self.shape.index(position)..],
            full: Entry::full(lap, 0),
            taken: Entry::free(lap.wrapping_add(1), 0),
        }
    }

    /// Copies what `word`, the entry of `position`, has, if it is as `full` says and stays so meanwhile; otherwise gives
    /// what the entry says instead.
    #[inline]
    pub(crate) fn copy_part(
        &self,
        word: &AtomicU64,
        full: Entry,
        position: u64,
        image: &mut [u64],
    ) -> Result<(), Entry> {
        // ORD look:A, acquire; pairs with publish:E; the slot's words are those that were published.
        let entry = Entry(word.load(Acquire));
        if !entry.is_at(full) || !self.copy(entry.slot(), image) {
            return Err(entry);
        }
        // ORD observe:B, acquire fence; pairs with publish:G; if a word above came from the slot's next use, the
        // entry has changed, and the load below sees it.
        fence(Acquire);
        let again = Entry(word.load(Relaxed));
        if again == entry && self.shape.is_same_place(image[0], position) { Ok(()) } else { Err(again) }
    }

    /// What an entry says of a position at which there is no part.
    #[cold]
    fn seen_instead(&self, position: u64, entry: Entry) -> Seen {
        let laps = entry.laps_since(self.shape.lap(position));
        match (laps, entry.is_full()) {
            (0, false) if self.has_slot(entry.slot()) => Seen::Empty,
            (-1, true) => Seen::Stale,
            (1.., _) => Seen::Passed(laps as u64),
            _ => Seen::Damaged,
        }
    }

    /// Copies the slot that the entry at `index` has, whether its line was taken or not: that and
    /// the entry; `None` in the place of a header that no slot has. `None` for both if the entry
    /// changed meanwhile. For observers.
    pub(crate) fn observe(&self, index: usize, image: &mut [u64]) -> Option<(Entry, Option<SlotHeader>)> {
        // ORD observe:C, acquire; pairs with publish:E and take:D; the slot's words are those of the line in it.
        let entry = Entry(self.order[index].load(Acquire));
        let is_sound = self.copy(entry.slot(), image);
        // ORD observe:D, acquire fence; pairs with publish:G; as observe:B.
        fence(Acquire);
        let is_same = Entry(self.order[index].load(Relaxed)) == entry;
        is_same.then(|| (entry, is_sound.then(|| header_of(image))))
    }

    /// Copies a slot's words, of its payload those that its length names, and some more; `false` for a length that no slot
    /// has, and for an index that no slot has.
    #[inline]
    pub(crate) fn copy(&self, slot: u32, image: &mut [u64]) -> bool {
        let Some((head, rest)) = self.slot(slot).and_then(<[_]>::split_first_chunk) else { return false };
        let Some((to_head, to_rest)) = image.split_first_chunk_mut::<SLOT_HEADER_WORDS>() else {
            return false;
        };
        load_block(head, to_head);
        let length = SlotHeader::length_of(to_head[SLOT_HEADER_WORDS - 1]);
        load_words(rest, to_rest, self.shape.check_bytes + length)
    }

    /// Makes `word`, an entry of the run, free for the next lap. Its slot stays there, with the line, until a writer gets it.
    ///
    /// `false` if something else stands there: the line was overwritten, or the position is damaged. Only the
    /// reader may call this, and only once the line was accepted.
    #[inline]
    pub(crate) fn take(&self, word: &AtomicU64, run: &Run<'_>, overwrite: bool) -> bool {
        // ORD take:A, acquire; pairs with publish:E; the slot is given on as it was published, also to observers.
        let entry = Entry(word.load(Acquire));
        if !entry.is_at(run.full) || !self.has_slot(entry.slot()) {
            return false;
        }
        let freed = run.taken.with_slot(entry.slot());
        if overwrite {
            // ORD take:C, AcqRel; pairs with publish:A and publish:E; as take:D, against an overwriting writer.
            return word.compare_exchange(entry.0, freed.0, AcqRel, Relaxed).is_ok();
        }
        // Nobody else changes a full entry, so a store is enough.
        // ORD take:D, release; pairs with publish:A; the reader has finished reading the slot it gives away.
        word.store(freed.0, Release);
        true
    }

    /// Whether `position`, which is not filled although it should be, can never be filled any more.
    ///
    /// By I4 a filled successor proves it; the entry is read again after the successor, since it may have been
    /// filled between the two looks.
    pub(crate) fn is_hole(&self, position: u64) -> bool {
        let next = position.wrapping_add(1);
        // ORD hole:A, acquire; pairs with publish:E; by I4 the line before a filled one is visible too.
        let next_filled = is_filled(self.shape, Entry(self.entry(next).load(Acquire)), next);
        // ORD hole:B, acquire; pairs with publish:E; must come after hole:A.
        next_filled && !is_filled(self.shape, Entry(self.entry(position).load(Acquire)), position)
    }

    /// Whether the entries of two positions are of laps that no ring has at the same time: one of them is damaged.
    ///
    /// Positions are filled in order (I4), so when one entry is of some lap all others are of it, or of one that is near.
    pub(crate) fn are_apart(&self, position: u64, other: u64) -> bool {
        // ORD apart:A, acquire; pairs with publish:E; by I4 all before a filled position is visible.
        let at = |position: u64| Entry(self.entry(position).load(Acquire));
        let (first, there, again) = (at(position), at(other), at(position));
        there.laps_since(first.lap()) < -NEAR_LAPS || there.laps_since(again.lap()) > NEAR_LAPS
    }

    /// Makes the entry of a damaged or empty `position` free for the next lap, whatever it says. Reader only.
    ///
    /// Where writers overwrite, an entry of a later lap is a newer line, and stays.
    pub(crate) fn skip(&self, position: u64, overwrite: bool) {
        let word = self.entry(position);
        let entry = Entry(word.load(Relaxed));
        if overwrite && entry.laps_since(self.shape.lap(position)) > 0 {
            return;
        }
        let slot = if self.has_slot(entry.slot()) { entry.slot() } else { 0 };
        let freed = Entry::free(self.shape.lap(position).wrapping_add(1), slot);
        // ORD skip:A, AcqRel; pairs with publish:A; as take:D. Should it fail, a writer was faster.
        let _ = word.compare_exchange(entry.0, freed.0, AcqRel, Relaxed);
    }

    /// The oldest position that is not overwritten yet, but at least `position`, which is not filled by a
    /// later lap. For a reader that was overrun.
    pub(crate) fn oldest_after(&self, position: u64) -> u64 {
        let next = self.next_position.load(Relaxed);
        let oldest = next.wrapping_sub(self.shape.positions());
        let last = next.wrapping_sub(1);
        // The hint is trusted only as far as the entry before it bears it out.
        // ORD oldest:A, acquire; pairs with publish:E; by I4 all before a filled position is visible.
        let filled = is_filled(self.shape, Entry(self.entry(last).load(Acquire)), last);
        if filled && oldest.wrapping_sub(position) as i64 > 0 { oldest } else { position }
    }

    /// Tells the processor to fetch what `word` has, if it is as `full` says: a slot that a writer is about to fill would
    /// be taken from its cache.
    #[inline]
    pub(crate) fn prefetch(&self, word: &AtomicU64, full: Entry) {
        let entry = Entry(word.load(Relaxed));
        if entry.is_at(full) {
            self.prefetch_slot::<false>(entry);
        }
    }

    /// Tells the processor to fetch, for writing, the slot that stands at `position` before it is filled: the
    /// spare of whoever fills it.
    #[inline]
    pub(crate) fn prefetch_spare(&self, position: u64) {
        let entry = Entry(self.entry(position).load(Relaxed));
        self.prefetch_slot::<true>(entry);
    }

    #[inline]
    fn prefetch_slot<const WRITE: bool>(&self, entry: Entry) {
        // Not checked: an address of nothing is fetched from nowhere.
        let start = self.slots.as_ptr().wrapping_add(entry.slot() as usize * self.shape.slot_words);
        prefetch::<WRITE>(start);
        prefetch::<WRITE>(start.wrapping_add(8));
        if self.shape.slot_words > 16 {
            prefetch::<WRITE>(start.wrapping_add(16));
        }
    }
}

#[inline]
fn put_header(slot: &[AtomicU64], header: &SlotHeader) {
    let [_, time, line, part] = slot.first_chunk().expect("a slot has a header");
    time.store(header.time_word(), Relaxed);
    line.store(header.line_word(), Relaxed);
    part.store(header.part_word(), Relaxed);
}

fn header_of(image: &[u64]) -> SlotHeader {
    SlotHeader::unpack(*image.first_chunk().expect("there is room for a slot"))
}

// --------------------------------------------------------------------------------------- sleeping

/// What the word says that the reader sleeps on.
pub(crate) const AWAKE: u32 = 0;
/// Somebody has to wake it.
pub(crate) const ASLEEP: u32 = 1;
/// Somebody is about to.
const BEING_WOKEN: u32 = 2;
/// It stands in private memory, in the place of a file that was cut short: there is no reader to wake.
pub(crate) const CUT: u32 = 3;

/// What a reader that has nothing to do waits for: a line at its next position, or another count of events (ends, seats) than
/// it has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited<'a> {
    pub(crate) ring: &'a Ring<'a>,
    pub(crate) position: u64,
    pub(crate) events: &'a AtomicU64,
    pub(crate) seen_events: u64,
}

impl Awaited<'_> {
    /// Whether one of them has come, also for the reader's last look before it sleeps.
    pub(crate) fn has_come(&self) -> bool {
        // ORD sleep:C, SeqCst; pairs with event:A; as sleep:B.
        self.ring.is_filled_at(self.position) || self.events.load(SeqCst) != self.seen_events
    }
}

/// Tells the reader, by another count of events, of what was stored before. It has to be woken then.
pub(crate) fn count_event(events: &AtomicU64) {
    // ORD event:A, SeqCst; pairs with event:B and sleep:C; the reader sees the change that it is told of. Release fails
    // against a reader that falls asleep: wake:A could be read before.
    events.fetch_add(1, SeqCst);
}

/// The reader is about to sleep until `awaited` comes: `true` if it may.
///
/// It announces itself and looks once more; a writer publishes, or counts an event, and then looks for the announcement. Both
/// sides are SeqCst, so at least one of them sees the other.
pub(crate) fn may_sleep(awaited: &Awaited<'_>, sleeps: &AtomicU32) -> bool {
    // ORD sleep:A, SeqCst; pairs with wake:A; a release store could be delayed past the look below.
    sleeps.store(ASLEEP, SeqCst);
    seq_cst_for_loom();
    if awaited.has_come() {
        sleeps.store(AWAKE, Relaxed);
        return false;
    }
    true
}

/// After a publish, or an event: wakes the reader if it sleeps. Of several writers one does. Until it has done so others do too, since it
/// may be dead by then. What `wake` says; `true` where there is nothing to do.
#[inline]
pub(crate) fn wake_sleeper(sleeps: &AtomicU32, wake: impl FnOnce() -> bool) -> bool {
    seq_cst_for_loom();
    // ORD wake:A, SeqCst; pairs with sleep:A; an acquire load could be satisfied before publish:E.
    if sleeps.load(SeqCst) == AWAKE { true } else { wake_now(sleeps, wake) }
}

#[cold]
#[inline(never)]
fn wake_now(sleeps: &AtomicU32, wake: impl FnOnce() -> bool) -> bool {
    let _ = sleeps.compare_exchange(ASLEEP, BEING_WOKEN, Relaxed, Relaxed);
    let is_whole = wake();
    // Not if it has woken and sleeps again by now: that sleep is for others to end.
    let _ = sleeps.compare_exchange(BEING_WOKEN, AWAKE, Relaxed, Relaxed);
    is_whole
}

// ------------------------------------------------------------------------------------------- peek

/// Loads `bytes.len()` payload bytes of the slot `slot`, which somebody else may be writing.
pub(crate) fn peek_payload(ring: &Ring<'_>, slot: u32, bytes: &mut [u8]) -> Option<SlotHeader> {
    let words = ring.slot(slot)?;
    let header = SlotHeader::unpack(core::array::from_fn(|i| words[i].load(Relaxed)));
    let length = bytes.len().min(ring.shape.payload());
    load_bytes(&words[ring.shape.header_words()..], &mut bytes[..length]);
    Some(header)
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
