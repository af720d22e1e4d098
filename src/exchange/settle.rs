//! What becomes of a cell whose process died: its slot, its last words, its end.
//!
//! No process needs this for progress. It runs when a process wants the cell or looks for ends,
//! always under the cell's lock, which the kernel gives away only when the owner is gone. Each step
//! is safe to repeat, so the recovering process may die too, and the next one begins again.

use crate::exchange::checksum;
use crate::exchange::{Refused, Ring, Spare, peek_payload};
use crate::layout::sync::Ordering;
use crate::layout::{Cell, Hold, RingMode, SlotHeader, flag};

use Ordering::{Acquire, Relaxed, Release};

/// How often a moving ring is looked at anew.
const ATTEMPTS: u32 = if cfg!(loom) { 2 } else { 16 };

/// A dead cell's slot.
#[derive(Debug)]
struct ResolvedSpare {
    spare: Spare,
    /// The cell had announced an exchange that did not happen: the spare holds a finished part.
    finished: bool,
}

/// Finds out which slot a dead cell owns, and writes it down.
fn resolve_hold(ring: &Ring<'_>, cells: &[Cell], index: usize) -> Option<ResolvedSpare> {
    let word = &cells[index].writer.0.hold;
    // ORD recover:A, acquire; pairs with publish:D, publish:F and publish:H; what the dead one had
    // done before it wrote this is seen.
    let (hold, changes) = Hold::unpack(word.load(Acquire));
    let Hold::Intent(given, wanted) = hold else {
        let spare = ring.spare_of(word.load(Relaxed));
        return spare.map(|spare| ResolvedSpare { spare, finished: false });
    };
    let exchanged =
        (0..ATTEMPTS).find_map(|_| exchange_completed(ring, cells, index, given, wanted))?;
    let slot = if exchanged { wanted } else { given };
    if exchanged {
        // What was pending left with the old spare; before the new one is noted, as in `publish`.
        cells[index].set_pending(cells[index].pending().line, 0);
    }
    let settled = Hold::Held(slot).pack(changes.wrapping_add(1));
    // ORD settle:A, release; pairs with recover:A; as publish:F.
    word.store(settled, Release);
    ring.spare_of(settled).map(|spare| ResolvedSpare { spare, finished: !exchanged })
}

/// Whether the dead cell's exchange of `given` for `wanted` happened; `None` if nothing decides it
/// just now.
///
/// Exactly one of the two is in circulation, and seeing it decides: in the order ring, or held by
/// another cell. Another cell's intent proves nothing by itself. It counts once it is decided in
/// the same way and its word did not change meanwhile, so this goes on to a fixed point.
fn exchange_completed(
    ring: &Ring<'_>,
    cells: &[Cell],
    index: usize,
    given: u32,
    wanted: u32,
) -> Option<bool> {
    let mut circulates = vec![false; ring.slots.len() / ring.shape.slot_words];
    let mut note = |slot: u32| {
        if let Some(seen) = circulates.get_mut(slot as usize) {
            *seen = true;
        }
    };
    let mut intents = Vec::new();
    for (other, cell) in cells.iter().enumerate() {
        // ORD settle:B, acquire; pairs with publish:D and publish:F; the exchange before a held
        // slot is seen below.
        let word = cell.writer.0.hold.load(Acquire);
        match Hold::unpack(word).0 {
            Hold::Held(slot) => note(slot),
            Hold::Intent(a, b) if other != index => intents.push((cell, word, a, b)),
            Hold::Intent(..) => {}
        }
    }
    for entry in ring.order {
        // ORD settle:C, acquire; pairs with publish:E; settle:D comes after it, and sees the intent
        // of what is seen here.
        note(crate::layout::OrderEntry(entry.load(Acquire)).slot());
    }
    let seen =
        |circulates: &[bool], slot: u32| circulates.get(slot as usize).copied().unwrap_or(false);
    loop {
        match (seen(&circulates, given), seen(&circulates, wanted)) {
            (true, false) => return Some(true),
            (false, true) => return Some(false),
            // Both: one of them moved while we looked.
            (true, true) => return None,
            (false, false) => {}
        }
        let decided = intents
            .iter()
            .position(|(_, _, a, b)| seen(&circulates, *a) != seen(&circulates, *b))?;
        let (cell, word, a, b) = intents.swap_remove(decided);
        // ORD settle:D, acquire; pairs with publish:D and publish:F; as settle:B.
        if cell.writer.0.hold.load(Acquire) != word {
            return None;
        }
        let owned = if seen(&circulates, a) { b } else { a };
        if let Some(seen) = circulates.get_mut(owned as usize) {
            *seen = true;
        }
    }
}

/// Publishes what a dead writer had in its spare: an unfinished line, or one that was finished and
/// not yet published; `false` if there is only an older line. Its cell's slot is settled then.
///
/// Borrows what the exchange does, so that models can run it. [`Refused::Damaged`]: nothing decides
/// what the slot is.
pub(crate) fn publish_last_words(
    ring: &Ring<'_>,
    cells: &[Cell],
    index: usize,
    mode: RingMode,
) -> Result<bool, Refused> {
    let cell = &cells[index];
    let ResolvedSpare { mut spare, finished } =
        resolve_hold(ring, cells, index).ok_or(Refused::Damaged)?;
    let pending = cell.pending();
    let header = peek_payload(ring, spare.slot(), &mut []).ok_or(Refused::Damaged)?;
    let is_own = usize::from(header.cell) == index && header.line == pending.line;
    let length = if finished { header.length } else { pending.bytes };
    if !is_own || (!finished && pending.bytes == 0) || usize::from(length) > ring.shape.payload() {
        return Ok(false);
    }
    let flags = match (finished, header.is(flag::LAST)) {
        (true, true) => header.flags | flag::UNACKNOWLEDGED,
        (true, false) => header.flags | flag::UNACKNOWLEDGED | flag::LAST | flag::UNFINISHED,
        // Whatever its last write was about to make of it.
        (false, _) => header.flags & !flag::TRUNCATED | flag::LAST | flag::UNFINISHED,
    };
    // Before the intent that `publish` announces: the process that comes after a recoverer that
    // dies there takes the spare for a finished part, and these flags say what it is.
    seal(ring, &mut spare, &SlotHeader { length, flags, ..header }, finished);
    let next = pending.line.next();
    ring.publish(&cell.writer.0.hold, &mut spare, mode, || cell.set_pending(next, 0))?;
    Ok(true)
}

/// Gives a dead writer's spare another header, and a checksum with it.
///
/// One that is `finished` has its writer's, which is verified first: what does not agree is not
/// made good. Of an unfinished line there is none; that is flagged as such, and gets one of what is
/// there.
fn seal(ring: &Ring<'_>, spare: &mut Spare, header: &SlotHeader, finished: bool) {
    if !ring.shape.has_checks() {
        return ring.write_header(spare, header);
    }
    let mut image = vec![0; ring.shape.slot_words];
    // As its writer left it, or as long as what is pending.
    if !finished {
        ring.write_header(spare, header);
    }
    let sums =
        ring.copy(spare.slot(), &mut image).then(|| checksum::without_position(&image)).flatten();
    match sums {
        Some((payload, agrees)) if agrees || !finished => ring.seal(spare, header, payload),
        sums => {
            ring.seal_damaged(spare, header, sums.map_or(checksum::NONE, |(payload, _)| payload))
        }
    }
}
