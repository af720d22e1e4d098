//! [`ReadQueue`]: what was decoded and not accepted yet.
//!
//! Lines of one slot are queued as images of their slots, which is the common case and has to be
//! cheap; everything else stands beside them as an [`Event`].

use std::iter::FusedIterator;
use std::{mem, slice};

use crate::layout::{Position, SOURCE_WORD, Shape, SlotHeader};
use crate::read::assembly::{NO_WRITER, image_of};
use crate::read::event::{Event, note_delivered, note_event};
use crate::read::item_ref::{ItemRef, LineRef, OtherRef};
use crate::read::writers::WriterTable;
use crate::segment::Segment;

/// A batch of decoded items, in the order in which they are handed out.
#[derive(Debug)]
pub(crate) struct ReadQueue {
    queue: Vec<Queued>,
    /// What is queued before this one was accepted.
    first: usize,
    /// Items that were not accepted.
    items: usize,
    /// The queue's items that are no lines of one slot.
    events: Vec<Event>,
    /// The images of short lines' slots, each of `stride` words.
    arena: Vec<u64>,
    shape: Shape,
    stride: usize,
    /// Words of an image before the payload.
    payload_at: usize,
    /// Words of the arena that are in use.
    filled: usize,
}

/// Decoded items: an event, or lines of one slot, which are of one mirror and stand one after
/// another, in the ring and in the arena.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// Accepting the first of them takes every position before this one; each further line, one
    /// position more.
    end_position: Position,
    /// The mirror of the lines; of an event [`NO_WRITER`].
    writer: u32,
    /// Of lines: the word of the arena at which the first one's image begins. Of an event:
    /// [`EVENT`] and its index among the events.
    at: u32,
    /// How many there are: of an event one.
    count: u32,
}

impl Queued {
    fn event(self) -> Option<usize> {
        (self.at >= EVENT).then(|| (self.at - EVENT) as usize)
    }

    /// The position before which accepting the first `count` of them takes all.
    fn end_of(self, count: u32) -> Position {
        self.end_position.plus(u64::from(count) - 1)
    }
}

/// Marks an item as an event. An arena has fewer words than this.
const EVENT: u32 = 1 << 31;

impl ReadQueue {
    /// Empty, with room for the images of `lines` slots.
    pub(crate) fn new(lines: usize, shape: Shape) -> Self {
        let stride = shape.slot_words;
        Self {
            queue: Vec::with_capacity(lines),
            first: 0,
            items: 0,
            events: Vec::new(),
            arena: vec![0; lines * stride],
            shape,
            stride,
            payload_at: shape.header_words(),
            filled: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.items
    }

    // ---------------------------------------------------------------------------------------- room

    /// Room for so many lines of one slot, or for the most that there can be.
    pub(crate) fn set_capacity(&mut self, lines: usize) {
        let words = lines.min((EVENT as usize - 1) / self.stride) * self.stride;
        self.arena.resize(words.max(self.filled + self.stride), 0);
    }

    /// For how many lines of one slot there is room.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        (self.arena.len() - self.filled) / self.stride
    }

    /// Makes the room of lines that were accepted free if there is none for `lines` more.
    pub(crate) fn make_room(&mut self, lines: usize) {
        if self.room() >= lines {
            return;
        }
        self.queue.drain(..mem::take(&mut self.first));
        let first_of = |is_event: bool| {
            let of_these = |queued: &&Queued| queued.event().is_some() == is_event;
            self.queue.iter().find(of_these).map(|queued| queued.at)
        };
        let image = first_of(false).unwrap_or(self.filled as u32);
        let event = first_of(true).unwrap_or(EVENT + self.events.len() as u32);
        for queued in &mut self.queue {
            queued.at -= if queued.event().is_some() { event - EVENT } else { image };
        }
        self.events.drain(..(event - EVENT) as usize);
        self.arena.copy_within(image as usize..self.filled, 0);
        self.filled -= image as usize;
    }

