//! [`Backlog`]: what was read of the ring and is not accepted, or not complete.

use crate::layout::Position;
use crate::read::assembly::Assemblies;
use crate::read::event::Event;
use crate::read::held::HeldParts;
use crate::read::place::Inherited;
use crate::read::queue::ReadQueue;
use crate::read::writers::WriterTable;
use crate::segment::Segment;

/// What the reader keeps of slots and tickets that it has read.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Items that are decoded and not accepted.
    pub(crate) queue: ReadQueue,
    /// The mirrors that they are of.
    pub(crate) writers: WriterTable,
    /// Lines of which parts came and the last one has not.
    pub(crate) assemblies: Assemblies,
    /// Their parts, and those of lines that are complete and not accepted.
    pub(crate) held: HeldParts,
    /// What the reader before this one may have left half done.
    pub(crate) inherited: Inherited,
}

impl Backlog {
    /// Empty, with room for `lines` lines of one slot, of a reader that begins at `start`.
    pub(crate) fn new(segment: &Segment, lines: usize, start: Position) -> Self {
        let shape = segment.geometry().shape();
        Self {
            queue: ReadQueue::new(lines, shape),
            writers: WriterTable::default(),
            assemblies: Assemblies::new(segment.geometry(), segment.assembly_budget),
            held: HeldParts::default(),
            inherited: Inherited::new(segment, start),
        }
    }

    /// Queues an event; accepting it takes every position before `end_position`.
    pub(crate) fn push(&mut self, end_position: Position, event: Event) {
        self.queue.push(end_position, event);
    }
}
