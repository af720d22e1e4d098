//! [`Seat`]: a place kept for a mirror that another process will open.

use std::fmt;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Arc;

use super::mirror::LineProcMirror;
use crate::error::{AttachError, MirrorError};
use crate::registry::ticket::{Label, SeatId};
use crate::segment::options::millis;
use crate::segment::{Segment, open_of_process};
use crate::sys::clock::monotonic_ms;

/// A place kept for a mirror that another process will open.
///
/// It counts from its making until the mirror has ended, was cancelled, or its time limit has
/// passed. It has no cell and no lock, and dropping it does nothing. As a string it can travel in
/// an environment variable or an argument to any process of the same user, as long as the ring's
/// creator lives:
///
/// ```
/// # use linering::{LineRing, Options, Seat};
/// let ring = LineRing::new(Options::new())?;
/// let text = ring.seat()?.to_string();
/// // ... in another process:
/// let seat: Seat = text.parse()?;
/// seat.open()?.write_line(b"hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Seat {
    pub(super) segment: Arc<Segment>,
    id: SeatId,
    label: Label,
}

impl Seat {
    /// Reserves one.
    pub(crate) fn reserve(segment: &Arc<Segment>, label: Label) -> Result<Self, MirrorError> {
        let deadline =
            segment.seat_limit.map_or(0, |limit| monotonic_ms().saturating_add(millis(limit)));
        Ok(Self { id: segment.reserve(label, deadline)?, segment: Arc::clone(segment), label })
    }

    /// The seat that `linering run` keeps for this process, in the variable `LINERING_SEAT`; `None`
    /// without that variable.
    ///
    /// `None` as well in a setuid program and its like, which must not obey its environment: see
    /// [`obeys_env`](Self::obeys_env).
    ///
    /// ```
    /// if let Some(seat) = linering::Seat::from_env()? {
    ///     seat.open()?.write_line(b"straight into the ring")?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`FromStr`](Self::from_str), if the variable does not name a seat that can be had.
    pub fn from_env() -> Result<Option<Self>, AttachError> {
        if !Self::obeys_env() {
            return Ok(None);
        }
        match std::env::var_os("LINERING_SEAT") {
            None => Ok(None),
            Some(text) => text.to_string_lossy().parse().map(Some),
        }
    }

    /// Whether [`from_env`](Self::from_env) looks at this process's environment at all.
    ///
    /// Not in a process that has more rights than the one that started it (setuid, setgid, file
    /// capabilities: the kernel's `AT_SECURE`): its environment is the work of a process that it
    /// must not obey. For programs that take a seat's string out of their environment by other
    /// means, so that they have the same rule.
    pub fn obeys_env() -> bool {
        // SAFETY: a look at what the kernel gave this process at its start.
        unsafe { libc::getauxval(libc::AT_SECURE) == 0 }
    }

    /// Opens the mirror, in this process. Opening a seat again makes an extra mirror, which counts
    /// too.
    ///
    /// # Errors
    ///
    /// Too many mirrors, or the system's refusal.
    pub fn open(&self) -> Result<LineProcMirror, MirrorError> {
        LineProcMirror::open(&self.segment, Some(self.id), self.label)
    }

    /// Gives the seat up; `false` if a process has opened it already.
    pub fn cancel(&self) -> bool {
        self.segment.cancel(self.id)
    }

    /// Whether no process has opened it or given it up, and its time limit has not been found to
    /// have passed.
    pub fn is_reserved(&self) -> bool {
        self.segment.is_kept(self.id)
    }

    /// The number that its mirror's lines will carry.
    pub fn writer_id(&self) -> u32 {
        self.id.serial as u32
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = &self.segment;
        let (identity, process, descriptor) =
            (segment.identity(), std::process::id(), segment.descriptor());
        write!(
            f,
            "linering1:{identity}:{process}:{descriptor}:{}:{}",
            self.id.ticket, self.id.serial
        )
    }
}

impl FromStr for Seat {
    type Err = AttachError;

    /// Attaches to the ring that the string names.
    fn from_str(text: &str) -> Result<Self, AttachError> {
        let no_seat = || AttachError::Seat { found: text.to_owned() };
        let parts: Vec<&str> = text.split(':').collect();
        let ["linering1", identity, process, descriptor, ticket, serial] = parts[..] else {
            return Err(no_seat());
        };
        let process = process.parse().map_err(|_| no_seat())?;
        let descriptor = descriptor.parse().map_err(|_| no_seat())?;
        let ticket: u32 = ticket.parse().map_err(|_| no_seat())?;
        let serial = serial.parse().map_err(|_| no_seat())?;
        let file = open_of_process(process, descriptor)?;
        let segment = Arc::new(Segment::attach(file.as_fd())?);
        let found = segment.identity();
        if found != identity {
            return Err(AttachError::Identity { found, expected: identity.to_owned() });
        }
        let Some(entry) = segment.tickets().get(ticket as usize) else { return Err(no_seat()) };
        let label = Label::new(&entry.label()).unwrap_or_default();
        Ok(Self { segment, id: SeatId { ticket, serial }, label })
    }
}