    // -------------------------------------------------------------------------------------- put in

    /// The header and payload of the next image, once it is filled.
    pub(crate) fn next_part(&self) -> (SlotHeader, &[u8]) {
        image_of(self.shape, &self.arena[self.filled..])
    }

    /// Room for the next image.
    pub(crate) fn next_image(&mut self) -> &mut [u64] {
        &mut self.arena[self.filled..]
    }

    /// Room for the next images, and the end of the queue, where lines are put whose images are
    /// filled.
    #[inline]
    pub(crate) fn images(&mut self) -> (&mut [u64], Tail<'_>) {
        let Self { queue, items, filled, stride, .. } = self;
        let images = &mut self.arena[*filled..];
        (images, Tail { queue, items, filled, stride: *stride })
    }

    /// Queues the line whose slot's image was put in the next room, and which stands at `position`.
    pub(crate) fn push_line(&mut self, position: Position, writer: u32) {
        let (_, mut tail) = self.images();
        tail.push_lines(position, writer, 1);
    }

    pub(crate) fn push(&mut self, end_position: Position, event: Event) {
        let at = EVENT + self.events.len() as u32;
        self.queue.push(Queued { end_position, writer: NO_WRITER, at, count: 1 });
        self.items += 1;
        self.events.push(event);
    }

    // ----------------------------------------------------------------------------------- hand out

    /// The items, in order.
    #[inline]
    pub(crate) fn items<'d>(&'d self, segment: &'d Segment, writers: &'d WriterTable) -> Items<'d> {
        let rest = self.queue[self.first..].iter();
        let (position, writer) = (Position::default(), NO_WRITER);
        let (stride, payload_at) = (self.stride, self.payload_at);
        Items {
            queue: self,
            segment,
            writers,
            stride,
            payload_at,
            rest,
            images: &[],
            writer,
            position,
        }
    }

    // ------------------------------------------------------------------------------------- accept

    /// What the first `count` items are of, and how many of each.
    #[inline]
    fn first_items(&self, count: usize) -> impl Iterator<Item = (Queued, u32)> {
        let mut left = count;
        self.queue[self.first..].iter().map_while(move |queued| {
            let of_these = left.min(queued.count as usize);
            left -= of_these;
            (of_these > 0).then_some((*queued, of_these as u32))
        })
    }

    /// The position before which accepting the first `count` items takes all.
    pub(crate) fn end_of_first(&self, count: usize) -> Option<Position> {
        self.first_items(count).last().map(|(queued, count)| queued.end_of(count))
    }

    /// Accepts the first `count` items, step one of three, before their positions are taken: notes
    /// how far each mirror's lines were delivered, or are known to be lost, and which have ended.
    /// Gives the position before which accepting them takes all.
    #[inline]
    pub(crate) fn note_delivered(
        &self,
        count: usize,
        segment: &Segment,
        writers: &WriterTable,
    ) -> Option<Position> {
        let mut end_position = None;
        for (queued, count) in self.first_items(count) {
            end_position = Some(queued.end_of(count));
            if let Some(event) = queued.event() {
                note_event(segment, writers, &self.events[event]);
                continue;
            }
            // What the last line of a mirror notes includes those before it.
            let last = queued.at as usize + (count as usize - 1) * self.stride;
            note_delivered(segment, self.arena[last + SOURCE_WORD]);
        }
        end_position
    }

    /// Drops the first item from the queue, if it is a line of one slot. Gives its end position,
    /// and what its header says of its source.
    #[inline]
    pub(crate) fn pop_line(&mut self) -> Option<(Position, u64)> {
        let first = self.queue.get_mut(self.first)?;
        // An event's index is none of the arena's.
        let source = *self.arena.get(first.at as usize + SOURCE_WORD)?;
        let end_position = first.end_position;
        if first.count > 1 {
            first.end_position = end_position.next();
            first.at += self.stride as u32;
            first.count -= 1;
            self.items -= 1;
        } else {
            self.drop_first(1);
        }
        Some((end_position, source))
    }

    /// Step two, after the positions were taken: forgets the mirrors that have ended.
    #[inline]
    pub(crate) fn forget_ended(&self, count: usize, segment: &Segment, writers: &mut WriterTable) {
        if !self.events.is_empty() {
            self.forget_some(count, segment, writers);
        }
    }

    #[cold]
    fn forget_some(&self, count: usize, segment: &Segment, writers: &mut WriterTable) {
        for event in self.first_items(count).filter_map(|(queued, _)| queued.event()) {
            match &self.events[event] {
                Event::Ended { writer, .. } => writers.forget(segment, *writer),
                Event::NeverOpened { ticket, .. } => writers.forget_unopened(*ticket),
                Event::Long(_) | Event::Stray(_) | Event::Lost { .. } | Event::Damaged { .. } => {}
            }
        }
    }

    /// Step three: drops them from the queue.
    #[inline]
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.items -= count;
        if self.items == 0 {
            self.queue.clear();
            self.events.clear();
            (self.first, self.filled) = (0, 0);
            return;
        }
        let mut left = count;
        while left > 0 {
            let front = &mut self.queue[self.first];
            let of_these = left.min(front.count as usize) as u32;
            left -= of_these as usize;
            if of_these == front.count {
                self.first += 1;
            } else {
                front.end_position = front.end_position.plus(of_these.into());
                front.at += of_these * self.stride as u32;
                front.count -= of_these;
            }
        }
    }
}

