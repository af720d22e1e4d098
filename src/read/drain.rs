//! The reader's side: decodes what stands in the ring, puts long lines together, counts what is
//! missing, and takes what was accepted.
//!
//! ```text
//!   ring ──look──► queue of decoded items ──hand out──► caller
//!     ▲                                                   │
//!     └──────────────────── take ◄──────── accept ────────┘
//! ```
//!
//! Decoding copies and takes nothing: a line leaves the ring only when it was accepted (by asking
//! for the next one, or by `commit`), so a reader that dies loses nothing it had not handed over.
//! Parts of a line that is not complete yet are taken as they come, since a line may be longer than
//! the ring.

use crate::error::ReadError;
use crate::exchange::checksum;
use crate::exchange::park::Awaited;
use crate::exchange::{Seen, Spare};
use crate::layout::sync::{Ordering, fence};
use crate::layout::{LINE_MASK, Owner, READER_CELL, SlotHeader, flag};
use crate::line::item::{End, Item};
use crate::read::assembly::{Assemblies, Collected, Long, image_of};
use crate::read::queue::{Decoded, NOBODY, Other};
use crate::read::writers::{Due, Sources, lines_between};
use crate::registry::cell::keep_cell;
use crate::registry::reaper::{Deaths, exit_of};
use crate::segment::options::Policy;
use crate::segment::wake;
use crate::segment::{Lock, Segment};
use crate::sys::fork;

use Ordering::{Acquire, Relaxed, Release};

/// Entries that are decoded at a time, at most.
const BATCH: usize = 64;
/// How many batches of a busy ring go by between two looks at the clock.
const CLOCK_EVERY: u32 = 64;
/// How many positions ahead the next slots are fetched.
const PREFETCH: usize = 16;

/// The one reader's state.
#[derive(Debug)]
pub(crate) struct Drain {
    _lock: Lock,
    token: u64,
    /// The next position to decode.
    cursor: u64,
    /// Every position before it was taken.
    taken: u64,
    /// Positions taken since writers were last told of space.
    freed: u64,
    /// Decoded and not accepted.
    decoded: Decoded,
    sources: Sources,
    assemblies: Assemblies,
    events: u64,
    batches: u32,
    deaths: Deaths,
    /// Nothing was decoded since the last overrun.
    overrun: bool,
    /// The position that was looked at last.
    before: u64,
    /// Positions before it may have been consumed by the reader before this one.
    inherited: u64,
}

impl Drain {
    /// Becomes the ring's reader.
    pub(crate) fn open(segment: &Segment) -> Result<Self, ReadError> {
        let _no_fork = fork::no_fork();
        let probe = segment.probe()?;
        if !segment.take_cell(&probe, READER_CELL)? {
            if segment.is_kept_out(READER_CELL) {
                return Err(ReadError::KeptOut);
            }
            let process = segment.cells()[READER_CELL].reader.0.serial.load(Relaxed) as u32;
            return Err(ReadError::HasReader { process });
        }
        segment.cells()[READER_CELL].reader.0.serial.store(std::process::id().into(), Relaxed);
        let lock = keep_cell(segment, probe, READER_CELL)?;
        segment.finish_collecting();
        // ORD read:B, acquire; pairs with read:A; what the reader before accepted is known to be
        // taken.
        let accepted = segment.header().read_position.0.load(Acquire);
        // Damaged, if it is ahead of what was written, or so far behind that somebody must have
        // overwritten it.
        let (tail, positions) = (segment.ring().tail(), segment.ring().shape.positions());
        let position = match tail.wrapping_sub(accepted) as i64 {
            ..0 => tail,
            behind if behind as u64 > positions && !segment.overwrites() => {
                tail.wrapping_sub(positions)
            }
            _ => accepted,
        };
        Ok(Self {
            _lock: lock,
            token: fork::token(),
            cursor: position,
            taken: position,
            freed: 0,
            decoded: Decoded::new(BATCH, segment.geometry().shape()),
            sources: Sources::default(),
            assemblies: Assemblies::new(segment.geometry(), segment.assembly_budget),
            events: 0,
            batches: 0,
            deaths: Deaths::new(),
            overrun: false,
            before: position.wrapping_sub(1),
            inherited: position.wrapping_add(segment.geometry().shape().positions()),
        })
    }

    /// Gives the reader's cell back, but for its lock, which the caller drops after this.
    pub(crate) fn leave(&self, segment: &Segment) {
        if self.check().is_ok() {
            segment.leave_cell(READER_CELL);
        }
    }

