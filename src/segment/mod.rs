//! The mapped memory: creating it, attaching to it, checking it, and handing out its parts as atomics.
//!
//! Everything that other processes may write is handed out as atomics, never as bytes. Every offset comes from
//! a private copy of the geometry, taken and checked once.

mod backing;
mod lock;
mod memory;
mod name;
mod open;
mod sigbus;
mod view;
mod wake_pipe;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{Mode, OFlags, SealFlags};

use crate::error::{AttachError, CreateError, MirrorError, system};
use crate::fork;
use crate::layout::{
    Cell, ENDIANNESS, GEOMETRY_WORDS, Geometry, Header, Hold, LAYOUT_VERSION, MAGIC, Ticket,
};
use crate::options::{Options, Policy, Timestamps, WakeUp};
use crate::ring::Ring;
use crate::split::LineSplitter;
use crate::sync::Ordering;

pub(crate) use backing::Backing;
use backing::{Made, SEALS, fill_holes};
use lock::{Keeping, has_owner, is_read_locked};
pub(crate) use lock::{Lock, Prober};
use memory::check_memory;
use name::Name;
pub use name::RingName;
pub(crate) use name::{abandoned, open_named, view_named};
use open::Wanted;
pub(crate) use open::{open_file, view_file};
use sigbus::Watched;
pub use sigbus::turn_sigbus_into_errors;
pub(crate) use view::View;
use wake_pipe::WakePipe;

// Bytes whose locks mean something; a segment has far fewer bytes of its own, and a lock needs none.

/// The bytes of cells and, after them, those of which each process has one that does not only look: while a process uses the
/// segment, one of them has an owner.
const CELLS_AND_USED: Range<u64> = 0..1 << 32;
const USED: Range<u64> = 1 << 31..1 << 32;
/// The byte whose lock is shared by all processes that have the segment, be it to look at it.
const LIVING: u64 = 1 << 32;
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
    file: KeptFile,
    geometry: Geometry,
    parts: Parts,
    pipe: Option<WakePipe>,
    /// Taken away with this value, and before the lock is: else it could be another ring's by then.
    _name: Option<Name>,
    /// Says that somebody lives here.
    _living: Lock,
    /// Bytes for putting lines together; the reader's own affair, so it is not in the geometry.
    pub(crate) assembly_budget: usize,
    pub(crate) seat_limit: Option<Duration>,
}

/// A mapping that the handler of SIGBUS knows.
#[derive(Debug)]
pub(super) struct Mapping {
    map: MmapRaw,
    watched: &'static Watched,
}

impl Mapping {
    fn new(map: MmapRaw) -> Self {
        let watched = Watched::new(map.as_ptr() as usize, map.len());
        Self { map, watched }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.watched.end();
    }
}

/// The parts of a mapping, found once since every write needs them. The lifetime is a lie that stays in here: the mapping
/// does not move, and who has both hands the parts out for no longer than itself lives.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) ring: Ring<'static>,
    pub(super) cells: &'static [Cell],
    tickets: &'static [Ticket],
    header: &'static Header,
}

