//! The seat of a mirror, and who owns it: the rule is in docs/python.md, "Who owns a seat".

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linering::{LineProcMirror, LineRing, Seat, Stream};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::claim::{self, Claim};
use crate::{errors, fork};

/// A mirror's seat; shared by the mirror and by the buffer that handed it out.
#[derive(Debug)]
pub struct SeatSlot {
    content: Mutex<Content>,
    /// The process that made this, counted in forks: if it reserved the seat, it alone may cancel
    /// it.
    home: u32,
    /// This process reserved it; another one did whose string was parsed otherwise.
    is_ours: bool,
    opened: AtomicBool,
    /// The seat was handed over: a write in this process reserves another one first.
    handed_over: AtomicBool,
    /// A pickle is out of whose whereabouts nothing is known: the process that uses the seat first
    /// has it.
    copied: AtomicBool,
    /// See [`ring_key`](Self::ring_key).
    ring: AtomicU64,
    /// Where the ring is in the process that made it, which has it as long as it lives: as the
    /// second and third part of a seat's string say it. This process's own descriptor goes with
    /// its mirrors.
    origin: String,
}

#[derive(Debug)]
struct Content {
    seat: Result<Seat, String>,
    /// Where the ring's claims are.
    claims: Option<String>,
    /// This process's claim on a seat that it has not opened.
    claim: Option<File>,
}

fn further(seat: &Seat) -> PyResult<Seat> {
    LineRing::from(seat).seat().map_err(errors::of_mirror)
}

fn ticket_of(text: &str) -> u32 {
    text.split(':').nth(4).and_then(|ticket| ticket.parse().ok()).unwrap_or(0)
}

fn claim_of(path: Option<&str>, seat: &Seat) -> Claim {
    path.map_or(Claim::Unknown, |path| {
        claim::claim(path, seat.writer_id(), ticket_of(&seat.to_string()))
    })
}

/// Names a ring within this process, out of a seat's string.
fn ring_key_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.split(':').nth(1).hash(&mut hasher);
    hasher.finish() | 1
}

impl SeatSlot {
    /// With a seat that this process reserved.
    pub fn reserved(seat: Seat, claims: &str) -> Self {
        let text = seat.to_string();
        Self::with(Ok(seat), &text, Some(claims.to_owned()), true)
    }

    /// With the seat of a string. What is wrong with the string is raised at the first use:
    /// unpickling happens where an exception would be lost.
    pub fn parse(text: &str) -> Self {
        Self::with(
            text.parse().map_err(|error: linering::AttachError| error.to_string()),
            text,
            None,
            false,
        )
    }

    fn with(seat: Result<Seat, String>, text: &str, claims: Option<String>, is_ours: bool) -> Self {
        Self {
            content: Mutex::new(Content { seat, claims, claim: None }),
            home: fork::generation(),
            is_ours,
            opened: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            copied: AtomicBool::new(false),
            ring: AtomicU64::new(0),
            origin: text.split(':').skip(2).take(2).collect::<Vec<_>>().join(":"),
        }
    }

