//! A segment's memory in this process, and the slices of it that have a meaning.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use super::sigbus::Watched;
use crate::exchange::Ring;
use crate::layout::sync::{AtomicU64, Ordering};
use crate::layout::{Cell, GEOMETRY_WORDS, Geometry, Header, Ticket};

use Ordering::Relaxed;

/// A mapping that the handler of SIGBUS knows.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) map: MmapRaw,
    pub(super) watched: &'static Watched,
}

impl Mapping {
    pub(super) fn new(map: MmapRaw) -> Self {
        let watched = Watched::new(map.as_ptr() as usize, map.len());
        Self { map, watched }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.watched.end();
    }
}

/// The parts of a mapping, found once since every write needs them.
///
/// Their lifetime is longer than the truth: a [`Parts`] stands beside its [`Mapping`], which does
/// not move, and the struct that has both lends the parts out for no longer than it lives itself.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) ring: Ring<'static>,
    pub(crate) cells: &'static [Cell],
    tickets: &'static [Ticket],
    header: &'static Header,
}

impl Parts {
    /// Those of a mapping whose size is that of its geometry.
    pub(super) fn of(map: &MmapRaw, geometry: &Geometry) -> Self {
        let (offsets, shape) = (geometry.offsets(), geometry.shape());
        // SAFETY: the caller keeps the mapping beside the parts, and lends both out together.
        unsafe {
            let header: &Header = &slice_of(map, 0, 1)[0];
            let order = slice_of(map, offsets.order, 1 << shape.order_bits);
            let slots = slice_of(map, offsets.slots, geometry.slots() * shape.slot_words);
            let ring = Ring::new(order, slots, &header.next_position.0, shape);
            Self {
                ring,
                cells: slice_of(map, offsets.cells, geometry.cells as usize),
                tickets: slice_of(map, offsets.tickets, geometry.tickets as usize),
                header,
            }
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.header
    }

    pub(crate) fn tickets(&self) -> &[Ticket] {
        self.tickets
    }

    #[inline]
    pub(crate) fn cells(&self) -> &[Cell] {
        self.cells
    }

    #[inline]
    pub(crate) fn ring(&self) -> &Ring<'_> {
        &self.ring
    }
}

/// A segment's header alone.
#[derive(Debug)]
pub(crate) struct HeaderPage {
    header: &'static Header,
    map: Mapping,
}

impl HeaderPage {
    /// That of a file, which may be written, and has one.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().len(size_of::<Header>()).map_raw(file)?;
        // SAFETY: the mapping stands beside it, and lends it for no longer than it lives itself.
        let header = unsafe { &slice_of(&map, 0, 1)[0] };
        Ok(Self { header, map: Mapping::new(map) })
    }

    pub(crate) fn header(&self) -> &Header {
        self.header
    }

    /// Whether it is still that of a segment with this geometry, in a file that was not cut.
    pub(crate) fn is_of(&self, geometry: &Geometry) -> bool {
        let words: [u64; GEOMETRY_WORDS] = bytemuck::cast(*geometry);
        let found = &self.header.geometry.0;
        let is_it = found.iter().zip(words).all(|(found, word)| found.load(Relaxed) == word);
        is_it && !self.map.watched.is_cut()
    }
}

mod sealed {
    /// Structs of atomics alone: any bits are valid in them, and another process may change them at
    /// any time.
    ///
    /// # Safety
    ///
    /// Every byte of the type belongs to an atomic, or is padding that nothing reads.
    pub(super) unsafe trait SharedWords {}
}

// SAFETY: an atomic.
unsafe impl sealed::SharedWords for AtomicU64 {}
// SAFETY: a `repr(C)` struct of atomics.
unsafe impl sealed::SharedWords for Header {}
// SAFETY: a `repr(C)` struct of atomics.
unsafe impl sealed::SharedWords for Ticket {}
// SAFETY: a `repr(C)` struct of atomics.
unsafe impl sealed::SharedWords for Cell {}

/// `count` values of `T` at `offset` of a mapping.
///
/// # Panics
///
/// If they are not within it, or not aligned.
///
/// # Safety
///
/// The caller uses the slice for no longer than it has the mapping.
unsafe fn slice_of<T: sealed::SharedWords>(
    map: &MmapRaw,
    offset: usize,
    count: usize,
) -> &'static [T] {
    assert!(offset + count * size_of::<T>() <= map.len() && offset.is_multiple_of(align_of::<T>()));
    // SAFETY: within the mapping, aligned, and of a type in which any bits are valid at any time.
    // Memory without a name is sealed against shrinking. A file, or memory with a name, can be cut
    // short by a process that may write it: a load or store beyond its end is SIGBUS then, which
    // ends the process, or is turned into an error (see `sigbus`), but reads no other memory.
    unsafe { core::slice::from_raw_parts(map.as_ptr().add(offset).cast(), count) }
}
