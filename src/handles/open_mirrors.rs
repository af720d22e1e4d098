//! The mirrors of a ring that are open: by whom.

use super::line_ring::LineRing;
use crate::layout::TicketWord;
use crate::layout::sync::Ordering::Relaxed;

/// A mirror that is open, or is being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OpenMirror {
    /// Its number, as in [`Line::writer_id`](crate::Line::writer_id).
    pub writer_id: u32,
    /// Its label, or "".
    pub label: String,
    /// The process that opened it, by the number that it has for itself; `None` if that is not
    /// known.
    pub process: Option<u32>,
}

impl LineRing {
    /// The mirrors that have not ended, in the order of their numbers: those that a reader that
    /// waits for all ends waits for, beside the seats. One whose process has died is among them
    /// until that is noticed.
    ///
    /// ```
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mirror = ring.mirror_labelled("worker")?;
    /// let open = ring.open_mirrors();
    /// assert_eq!((open[0].writer_id, &*open[0].label), (mirror.writer_id(), "worker"));
    /// assert_eq!(open[0].process, Some(std::process::id()));
    /// drop(mirror);
    /// assert_eq!(ring.open_mirrors(), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_mirrors(&self) -> Vec<OpenMirror> {
        let is_open = |state| matches!(state, Some(TicketWord::Live(_) | TicketWord::Opening(_)));
        let tickets = self.segment().used_tickets().iter().filter(|it| is_open(it.state()));
        let mut open: Vec<_> = tickets
            .map(|ticket| OpenMirror {
                writer_id: ticket.serial.load(Relaxed) as u32,
                label: ticket.label(),
                process: ticket.process().map(|process| process.number()),
            })
            .collect();
        open.sort_by_key(|mirror| mirror.writer_id);
        open
    }
}