    /// Locked for moments only, with the interpreter lock held, so no thread holds this lock when
    /// the process forks.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seat(&self) -> PyResult<Seat> {
        self.content().seat.clone().map_err(PyOSError::new_err)
    }

    /// Names the ring within this process.
    pub fn ring_key(&self) -> u64 {
        match self.ring.load(Relaxed) {
            0 => {
                let key = self.seat().map_or(1, |seat| ring_key_of(&seat.to_string()));
                self.ring.store(key, Relaxed);
                key
            }
            key => key,
        }
    }

    /// Claims the seat that was parsed, for this process; another one with `fresh`, or if another
    /// process has it.
    pub fn claim(&self, claims: Option<String>, fresh: bool) {
        let mut content = self.content();
        content.claims = claims;
        let Ok(seat) = content.seat.clone() else { return };
        let mut claim = match fresh {
            true => Claim::Taken,
            false => claim_of(content.claims.as_deref(), &seat),
        };
        if matches!(claim, Claim::Taken) {
            content.seat = further(&seat).map_err(|error| error.to_string());
            let Ok(seat) = &content.seat else { return };
            claim = claim_of(content.claims.as_deref(), seat);
        }
        if let Claim::Mine(file) = claim {
            content.claim = Some(file);
        }
    }

    /// Opens a mirror in the seat: the seat's own the first time, one more with its number
    /// afterwards. After the seat was handed over, reserves another one first.
    pub fn open(&self, stream: Stream) -> PyResult<LineProcMirror> {
        let mut seat = self.seat()?;
        let mut claim = self.content().claim.take();
        let mut is_gone = self.handed_over.load(Relaxed);
        if !is_gone && self.copied.swap(false, Relaxed) && !self.opened.load(Relaxed) {
            match claim_of(self.content().claims.as_deref(), &seat) {
                Claim::Mine(file) => claim = Some(file),
                Claim::Taken => is_gone = true,
                Claim::Unknown => {}
            }
        }
        if is_gone {
            seat = further(&seat)?;
            self.content().seat = Ok(seat.clone());
            self.handed_over.store(false, Relaxed);
        }
        let mut mirror = seat.open().map_err(errors::of_mirror)?;
        self.opened.store(true, Relaxed);
        // From here on the mirror's own lock tells of the process's death.
        drop(claim);
        mirror.set_stream(stream);
        Ok(mirror)
    }

    /// Whether the seat was opened or handed over: this process does not cancel it any more.
    pub fn is_taken(&self) -> bool {
        self.opened.load(Relaxed) || self.handed_over.load(Relaxed)
    }

    /// Whether this process reserved the seat, and has neither handed it over nor opened it, and
    /// no other process has opened it.
    pub fn is_reserved(&self) -> bool {
        self.is_ours && self.is_here() && self.seat().is_ok_and(|seat| seat.is_reserved())
    }

    fn is_here(&self) -> bool {
        self.home == fork::generation() && !self.is_taken()
    }

    /// Whether this process got the seat from another one, and has not used it.
    pub fn is_unused(&self) -> bool {
        !self.is_ours && self.is_here() && self.content().claim.is_some()
    }

    /// Cancels the seat; `false` if it is not this process's to cancel.
    pub fn cancel(&self) -> bool {
        self.is_reserved() && self.seat().is_ok_and(|seat| seat.cancel())
    }

    /// A seat for another process, which will open it, and whether that process has to take another
    /// one of the same ring instead.
    ///
    /// The first call hands over this mirror's own seat, each further one a seat that it reserves.
    /// With `shared`, for a pickle that may never be used, this mirror keeps its seat until the
    /// pickle is opened.
    pub fn hand_over(&self, shared: bool) -> PyResult<(Seat, bool)> {
        let seat = self.seat()?;
        let is_mine = self.is_here() && seat.is_reserved();
        if shared {
            let fresh = !(is_mine && self.is_ours);
            self.copied.fetch_or(!fresh, Relaxed);
            return Ok((seat, fresh));
        }
        let mut content = self.content();
        let is_free = || match claim_of(content.claims.as_deref(), &seat) {
            Claim::Mine(file) => {
                claim::pass_on(file, seat.writer_id());
                true
            }
            Claim::Taken => false,
            Claim::Unknown => true,
        };
        let passes_on = match (is_mine, self.is_ours) {
            (false, _) => false,
            (true, true) => !self.copied.load(Relaxed) || is_free(),
            (true, false) => match content.claim.take() {
                Some(file) => {
                    claim::pass_on(file, seat.writer_id());
                    true
                }
                None => false,
            },
        };
        if !passes_on {
            return Ok((further(&seat)?, false));
        }
        self.handed_over.store(true, Relaxed);
        Ok((seat, false))
    }

    /// The seat's string, for another process.
    pub fn text_of(&self, seat: &Seat) -> String {
        let text = seat.to_string();
        match *text.split(':').collect::<Vec<_>>() {
            [kind, ring, _, _, ticket, number] => {
                format!("{kind}:{ring}:{}:{ticket}:{number}", self.origin)
            }
            _ => text,
        }
    }

    /// Another seat of the same ring, which this process may cancel.
    pub fn sibling(&self, seat: Seat) -> Self {
        let text = self.text_of(&seat);
        Self::with(Ok(seat), &text, self.claims(), true)
    }

    pub fn claims(&self) -> Option<String> {
        self.content().claims.clone()
    }

    pub fn is_copied(&self) -> bool {
        self.copied.load(Relaxed)
    }
}

/// Whether this process may take a seat out of its environment: the library's rule.
#[pyfunction]
pub fn obeys_env() -> bool {
    Seat::obeys_env()
}

/// A seat that this process has reserved.
#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct ReservedSeat(pub Arc<SeatSlot>);

#[pymethods]
impl ReservedSeat {
    /// The number that its mirror's lines will carry.
    #[getter]
    fn worker(&self) -> PyResult<u32> {
        Ok(self.0.seat()?.writer_id())
    }

    /// Its string, for a process that will open it.
    #[getter]
    fn text(&self) -> PyResult<String> {
        Ok(self.0.text_of(&self.0.seat()?))
    }

    /// Whether a pickle of its mirror is out that takes the seat when it is opened.
    fn is_copied(&self) -> bool {
        self.0.is_copied()
    }

    /// Whether this process may still cancel it: it was neither handed over nor opened.
    fn is_reserved(&self) -> bool {
        self.0.is_reserved()
    }

    /// Cancels it; `False` if it is not this process's to cancel any more.
    fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Another seat of the same ring, which another process reserved.
    fn sibling(&self, number: u32, ticket: u32) -> PyResult<Self> {
        let text = self.text()?;
        let mut parts: Vec<&str> = text.split(':').collect();
        let (number, ticket) = (number.to_string(), ticket.to_string());
        if let [.., at_ticket, at_number] = &mut parts[..] {
            (*at_ticket, *at_number) = (&ticket, &number);
        }
        let seat: Seat = parts
            .join(":")
            .parse()
            .map_err(|it: linering::AttachError| PyValueError::new_err(it.to_string()))?;
        Ok(Self(Arc::new(self.0.sibling(seat))))
    }
}
