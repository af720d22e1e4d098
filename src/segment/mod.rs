//! The mapped memory: creating it, attaching to it, checking it, and handing out its parts as
//! atomics.
//!
//! Everything that other processes may write is handed out as atomics, never as bytes. Every offset
//! comes from a private copy of the geometry, taken and checked once.

mod backing;
mod claim;
mod inherit;
mod lock;
mod mapping;
mod memory;
mod name;
mod open;
pub(crate) mod options;
mod read_by;
mod sigbus;
mod verified_fd;
mod view;
pub(crate) mod wake;
mod wake_pipe;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::SealFlags;

use crate::error::{AttachError, CreateError, MirrorError, SystemError, cannot};
use crate::exchange::Ring;
use crate::layout::sync::Ordering;
use crate::layout::{
    Cell, GEOMETRY_WORDS, Geometry, Header, Hold, MAGIC, Position, RingMode, Ticket,
};
use crate::segment::options::{Options, Policy, Timestamps, WakeUp};
use crate::sys::fork;

pub(crate) use backing::Backing;
use backing::{NewSegment, SEALS, fill_holes};
pub(crate) use inherit::attach_inherited;
use lock::{Held, has_owner, held};
pub(crate) use lock::{Lock, LockProbe};
use mapping::Mapping;
pub(crate) use mapping::{HeaderPage, Parts};
use memory::check_memory;
use name::Name;
pub use name::RingName;
pub(crate) use name::{abandoned, open_named, view_named};
use open::read_geometry;
pub(crate) use open::{open_file, view_file};
use read_by::ReadBy;
use verified_fd::VerifiedFd;
pub(crate) use verified_fd::open_of_process;

pub use sigbus::turn_sigbus_into_errors;
pub(crate) use view::View;
use wake_pipe::WakePipe;

// Bytes whose locks mean something; a segment has far fewer bytes of its own, and a lock needs
// none.

/// The bytes of cells and, after them, those of which each process has one that does not only look:
/// while a process uses the segment, one of them has an owner.
const CELLS_AND_USED: Range<u64> = 0..1 << 32;
const USED: Range<u64> = 1 << 31..1 << 32;
/// The byte whose lock is shared by all processes that have the segment, be it to look at it.
const PRESENT: u64 = 1 << 32;
/// The first of the bytes whose locks are held by processes that make a ticket into a seat.
const TICKETS: u64 = 2 << 32;
/// The bytes on which locks are tried.
const TRIAL: Range<u64> = 3 << 32..4 << 32;

/// The byte whose lock is held by the process that makes a ticket into a seat.
pub(crate) fn lock_of_ticket(index: usize) -> u64 {
    TICKETS + index as u64
}

/// A ring's memory in this process.
#[derive(Debug)]
pub(crate) struct Segment {
    map: Mapping,
    file: VerifiedFd,
    geometry: Geometry,
    parts: Parts,
    pipe: Option<WakePipe>,
    /// Taken away with this value, and before the lock is: else it could be another ring's by
    /// then.
    _name: Option<Name>,
    /// Says that this process lives here.
    _living: Lock,
    /// Bytes for putting lines together; the reader's own affair, so it is not in the geometry.
    pub(crate) assembly_budget: usize,
    pub(crate) seat_limit: Option<Duration>,
    pub(crate) read_by: ReadBy,
}

impl Segment {
    /// Makes a segment in memory without a name.
    pub(crate) fn anonymous(options: &Options) -> Result<Self, CreateError> {
        Self::create(options, Backing::Memory)
    }

    /// Makes a segment: allocated, touched, and sealed if that is possible.
    pub(crate) fn create(options: &Options, backing: Backing<'_>) -> Result<Self, CreateError> {
        fork::prepare().map_err(cannot("map a page"))?;
        let mut geometry = options.geometry(matches!(backing, Backing::File(_)))?;
        let identity = random::<16>().map_err(cannot("get random bytes"))?;
        geometry.identity = bytemuck::cast(identity);
        geometry.created = crate::sys::clock::since_1970();
        geometry.backing = backing.number();
        let pipe = match options.wake_up {
            WakeUp::Futex => None,
            WakeUp::Pipe => {
                let pipe = WakePipe::new().map_err(cannot("make the wake-up pipe"))?;
                pipe.describe(&mut geometry);
                Some(pipe)
            }
        };
        let NewSegment { file, living, mut name } = backing.create(geometry.total_bytes)?;
        let map = MmapOptions::new()
            .len(geometry.total_bytes as usize)
            .populate()
            .map_raw(&file.borrow());
        let map = map.map_err(cannot("map the segment"))?;
        let mut segment = Self {
            assembly_budget: options.budget(geometry.max_line as usize),
            seat_limit: options.seat_limit,
            ..Self::over(map, file, geometry, pipe, living)
        };
        segment.initialise();
        if let (Some(made), Backing::Named(name)) = (&mut name, backing) {
            made.finish(name)?;
        }
        segment._name = name;
        Ok(segment)
    }

    /// Attaches to a segment by a descriptor, which is duplicated.
    pub(crate) fn attach(descriptor: BorrowedFd<'_>) -> Result<Self, AttachError> {
        let file = descriptor.try_clone_to_owned().map_err(cannot("keep the descriptor"))?;
        Self::attach_file(file.into())
    }

    /// Attaches to a segment that was opened by its name or path, and still has it.
    pub(crate) fn open(file: File) -> Result<Self, AttachError> {
        let segment = Self::attach_file(file)?;
        // From now on this process lives there, so no other takes it away any more.
        let stat =
            rustix::fs::fstat(segment.file.borrow()).map_err(cannot("look at the segment"))?;
        if stat.st_nlink == 0 {
            let error = io::Error::new(io::ErrorKind::NotFound, "it was taken away just now");
            return Err(SystemError::new("open the ring", error).into());
        }
        Ok(segment)
    }

