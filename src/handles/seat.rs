//! [`Seat`]: a place kept for a mirror that another process will open.

use std::fmt;
use std::os::fd::{AsFd, RawFd};
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use super::mirror::LineProcMirror;
use crate::error::{AttachError, MirrorError};
use crate::registry::cell::MirrorKind;
use crate::registry::ticket::{Label, SeatId};
use crate::segment::options::millis;
use crate::segment::{Segment, attach_inherited, open_of_process};
use crate::sys::clock::monotonic_ms;

/// The variable that has a seat's string.
const VARIABLE: &str = "LINERING_SEAT";
/// What stands for the process, in the string of a seat that is passed by inheritance.
const INHERITED: &str = "self";

/// A place kept for a mirror that another process will open.
///
/// It counts from its making until the mirror has ended, was cancelled, or its time limit has
/// passed. It has no cell and no lock, and dropping it does nothing.
///
/// To a program that this process starts it goes by [`pass_to`](Self::pass_to). As a string it can
/// travel in any way to any process of the same user and PID namespace. The string names the
/// process that formats it, and its descriptor of the ring: it leads to the ring for as long as
/// that process lives and runs this program.
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

    /// Has the program that `command` starts inherit the ring's descriptor and this seat, which it
    /// finds with [`from_env`](Self::from_env). Nothing else is needed: not that this process lives
    /// on, nor the same user (for a ring without a name), nor the same PID namespace. A program
    /// that it starts in turn has the seat too. Also for a `command` that takes this process's
    /// place ([`exec`](std::os::unix::process::CommandExt::exec)).
    ///
    /// The program keeps the descriptor for itself and its children; one that closes descriptors
    /// which it does not know cannot open the seat. It needs its own `/proc`, as everything that
    /// opens a mirror. With [`WakeUp::Pipe`](crate::WakeUp::Pipe) it still finds the pipe in the
    /// process that made the ring: without that process, or its rights, it wakes no event loop, and
    /// what it writes is seen when the reader looks.
    ///
    /// ```
    /// # use linering::{LineRing, Options, Seat};
    /// # use std::process::Command;
    /// let ring = LineRing::new(Options::new())?;
    /// let seat = ring.seat_labelled("worker")?;
    /// let mut worker = Command::new("/bin/sh");
    /// seat.pass_to(worker.args(["-c", "echo $LINERING_SEAT"]))?;
    /// let text = String::from_utf8(worker.output()?.stdout)?;
    /// assert!(text.starts_with("linering1:") && text.contains(":self:"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MirrorError::DescriptorClosed`] if other code of this process closed the ring's
    /// descriptor, or the system's refusal of another one.
    pub fn pass_to(&self, command: &mut Command) -> Result<(), MirrorError> {
        let descriptor = self.segment.pass_to(command)?;
        command.env(VARIABLE, self.text(&INHERITED, descriptor));
        Ok(())
    }

    /// The seat that the process which started this one [passed](Self::pass_to) to it, or that
    /// `linering run` keeps for it, in the variable `LINERING_SEAT`; `None` without that variable.
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
        match std::env::var_os(VARIABLE) {
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

    /// The ring and the mirror that it is for.
    pub(crate) fn entry(&self) -> (&Arc<Segment>, MirrorKind) {
        let (seat, serial) = (Some(self.id), Some(self.id.serial));
        (&self.segment, MirrorKind::Ticket { seat, serial, label: self.label })
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

    fn text(&self, process: &dyn fmt::Display, descriptor: RawFd) -> String {
        let (identity, SeatId { ticket, serial }) = (self.segment.identity(), self.id);
        format!("linering1:{identity}:{process}:{descriptor}:{ticket}:{serial}")
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&std::process::id(), self.segment.descriptor()))
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
        let descriptor = descriptor.parse().map_err(|_| no_seat())?;
        let ticket: u32 = ticket.parse().map_err(|_| no_seat())?;
        let serial = serial.parse().map_err(|_| no_seat())?;
        let segment = Arc::new(if process == INHERITED {
            attach_inherited(descriptor)?
        } else {
            let process = process.parse().map_err(|_| no_seat())?;
            Segment::attach(open_of_process(process, descriptor)?.as_fd())?
        });
        let found = segment.identity();
        if found != identity {
            return Err(AttachError::Identity { found, expected: identity.to_owned() });
        }
        let Some(entry) = segment.tickets().get(ticket as usize) else { return Err(no_seat()) };
        let label = Label::new(&entry.label());
        Ok(Self { segment, id: SeatId { ticket, serial }, label })
    }
}