/// The end of the queue, at which lines of one slot are put in.
#[derive(Debug)]
pub(crate) struct Tail<'d> {
    queue: &'d mut Vec<Queued>,
    items: &'d mut usize,
    filled: &'d mut usize,
    stride: usize,
}

impl Tail<'_> {
    /// Queues lines of one mirror, which stand one after another from `position` on, and whose
    /// images were put in the next rooms.
    #[inline]
    pub(crate) fn push_lines(&mut self, position: Position, writer: u32, count: u32) {
        let (end_position, at) = (position.next(), *self.filled as u32);
        self.queue.push(Queued { end_position, writer, at, count });
        *self.items += count as usize;
        *self.filled += count as usize * self.stride;
    }
}

/// The items of a queue, in order.
#[derive(Clone, Debug)]
pub(crate) struct Items<'d> {
    queue: &'d ReadQueue,
    segment: &'d Segment,
    writers: &'d WriterTable,
    /// Words of an image, and of that before the payload.
    stride: usize,
    payload_at: usize,
    /// What comes after the lines below.
    rest: slice::Iter<'d, Queued>,
    /// Lines of one slot,
    images: &'d [u64],
    /// the mirror that they are of, and the position of the first.
    writer: u32,
    position: Position,
}

impl<'d> Iterator for Items<'d> {
    type Item = ItemRef<'d>;

    #[inline(always)]
    fn next(&mut self) -> Option<ItemRef<'d>> {
        let Self { queue, segment, writers, stride, payload_at, .. } = *self;
        if self.images.is_empty() {
            let queued = self.rest.next()?;
            if let Some(event) = queued.event() {
                let event = &queue.events[event];
                return Some(ItemRef::Other(OtherRef { event, segment, writers }));
            }
            let images = &queue.arena[queued.at as usize..];
            self.images = &images[..queued.count as usize * stride];
            (self.writer, self.position) = (queued.writer, queued.end_position.previous());
        }
        let (image, images) = self.images.split_at(stride);
        let (position, writer) = (self.position, self.writer);
        (self.images, self.position) = (images, position.next());
        Some(ItemRef::Line(LineRef { image, payload_at, position, segment, writers, writer }))
    }
}

impl FusedIterator for Items<'_> {}