    /// Refuses in a forked child.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        if self.token == fork::token() { Ok(()) } else { Err(ReadError::Forked) }
    }

    /// Whether everything has come: nothing is queued, and no mirror is open or has an end to
    /// report.
    pub(crate) fn is_over(&self, segment: &Segment) -> bool {
        self.is_drained()
            && self.sources.open == 0
            && !self.sources.has_noted()
            && self.has_seen_events(segment)
    }

    /// Whether no ticket has changed since they were looked at.
    pub(crate) fn has_seen_events(&self, segment: &Segment) -> bool {
        segment.events() == self.events
    }

    /// Whether something is queued, or the next position is before this one.
    pub(crate) fn comes_before(&self, position: u64) -> bool {
        !self.is_drained() || position.wrapping_sub(self.cursor) as i64 > 0
    }

    /// What has not come yet, once nothing more is there.
    pub(crate) fn awaited<'s>(&self, segment: &'s Segment) -> Awaited<'s> {
        Awaited {
            ring: segment.ring(),
            position: self.cursor,
            events: segment.event_count(),
            seen_events: self.events,
        }
    }

    // ---------------------------------------------------------------------------------------
    // accept

    fn is_drained(&self) -> bool {
        self.decoded.len() == 0
    }

    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.decoded.len()
    }

    /// The queued items, in order.
    #[inline]
    pub(crate) fn items<'d>(&'d self, segment: &'d Segment) -> impl Iterator<Item = Item<'d>> {
        self.decoded.items(segment, &self.sources)
    }

    /// The first of them.
    #[inline]
    pub(crate) fn next_item<'d>(&'d self, segment: &'d Segment) -> Option<Item<'d>> {
        self.items(segment).next()
    }

    /// The caller has the first `count` queued items: they leave the ring.
    pub(crate) fn accept(&mut self, segment: &Segment, count: usize) {
        // Before the lines are taken: a reader that dies in between has them delivered twice, and
        // not counted as lost.
        self.decoded.note_delivered(count, segment, &self.sources);
        if let Some(upto) = self.decoded.upto(count) {
            self.take(segment, upto);
        }
        // After the lines before them are taken: should they come again, it is still known whose
        // they are.
        self.decoded.collect_ends(count, segment, &mut self.sources);
        self.decoded.drop_first(count);
    }

    #[inline]
    fn take(&mut self, segment: &Segment, upto: u64) {
        // Behind, if the reader was overrun meanwhile.
        if upto.wrapping_sub(self.taken) as i64 <= 0 {
            return;
        }
        let (ring, overwrite) = (segment.ring(), segment.overwrites());
        self.freed += upto.wrapping_sub(self.taken);
        while self.taken != upto {
            let run = ring.run(self.taken);
            let most = upto.wrapping_sub(self.taken).min(run.words.len() as u64);
            for word in &run.words[..most as usize] {
                ring.take(word, &run, overwrite);
            }
            self.taken = self.taken.wrapping_add(most);
        }
        // ORD read:A, release; pairs with read:B; after the positions were taken.
        segment.header().read_position.0.store(upto, Release);
        if self.freed >= ring.shape.positions() / wake::ROOMY {
            self.tell_space(segment);
        }
    }

    #[cold]
    fn tell_space(&mut self, segment: &Segment) {
        self.freed = 0;
        if segment.policy() == Policy::Block {
            wake::tell_space(segment);
        }
    }

    // ---------------------------------------------------------------------------------------
    // decode

    /// Decodes more if nothing is queued; `true` if something is then. Never waits.
    ///
    /// `false` means that nothing is there, or that a whole lap of parts completed no line.
    pub(crate) fn fill(&mut self, segment: &Segment) -> bool {
        // A ring of parts alone, and some rounds in which the reader is overrun.
        let most = segment.geometry().shape().positions() / batch(segment) as u64 + 8;
        for _ in 0..most {
            if !self.is_drained() || self.fill_once(segment) {
                break;
            }
        }
        !self.is_drained()
    }

    /// Decodes until something is queued; `false` once nothing more is there, or nothing before
    /// `until`.
    pub(crate) fn fill_to(&mut self, segment: &Segment, until: u64) -> bool {
        loop {
            let began = self.cursor;
            if self.fill(segment) {
                return true;
            }
            if self.cursor == began || !self.comes_before(until) {
                return false;
            }
        }
    }

    /// Decodes a batch; `true` if nothing more is there.
    fn fill_once(&mut self, segment: &Segment) -> bool {
        self.note_events(segment);
        let mut empty = false;
        let mut left = batch(segment);
        while left > 0 {
            let lines = if segment.ring().shape.has_checks() {
                self.decode_lines::<true>(segment, left)
            } else {
                self.decode_lines::<false>(segment, left)
            };
            left -= lines;
            if lines > 0 {
                continue;
            }
            left -= 1;
            let position = self.cursor;
            let ring = segment.ring();
            match ring.look(position, self.decoded.next_image()) {
                Seen::Part(header) => self.decode(segment, header),
                Seen::Empty | Seen::Stale if ring.is_hole(position) => self.skip_damaged(segment),
                Seen::Stale if !segment.overwrites() => self.skip_damaged(segment),
                Seen::Empty | Seen::Stale => {
                    empty = true;
                    break;
                }
                Seen::Passed(laps) => self.passed(segment, laps),
                Seen::Damaged => self.skip_damaged(segment),
            }
            self.before = position;
        }
        self.report_ends(segment, empty);
        if self.is_drained() {
            // Parts of unfinished lines alone: they need no acceptance.
            self.take(segment, self.cursor);
        }
        if empty && self.is_drained() && self.freed > 0 {
            self.tell_space(segment);
        }
        empty
    }

    fn push(&mut self, other: Other) {
        self.decoded.push(self.cursor, other);
    }

    fn skip_damaged(&mut self, segment: &Segment) {
        self.skip(segment, segment.overwrites());
    }

    fn skip(&mut self, segment: &Segment, overwrite: bool) {
        segment.ring().skip(self.cursor, overwrite);
        let position = self.cursor;
        self.cursor = position.wrapping_add(1);
        self.assemblies.note_skipped();
        self.push(Other::Damaged { position });
    }

    fn passed(&mut self, segment: &Segment, laps: u64) {
        let ring = segment.ring();
        let positions = ring.shape.positions();
        self.assemblies.note_skipped();
        let inherited = (self.inherited.wrapping_sub(self.cursor) as i64) > 0;
        if inherited && laps == 1 {
            // Taken by the reader before this one, which died before it noted that; or overwritten
            // since.
            self.cursor = self.cursor.wrapping_add(1);
        } else if segment.overwrites() && ring.are_apart(self.cursor, self.before) {
            // No newer line: going where it says could lead the reader around for ever.
            self.skip(segment, false);
        } else if segment.overwrites() {
            // The entry's later lap proves that everything up to a lap before it is gone.
            let next = ring.shape.after_laps(self.cursor, laps as i64 - 1).wrapping_add(1);
            // Landing exactly on the oldest line means being overrun again at once, if writers go
            // on.
            let margin = if self.overrun { positions / 8 } else { 0 };
            self.cursor = ring.oldest_after(next).wrapping_add(margin);
            self.taken = self.cursor;
            self.overrun = true;
        } else {
            self.skip_damaged(segment);
        }
    }

    /// The common case of all below: decodes whole lines, `most` at most, of which each is the next
    /// one of its mirror, while nothing else is going on. How many that were; the one after
    /// them is as it was.
    fn decode_lines<const CHECKS: bool>(&mut self, segment: &Segment, most: usize) -> usize {
        if !self.assemblies.is_empty() || self.sources.has_noted() {
            return 0;
        }
        let ring = segment.ring();
        let run = ring.run(self.cursor);
        let mut lines = 0;
        let (images, mut queue) = self.decoded.images();
        for (word, image) in run.words.iter().zip(images).take(most) {
            if let Some(ahead) = run.words.get(lines + PREFETCH) {
                ring.prefetch(ahead, run.full);
            }
            let position = self.cursor.wrapping_add(lines as u64);
            if ring.copy_part(word, run.full, position, image).is_err() {
                break;
            }
            if CHECKS && !checksum::agrees(ring.shape, image) {
                break;
            }
            let header = SlotHeader::unpack(*image.first_chunk().expect("an image has a header"));
            let is_whole = header.flags & (flag::FIRST | flag::LAST | flag::FORGOTTEN)
                == flag::FIRST | flag::LAST;
            if !is_whole {
                break;
            }
            let Some(source) = self.sources.next_line(header.cell, header.line) else { break };
            queue.push_line(position.wrapping_add(1), source);
            lines += 1;
        }
        if lines > 0 {
            self.cursor = self.cursor.wrapping_add(lines as u64);
            self.before = self.cursor.wrapping_sub(1);
            self.overrun = false;
        }
        lines
    }

    #[inline(never)]
    fn decode(&mut self, segment: &Segment, header: SlotHeader) {
        if !checksum::agrees(segment.ring().shape, self.decoded.next_image()) {
            return self.decode_damaged(segment, header);
        }
        let cell = usize::from(header.cell);
        if cell == READER_CELL || cell >= segment.cells().len() {
            return self.skip_damaged(segment);
        }
        self.overrun = false;
        let source = self.sources.of(segment, header.cell, header.line);
        // The cell's former mirrors were over before this one's first line.
        while let Some(due) = self.sources.due_before(header.cell, source) {
            self.report_end(segment, &due);
        }
        // An older line comes before the loss of those between it and this one.
        if let Some(cut) = self.assemblies.make_way(cell, &header) {
            self.push(Other::Long(cut));
        }
        self.count(source, header.line);
        let whole = header.is(flag::FIRST) && header.is(flag::LAST);
        self.cursor = self.cursor.wrapping_add(1);
        if header.is(flag::FORGOTTEN) {
            self.sources.expect_again(segment, source, header.line);
            return;
        }
        if !whole {
            let (_, part) = self.decoded.next_part();
            if let Some(line) = self.assemblies.add(source, header, part, false) {
                self.push(Other::Long(line));
            }
            return;
        }
        self.decoded.push_line(self.cursor, source);
    }

    /// The same for a part whose checksum does not agree: any bit of it may be another.
    ///
    /// It goes where it would if its header were sound, as long as nothing else hangs on that: it
    /// counts as a line of the mirror that it names if it is the very next one, and it is a part of
    /// a line that is being put together if it names that. It ends no line that is being put
    /// together, makes none void, and tells of no loss.
    #[cold]
    #[inline(never)]
    fn decode_damaged(&mut self, segment: &Segment, header: SlotHeader) {
        let cell = usize::from(header.cell);
        if cell == READER_CELL || cell >= segment.cells().len() {
            return self.skip_damaged(segment);
        }
        self.overrun = false;
        self.cursor = self.cursor.wrapping_add(1);
        // Whichever line it was of, it may have made that void.
        self.assemblies.note_skipped();
        let (_, part) = self.decoded.next_part();
        if self.assemblies.add_damaged(&header, part) {
            return;
        }
        let id = self.sources.known_of(segment, header.cell, header.line);
        let line = Long::damaged(id.unwrap_or(NOBODY), header, part);
        let source = id.and_then(|id| self.sources.get_mut(id));
        match source.filter(|source| source.expected == header.line && !self.assemblies.has(cell)) {
            None => self.push(Other::Stray(line)),
            Some(source) => {
                source.expected = header.line.wrapping_add(1) & LINE_MASK;
                source.lines += 1;
                if header.is(flag::LAST) {
                    self.push(Other::Long(line));
                } else {
                    self.assemblies.add(line.source, header, &line.bytes, true);
                }
            }
        }
    }

    /// Notes that line `line` of a mirror has come, and that those before it will not if they have
    /// not.
    #[inline]
    fn count(&mut self, id: u32, line: u64) {
        let Some(source) = self.sources.get_mut(id) else { return };
        let gap = lines_between(source.expected, line);
        if gap == 0 && line != source.expected {
            // A further part of the line that came last.
            return;
        }
        source.expected = line.wrapping_add(1) & LINE_MASK;
        source.lines += 1;
        if gap > 0 {
            source.lost = source.lost.saturating_add(gap);
            self.push(Other::Lost { source: id, lines: gap, next: line });
        }
    }

    // -----------------------------------------------------------------------------------------
    // ends

    /// Looks at the tickets if one has changed, and now and then for dead mirrors.
    fn note_events(&mut self, segment: &Segment) {
        self.batches = self.batches.wrapping_add(1);
        let events = segment.events();
        if events != self.events {
            self.events = events;
            self.sources.note_all(segment);
        }
        if self.batches.is_multiple_of(CLOCK_EVERY) {
            // What keeps them from being tried now is said when the reader has nothing else to do.
            let _ = self.look_for_deaths(segment);
        }
    }

    /// Tries the locks of live mirrors, unless that was done just now, and ends those whose owner
    /// is dead.
    ///
    /// A few system calls for each live mirror, ten times a second at most.
    ///
    /// # Errors
    ///
    /// [`crate::MirrorError::DescriptorClosed`]: no death will be seen any more. Without a free descriptor deaths are seen
    /// once there is one again; the system's refusal is said every other second.
    pub(crate) fn look_for_deaths(&mut self, segment: &Segment) -> Result<(), ReadError> {
        let Some(looked) = self.deaths.look(segment) else { return Ok(()) };
        // Also for seats whose time is over: nothing else tells of those.
        self.sources.note_all(segment);
        looked
    }

    /// What was put together for the unfinished line of `cell`, with its newest part's header.
    pub(crate) fn unfinished(&self, cell: usize) -> Option<Collected<'_>> {
        self.assemblies.unfinished(cell)
    }

    /// Queues the ends whose lines have all been decoded: `empty` when every line there is has
    /// been.
    fn report_ends(&mut self, segment: &Segment, empty: bool) {
        if !self.sources.has_noted() {
            return;
        }
        while let Some(due) = self.sources.due(self.cursor, empty) {
            self.report_end(segment, &due);
        }
        while let Some((ticket, worker, label, end)) = self.sources.next_never_opened(segment) {
            self.push(Other::NeverOpened { ticket, worker, label: label.into(), end });
        }
    }

    fn report_end(&mut self, segment: &Segment, due: &Due) {
        let Some(source) = self.sources.get(due.source) else { return };
        let cell = usize::from(source.mirror.cell);
        if let Some(cut) = self.assemblies.cut_off(cell, |source| source == due.source) {
            self.push(Other::Long(cut));
        }
        self.report_gap(segment, due);
        let ticket = self.sources.get(due.source).and_then(|source| source.ticket);
        let exit =
            ticket.filter(|_| due.end == End::Died).and_then(|ticket| exit_of(segment, ticket));
        self.push(Other::Ended { source: due.source, end: due.end, exit });
    }

    fn report_gap(&mut self, segment: &Segment, due: &Due) {
        let kept = if due.error_is_lost { self.kept_error(segment, due) } else { None };
        let gap = due.gap - u64::from(kept.is_some());
        if gap > 0 {
            // The error, if it is kept, is a line of its own, and not accepted with these.
            let next = due.lines.wrapping_sub(u64::from(kept.is_some())) & LINE_MASK;
            self.push(Other::Lost { source: due.source, lines: gap, next });
        }
        if let Some(error) = kept {
            if let Some(source) = self.sources.get_mut(due.source) {
                source.lost -= 1;
                source.lines += 1;
            }
            self.push(Other::Long(error));
        }
    }

    /// The first slot-full of an error whose line was overwritten, out of its mirror's spare.
    fn kept_error(&self, segment: &Segment, due: &Due) -> Option<Long> {
        let mirror = self.sources.get(due.source)?.mirror;
        let cell = &segment.cells()[usize::from(mirror.cell)];
        // Still its own, if it died before it could say that it keeps it.
        let is_kept = |owner| matches!(owner, Some(Owner::KeepsError | Owner::Live));
        let keeps = || is_kept(cell.owner()) && cell.reader.0.epoch.load(Relaxed) == mirror.epoch;
        if !keeps() {
            return None;
        }
        // ORD kept:B, acquire; pairs with publish:F and settle:A; the words that the owner left in
        // the slot.
        let spare = Spare::of(cell.writer.0.hold.load(Acquire))?;
        let ring = segment.ring();
        let mut image = vec![0; ring.shape.slot_words];
        let is_sound = ring.copy(spare.slot, &mut image);
        // ORD kept:A, acquire fence; pairs with register:A; a new mirror of the cell sets its epoch
        // and owner before it writes into the spare.
        fence(Acquire);
        if !keeps() || !is_sound {
            return None;
        }
        let (found, bytes) = image_of(ring.shape, &image);
        let (cell, line) = (mirror.cell, due.lines.wrapping_sub(1) & LINE_MASK);
        let damaged = !checksum::agrees(ring.shape, &image)
            || ring.shape.has_checks() && (found.cell, found.line) != (cell, line);
        // It is accepted as that line, whatever stands there.
        let header = SlotHeader { position: self.cursor.wrapping_sub(1), cell, line, ..found };
        let (bytes, missing) = (bytes.to_vec(), found.position);
        Some(Long { header, source: due.source, bytes, missing, truncated: missing > 0, damaged })
    }
}

/// How many entries are decoded at a time: no more than a quarter of a small ring, so that its
/// writers can go on meanwhile.
fn batch(segment: &Segment) -> usize {
    BATCH.min((segment.geometry().shape().positions() / 4).max(1) as usize)
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