    /// Attaches to a segment.
    pub(crate) fn attach_file(file: File) -> Result<Self, AttachError> {
        fork::prepare().map_err(cannot("map a page"))?;
        let found = file.metadata().map_err(cannot("look at the descriptor"))?.size();
        let geometry = read_geometry(&file, found)?;
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        if geometry.backing == Backing::Memory.number() && !seals.contains(SEALS) {
            return Err(AttachError::Seals { found: seals.bits(), expected: SEALS.bits() });
        }
        // Again, now that it cannot change any more; but for an object with a name, which its user
        // can cut short.
        let found = file.metadata().map_err(cannot("look at the descriptor"))?.size();
        if found != geometry.total_bytes {
            return Err(AttachError::Size { found, expected: geometry.total_bytes });
        }
        let map = MmapOptions::new().len(geometry.total_bytes as usize).map_raw(&file);
        let map = map.map_err(cannot("map the segment"))?;
        let piped = geometry.wake_up == WakeUp::Pipe as u16;
        // Without its maker no process finds the pipe any more: its reader sleeps without it, and
        // wakes in each period.
        let pipe = if piped { WakePipe::reopen(&geometry) } else { None };
        let mut file = VerifiedFd::new(file).map_err(cannot("look at the descriptor"))?;
        if geometry.backing != Backing::Memory.number() {
            file.try_locks().map_err(cannot("use the ring's file"))?;
            fill_holes(&file, found).map_err(cannot("allocate what the ring's file lacks"))?;
        }
        let living = file.live().map_err(cannot("lock the segment"))?;
        Ok(Self::over(map, file, geometry, pipe, living))
    }

    /// The segment in a mapping whose size is that of its geometry.
    fn over(
        map: MmapRaw,
        file: VerifiedFd,
        geometry: Geometry,
        pipe: Option<WakePipe>,
        living: Lock,
    ) -> Self {
        Self {
            parts: Parts::of(&map, &geometry),
            pipe,
            _living: living,
            _name: None,
            assembly_budget: Options::new().budget(geometry.max_line as usize),
            seat_limit: None,
            read_by: ReadBy::default(),
            geometry,
            file,
            map: Mapping::new(map),
        }
    }

    /// Whether its file was cut short, after [`turn_sigbus_into_errors`]: nothing in it means
    /// anything then.
    pub(crate) fn is_cut(&self) -> bool {
        self.map.watched.is_cut()
    }

    fn initialise(&self) {
        let shape = self.geometry.shape();
        let start = Position(self.geometry.start_position);
        for (index, entry) in self.ring().order.iter().enumerate() {
            entry.store(shape.first_entry(start, index).0, Ordering::Relaxed);
        }
        for (index, cell) in self.cells().iter().enumerate() {
            let slot = shape.positions() as u32 + index as u32;
            cell.writer.0.hold.store(Hold::Held(slot).pack(0), Ordering::Relaxed);
        }
        let header = self.header();
        header.next_position.0.store(start.0, Ordering::Relaxed);
        header.read_position.0.store(start.0, Ordering::Relaxed);
        let mut words: [u64; GEOMETRY_WORDS] = bytemuck::cast(self.geometry);
        words[0] = u64::from_ne_bytes(MAGIC);
        for (to, word) in header.geometry.0.iter().zip(words).skip(1) {
            to.store(word, Ordering::Relaxed);
        }
        // The magic last: a process that sees it sees a finished segment.
        // ORD magic:A, release; pairs with magic:B; the segment is finished.
        header.geometry.0[0].store(words[0], Ordering::Release);
    }

    // --------------------------------------------------------------------------------------- parts

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.parts.header()
    }

    pub(crate) fn tickets(&self) -> &[Ticket] {
        self.parts.tickets()
    }

    #[inline]
    pub(crate) fn cells(&self) -> &[Cell] {
        self.parts.cells()
    }

    #[inline]
    pub(crate) fn ring(&self) -> &Ring<'_> {
        self.parts.ring()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    #[inline]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    #[inline]
    pub(crate) fn policy(&self) -> Policy {
        Policy::of(&self.geometry)
    }

    #[inline]
    pub(crate) fn mode(&self) -> RingMode {
        match self.geometry.policy == Policy::OverwriteOldest as u16 {
            true => RingMode::Overwriting,
            false => RingMode::Lossless,
        }
    }

    #[inline]
    pub(crate) fn overwrites(&self) -> bool {
        self.mode() == RingMode::Overwriting
    }

    #[inline]
    pub(crate) fn stamps(&self) -> bool {
        self.geometry.timestamps == Timestamps::Coarse as u16
    }

    pub(crate) fn pipe(&self) -> Option<&WakePipe> {
        self.pipe.as_ref()
    }

    /// The random name of this ring, in hexadecimal.
    pub(crate) fn identity(&self) -> String {
        format!("{:032x}", self.geometry.identity())
    }

    // --------------------------------------------------------------------------------------- locks

    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.descriptor
    }

    pub(crate) fn borrow_descriptor(&self) -> Result<BorrowedFd<'_>, MirrorError> {
        self.file.check()?;
        Ok(self.file.borrow())
    }

    /// A new description of the segment's file, to try locks with. Three system calls.
    pub(crate) fn probe(&self) -> Result<LockProbe, MirrorError> {
        self.file.probe()
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}