impl Parts {
    /// Those of a mapping whose size is that of its geometry.
    fn of(map: &MmapRaw, geometry: &Geometry) -> Self {
        let (offsets, shape) = (geometry.offsets(), geometry.shape());
        let header: &Header = &part(map, 0, 1)[0];
        let order = part(map, offsets.order, 1 << shape.order_bits);
        let slots = part(map, offsets.slots, geometry.slots() * shape.slot_words);
        let ring = Ring::new(order, slots, &header.next_position.0, shape);
        Self {
            ring,
            cells: part(map, offsets.cells, geometry.cells as usize),
            tickets: part(map, offsets.tickets, geometry.tickets as usize),
            header,
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

impl Segment {
    /// Makes a segment in memory without a name.
    pub(crate) fn anonymous(options: &Options) -> Result<Self, CreateError> {
        Self::create(options, Backing::Memory)
    }

    /// Makes a segment: allocated, touched, and sealed if that is possible.
    pub(crate) fn create(options: &Options, backing: Backing<'_>) -> Result<Self, CreateError> {
        fork::prepare().map_err(system!(CreateError, "map a page"))?;
        let mut geometry = options.geometry(matches!(backing, Backing::File(_)))?;
        let identity = random::<16>().map_err(system!(CreateError, "get random bytes"))?;
        geometry.identity = bytemuck::cast(identity);
        geometry.created = crate::time::since_1970();
        geometry.backing = backing.number();
        let pipe = match options.wake_up {
            WakeUp::Futex => None,
            WakeUp::Pipe => {
                let pipe = WakePipe::new().map_err(system!(CreateError, "make the wake-up pipe"))?;
                pipe.describe(&mut geometry);
                Some(pipe)
            }
        };
        let Made { file, living, mut name } = backing.create(geometry.total_bytes)?;
        let map = MmapOptions::new().len(geometry.total_bytes as usize).populate().map_raw(&file.borrow());
        let map = map.map_err(system!(CreateError, "map the segment"))?;
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
        let file = descriptor.try_clone_to_owned().map_err(system!(AttachError, "keep the descriptor"))?;
        Self::attach_file(file.into())
    }

    /// Attaches to a segment that was opened by its name or path, and still has it.
    pub(crate) fn open(file: File) -> Result<Self, AttachError> {
        let segment = Self::attach_file(file)?;
        // From now on somebody lives there, so nobody takes it away any more.
        let stat =
            rustix::fs::fstat(segment.file.borrow()).map_err(system!(AttachError, "look at the segment"))?;
        if stat.st_nlink == 0 {
            let error = io::Error::new(io::ErrorKind::NotFound, "it was taken away just now");
            return Err(AttachError::System { doing: "open the ring", error });
        }
        Ok(segment)
    }

    /// Attaches to a segment.
    pub(crate) fn attach_file(file: File) -> Result<Self, AttachError> {
        fork::prepare().map_err(system!(AttachError, "map a page"))?;
        let found = file.metadata().map_err(system!(AttachError, "look at the descriptor"))?.size();
        let geometry = read_geometry(&file, found)?;
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        if geometry.backing == Backing::Memory.number() && !seals.contains(SEALS) {
            return Err(AttachError::Seals { found: seals.bits(), expected: SEALS.bits() });
        }
        // Again, now that it cannot change any more; but for an object with a name, which its user can cut short.
        let found = file.metadata().map_err(system!(AttachError, "look at the descriptor"))?.size();
        if found != geometry.total_bytes {
            return Err(AttachError::Size { found, expected: geometry.total_bytes });
        }
        let map = MmapOptions::new().len(geometry.total_bytes as usize).map_raw(&file);
        let map = map.map_err(system!(AttachError, "map the segment"))?;
        let piped = geometry.wake_up == WakeUp::Pipe as u16;
        // Without its maker nobody finds the pipe any more: its reader sleeps without it, and wakes in each period.
        let pipe = if piped { WakePipe::reopen(&geometry) } else { None };
        let mut file = KeptFile::new(file).map_err(system!(AttachError, "look at the descriptor"))?;
        if geometry.backing != Backing::Memory.number() {
            file.try_locks().map_err(system!(AttachError, "use the ring's file"))?;
            fill_holes(&file, found).map_err(system!(AttachError, "allocate what the ring's file lacks"))?;
        }
        let living = file.live().map_err(system!(AttachError, "lock the segment"))?;
        Ok(Self::over(map, file, geometry, pipe, living))
    }

    /// The segment in a mapping whose size is that of its geometry.
    fn over(map: MmapRaw, file: KeptFile, geometry: Geometry, pipe: Option<WakePipe>, living: Lock) -> Self {
        Self {
            parts: Parts::of(&map, &geometry),
            pipe,
            _living: living,
            _name: None,
            assembly_budget: Options::new().budget(geometry.max_line as usize),
            seat_limit: None,
            geometry,
            file,
            map: Mapping::new(map),
        }
    }

    /// Whether its file was cut short, after [`turn_sigbus_into_errors`]: nothing in it means anything then.
    pub(crate) fn is_cut(&self) -> bool {
        self.map.watched.is_cut()
    }

    fn initialise(&self) {
        let shape = self.geometry.shape();
        let start = self.geometry.start_position;
        for (index, entry) in self.ring().order.iter().enumerate() {
            entry.store(shape.first_entry(start, index).0, Ordering::Relaxed);
        }
        for (index, cell) in self.cells().iter().enumerate() {
            let slot = shape.positions() as u32 + index as u32;
            cell.writer.0.hold.store(Hold::Held(slot).pack(0), Ordering::Relaxed);
        }
        let header = self.header();
        header.next_position.0.store(start, Ordering::Relaxed);
        header.read_position.0.store(start, Ordering::Relaxed);
        let mut words: [u64; GEOMETRY_WORDS] = bytemuck::cast(self.geometry);
        words[0] = u64::from_ne_bytes(MAGIC);
        for (to, word) in header.geometry.0.iter().zip(words).skip(1) {
            to.store(word, Ordering::Relaxed);
        }
        // The magic last: who sees it sees a finished segment.
        header.geometry.0[0].store(words[0], Ordering::Release);
    }

    // -------------------------------------------------------------------------------------- parts

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
        match self.geometry.policy {
            0 => Policy::Block,
            1 => Policy::DropNewest,
            _ => Policy::OverwriteOldest,
        }
    }

    #[inline]
    pub(crate) fn overwrites(&self) -> bool {
        self.geometry.policy == Policy::OverwriteOldest as u16
    }

    #[inline]
    pub(crate) fn stamps(&self) -> bool {
        self.geometry.timestamps == Timestamps::Coarse as u16
    }

    /// What mirrors make of the bytes written into them.
    pub(crate) fn splitter(&self) -> LineSplitter {
        let returns = self.geometry.returns;
        LineSplitter::new().fold_crlf(returns & 1 != 0).rewrite(returns & 2 != 0)
    }

    pub(crate) fn pipe(&self) -> Option<&WakePipe> {
        self.pipe.as_ref()
    }

    /// The random name of this ring, in hexadecimal.
    pub(crate) fn identity(&self) -> String {
        let [high, low] = self.geometry.identity;
        format!("{high:016x}{low:016x}")
    }

    // -------------------------------------------------------------------------------------- locks

    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.descriptor
    }

    pub(crate) fn borrow_descriptor(&self) -> Result<BorrowedFd<'_>, MirrorError> {
        self.file.check()?;
        Ok(self.file.borrow())
    }

