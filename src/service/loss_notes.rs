//! Losses, told at most once a second for each writer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::line::item::{Item, Lost};

/// How often a writer's losses are told.
const EVERY: Duration = Duration::from_secs(1);

/// What was told of each writer, and what was not yet.
#[derive(Debug, Default)]
pub(super) struct LossNotes {
    writers: HashMap<u32, Note>,
}

#[derive(Debug)]
struct Note {
    told: Instant,
    untold: Option<Lost<'static>>,
}

impl LossNotes {
    /// The loss, if it may be told now, with what was not told before; else it is kept.
    pub(super) fn add<'l>(&mut self, lost: Lost<'l>, now: Instant) -> Option<Lost<'l>> {
        let Some(note) = self.writers.get_mut(&lost.writer_id) else {
            self.writers.insert(lost.writer_id, Note { told: now, untold: None });
            return Some(lost);
        };
        let (before, first) =
            note.untold.as_ref().map_or((0, lost.first), |untold| (untold.lines, untold.first));
        let lost = Lost { lines: lost.lines.saturating_add(before), first, ..lost };
        if now.duration_since(note.told) >= EVERY {
            *note = Note { told: now, untold: None };
            return Some(lost);
        }
        note.untold = Some(Lost { label: Cow::Owned(lost.label.into_owned()), ..lost });
        None
    }

    /// What is to be told of a writer that has ended.
    pub(super) fn ended(&mut self, writer: u32) -> Option<Item<'static>> {
        self.writers.remove(&writer)?.untold.map(Item::Lost)
    }

    /// What may be told by now; all of it, `at_end`. Those of whom nothing is kept are forgotten.
    pub(super) fn due(&mut self, now: Instant, at_end: bool) -> Vec<Item<'static>> {
        let mut due = Vec::new();
        self.writers.retain(|_, note| {
            let is_due = at_end || now.duration_since(note.told) >= EVERY;
            let untold = if is_due { note.untold.take() } else { None };
            let is_told = untold.is_some();
            if is_told {
                note.told = now;
            }
            due.extend(untold.map(Item::Lost));
            !is_due || is_told
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::item::LossCause;

    fn lost(writer_id: u32, lines: u64) -> Lost<'static> {
        let (label, cause) = (Cow::Borrowed("name"), LossCause::Dropped);
        Lost { writer_id, cell: 1, first: 0, label, lines, cause }
    }

    #[test]
    fn what_is_not_told_at_once_is_added_up_and_told_later() {
        let (mut notes, now) = (LossNotes::default(), Instant::now());
        let soon = now + EVERY / 2;
        assert_eq!(notes.add(lost(1, 5), now), Some(lost(1, 5)));
        assert_eq!(notes.add(lost(1, 3), now), None);
        assert_eq!(notes.add(lost(1, 4), soon), None);
        assert_eq!(notes.add(lost(2, 1), soon), Some(lost(2, 1)), "another writer");
        assert_eq!(notes.due(soon, false), []);
        assert_eq!(notes.due(now + EVERY, false), [Item::Lost(lost(1, 7))]);
        assert_eq!(notes.add(lost(1, 1), now + EVERY), None);
        assert_eq!(notes.add(lost(1, 2), now + 2 * EVERY), Some(lost(1, 3)));
        assert_eq!(notes.add(lost(1, 1), now + 2 * EVERY), None);
        assert_eq!(notes.due(now + 2 * EVERY, true), [Item::Lost(lost(1, 1))]);
        assert_eq!(notes.add(lost(1, 4), now + 2 * EVERY), None);
        assert_eq!(notes.ended(1), Some(Item::Lost(lost(1, 4))));
        assert_eq!(notes.ended(1), None);
    }

    #[test]
    fn writers_that_lose_nothing_any_more_are_forgotten() {
        let (mut notes, now) = (LossNotes::default(), Instant::now());
        for writer in 0..1000 {
            notes.add(lost(writer, 1), now);
        }
        assert_eq!(notes.due(now + EVERY, false), []);
        assert!(notes.writers.is_empty());
    }
}
