//! The seat of a mirror, and who owns it: the rule is in docs/python.md, "Who owns a seat".

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linering::{LineProcMirror, LineRing, Seat, Stream};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::{errors, fork};

/// A mirror's seat; shared by the mirror and by the buffer that handed it out.
#[derive(Debug)]
pub struct SeatSlot {
    content: Mutex<Content>,
    /// The process that reserved the seat and alone may cancel it, counted in forks.
    home: u32,
    /// The seat was opened or handed over: this process does not cancel it any more.
    taken: AtomicBool,
    /// The seat was handed over: a write in this process reserves another one first.
    handed_over: AtomicBool,
}

#[derive(Debug)]
enum Content {
    Seat(Seat),
    /// Why the string could not be used. Raised at the first use: unpickling happens where an
    /// exception would be lost.
    Fault(String),
}

impl SeatSlot {
    /// With a seat that this process reserved.
    pub fn reserved(seat: Seat) -> Self {
        Self::with(Content::Seat(seat), false)
    }

    /// With the seat of a string.
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(seat) => Self::with(Content::Seat(seat), true),
            Err(error) => Self::with(Content::Fault(error.to_string()), true),
        }
    }

    fn with(content: Content, taken: bool) -> Self {
        Self {
            content: Mutex::new(content),
            home: fork::generation(),
            taken: AtomicBool::new(taken),
            handed_over: AtomicBool::new(false),
        }
    }

    /// Locked for moments only, with the interpreter lock held, so no thread holds this lock when
    /// the process forks.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seat(&self) -> PyResult<Seat> {
        match &*self.content() {
            Content::Seat(seat) => Ok(seat.clone()),
            Content::Fault(words) => Err(PyOSError::new_err(words.clone())),
        }
    }

    /// Opens a mirror in the seat: the seat's own the first time, one more with its number
    /// afterwards. After the seat was handed over, reserves another one first.
    pub fn open(&self, stream: Stream) -> PyResult<LineProcMirror> {
        let mut seat = self.seat()?;
        if self.handed_over.swap(false, Relaxed) {
            seat = LineRing::from(&seat).seat().map_err(errors::of_mirror)?;
            *self.content() = Content::Seat(seat.clone());
        }
        let mut mirror = seat.open().map_err(errors::of_mirror)?;
        self.taken.store(true, Relaxed);
        mirror.set_stream(stream);
        Ok(mirror)
    }

    pub fn is_taken(&self) -> bool {
        self.taken.load(Relaxed)
    }

    /// Whether this process reserved the seat, and has neither handed it over nor opened it, and
    /// no other process has opened it.
    pub fn is_reserved(&self) -> bool {
        self.home == fork::generation()
            && !self.is_taken()
            && self.seat().is_ok_and(|seat| seat.is_reserved())
    }

    /// Cancels the seat; `false` if it is not this process's to cancel.
    pub fn cancel(&self) -> bool {
        self.is_reserved() && self.seat().is_ok_and(|seat| seat.cancel())
    }

    /// The string of a seat, for a process that will open it. The first call hands over this
    /// mirror's own seat, each further one a seat that it reserves.
    pub fn hand_over(&self) -> PyResult<String> {
        let seat = self.seat()?;
        if !self.is_reserved() {
            let further = LineRing::from(&seat).seat().map_err(errors::of_mirror)?;
            return Ok(further.to_string());
        }
        self.taken.store(true, Relaxed);
        self.handed_over.store(true, Relaxed);
        Ok(seat.to_string())
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

    /// Whether this process may still cancel it: it was neither handed over nor opened.
    fn is_reserved(&self) -> bool {
        self.0.is_reserved()
    }

    /// Cancels it; `False` if it is not this process's to cancel any more.
    fn cancel(&self) -> bool {
        self.0.cancel()
    }
}