    /// A new description of the segment's file, to try locks with. Three system calls.
    pub(crate) fn prober(&self) -> Result<Prober, MirrorError> {
        self.file.prober()
    }

    /// Whether nothing but a read lock keeps this cell from being taken: the work of a process that may only read.
    pub(crate) fn is_read_locked(&self, cell: usize) -> bool {
        let byte = cell as u64;
        self.file.check().is_ok() && is_read_locked(&self.file.descriptor, byte..byte + 1).unwrap_or(false)
    }

    /// Whether a living process has this cell, as far as this moment goes. Needs the kept descriptor alone. Two system calls.
    pub(crate) fn has_owner(&self, cell: usize) -> Result<bool, MirrorError> {
        Ok(self.without_owner([cell].into_iter())?.is_empty())
    }

    /// Those of these cells that no living process has. As [`has_owner`](Self::has_owner): a system call for each, and one.
    pub(crate) fn without_owner(
        &self,
        cells: impl Iterator<Item = usize>,
    ) -> Result<Vec<usize>, MirrorError> {
        let mut cells = cells.peekable();
        if cells.peek().is_some() {
            self.file.check()?;
        }
        let mut without = Vec::new();
        for cell in cells {
            let byte = cell as u64;
            let asked = self.file.has_owner(byte..byte + 1);
            if !asked.map_err(system!(MirrorError, "ask for a cell's lock"))? {
                without.push(cell);
            }
        }
        Ok(without)
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// `count` values of `T` at `offset` of a mapping. The caller gives them out for no longer than it has the mapping.
fn part<T>(map: &MmapRaw, offset: usize, count: usize) -> &'static [T] {
    assert!(offset + count * size_of::<T>() <= map.len() && offset.is_multiple_of(align_of::<T>()));
    // SAFETY: within the mapping, whose file is sealed against shrinking; used for structs of atomics alone, for
    // which any bits are valid and which anybody may change at any time.
    unsafe { core::slice::from_raw_parts(map.as_ptr().add(offset).cast(), count) }
}

/// Reads and checks the geometry of an object of `found` bytes.
fn read_geometry(file: &File, found: u64) -> Result<Geometry, AttachError> {
    let expected = size_of::<Header>() as u64;
    if found < expected {
        return Err(AttachError::TooSmall { found, expected });
    }
    let mut geometry: Geometry = bytemuck::Zeroable::zeroed();
    file.read_exact_at(bytemuck::bytes_of_mut(&mut geometry), 0)
        .map_err(system!(AttachError, "read the header"))?;
    if geometry.magic != MAGIC {
        return Err(AttachError::Magic { found: geometry.magic, expected: MAGIC });
    }
    if geometry.endianness != ENDIANNESS {
        return Err(AttachError::Endianness { found: geometry.endianness, expected: ENDIANNESS });
    }
    if geometry.version != LAYOUT_VERSION {
        return Err(AttachError::Version { found: geometry.version, expected: LAYOUT_VERSION });
    }
    if geometry.word_bytes != 8 {
        return Err(AttachError::WordSize { found: geometry.word_bytes, expected: 8 });
    }
    if let Some(fault) = geometry.fault() {
        return Err(AttachError::Geometry(fault));
    }
    Ok(geometry)
}

/// A descriptor that knows which file it was opened for: a daemon closes numbers that it does not know, and
/// the next file gets them.
#[derive(Debug)]
struct KeptFile {
    descriptor: RawFd,
    file: (u64, u64),
    keeping: Keeping,
}

impl KeptFile {
    fn new(descriptor: File) -> io::Result<Self> {
        let data = descriptor.metadata()?;
        let file = (data.dev(), data.ino());
        Ok(Self { descriptor: OwnedFd::from(descriptor).into_raw_fd(), file, keeping: Keeping::Mapping })
    }

    /// Finds out what keeps a lock on this file. Memory without a name needs no trial: a mapping does.
    fn try_locks(&mut self) -> io::Result<()> {
        let _no_fork = fork::no_fork();
        self.keeping = Keeping::of(self)?;
        Ok(())
    }

    fn prober(&self) -> Result<Prober, MirrorError> {
        Ok(Prober::new(self.reopen()?, self.keeping))
    }

    /// Whether a byte of this range has an owner, be it in this process.
    fn has_owner(&self, range: Range<u64>) -> io::Result<bool> {
        has_owner(&self.descriptor, range)
    }

    /// Shares the lock that says that somebody lives here.
    fn live(&self) -> io::Result<Lock> {
        let _no_fork = fork::no_fork();
        let prober = self.prober().map_err(io::Error::other)?;
        prober.live()?;
        prober.keep()
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: only used for the length of a call, which a closed number gives an error.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }

    fn check(&self) -> Result<(), MirrorError> {
        match rustix::fs::fstat(self.borrow()) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.file => Ok(()),
            _ => Err(MirrorError::DescriptorClosed { descriptor: self.descriptor }),
        }
    }

    /// A description of its own of the same file.
    fn reopen(&self) -> Result<OwnedFd, MirrorError> {
        let path = format!("/proc/self/fd/{}", self.descriptor);
        let new = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let closed = MirrorError::DescriptorClosed { descriptor: self.descriptor };
        let new = match new {
            Err(rustix::io::Errno::NOENT) if std::path::Path::new("/proc/self/fd").exists() => {
                return Err(closed);
            }
            other => other.map_err(system!(MirrorError, "reopen the segment through /proc"))?,
        };
        let stat = rustix::fs::fstat(&new).map_err(system!(MirrorError, "look at the segment"))?;
        if (stat.st_dev, stat.st_ino) == self.file { Ok(new) } else { Err(closed) }
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // SAFETY: it is our file's descriptor, and nobody uses it after this.
            drop(unsafe { OwnedFd::from_raw_fd(self.descriptor) });
        }
    }
}

/// Opens the segment that another process has under this number.
pub(crate) fn open_of_process(process: u32, descriptor: RawFd) -> Result<File, AttachError> {
    // The entry there is a link. Whatever else it leads to is not opened: to open a device does something.
    let wanted = Wanted { writing: true, following: true, any_user: true };
    let path = format!("/proc/{process}/fd/{descriptor}");
    wanted.open(path.as_ref(), "open the ring's descriptor in its creator's process")
}
