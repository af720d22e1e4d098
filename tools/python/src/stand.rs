//! Where a mirror stands: its seat, and who has it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linering::{LineProcMirror, LineRing, Seat, Stream};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::{errors, fork};

/// Shared by a mirror and by the buffer that handed it out.
#[derive(Debug)]
pub struct Stand {
    place: Mutex<Place>,
    /// The process, counted in forks, that keeps the seat and may give it up.
    home: u32,
    /// The seat is somebody's: opened, or in a pickle.
    taken: AtomicBool,
    /// In a pickle: who uses the mirror here all the same gets another.
    away: AtomicBool,
}

#[derive(Debug)]
enum Place {
    Seat(Seat),
    /// Why the string could not be used. Said at the first use: unpickling happens where an
    /// exception would be lost.
    Fault(String),
}

impl Stand {
    /// In a seat that this process keeps until somebody has it.
    pub fn kept(seat: Seat) -> Self {
        Self::at(Place::Seat(seat), false)
    }

    /// In the seat of a string.
    pub fn of(text: &str) -> Self {
        match text.parse() {
            Ok(seat) => Self::at(Place::Seat(seat), true),
            Err(error) => Self::at(Place::Fault(error.to_string()), true),
        }
    }

    fn at(place: Place, taken: bool) -> Self {
        let (taken, away) = (AtomicBool::new(taken), AtomicBool::new(false));
        Self { place: Mutex::new(place), home: fork::generation(), taken, away }
    }

    /// Locked for moments only, with the interpreter lock held, so nobody has it when the process
    /// forks.
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seat(&self) -> PyResult<Seat> {
        match &*self.place() {
            Place::Seat(seat) => Ok(seat.clone()),
            Place::Fault(words) => Err(PyOSError::new_err(words.clone())),
        }
    }

    /// A new one takes the seat's place.
    fn renew(&self, seat: &Seat) -> PyResult<Seat> {
        let ring = LineRing::from(seat);
        let new = ring.seat().map_err(errors::of_mirror)?;
        *self.place() = Place::Seat(new.clone());
        Ok(new)
    }

    /// Opens a mirror in the seat: the seat's own the first time, one more with its number
    /// afterwards.
    pub fn open(&self, stream: Stream) -> PyResult<LineProcMirror> {
        let mut seat = self.seat()?;
        if self.away.swap(false, Relaxed) {
            seat = self.renew(&seat)?;
        }
        let mut mirror = seat.open().map_err(errors::of_mirror)?;
        self.taken.store(true, Relaxed);
        mirror.set_stream(stream);
        Ok(mirror)
    }

    pub fn is_taken(&self) -> bool {
        self.taken.load(Relaxed)
    }

    /// Whether nobody has it yet, and this process is the one that may give it up.
    pub fn is_kept(&self) -> bool {
        self.home == fork::generation()
            && !self.is_taken()
            && self.seat().is_ok_and(|seat| seat.is_reserved())
    }

    /// Gives the seat up; `false` if somebody has opened it.
    pub fn cancel(&self) -> bool {
        self.is_kept() && self.seat().is_ok_and(|seat| seat.cancel())
    }

    /// A seat's string for a process that will open it. The first gets this very seat: for good, if
    /// it is the `only` one, else another is kept in its place, so that the buffer is not taken
    /// for done between one pickling and the next.
    pub fn hand_over(&self, only: bool) -> PyResult<String> {
        let seat = self.seat()?;
        if !self.is_kept() {
            let ring = LineRing::from(&seat);
            return Ok(ring.seat().map_err(errors::of_mirror)?.to_string());
        }
        if only {
            self.taken.store(true, Relaxed);
            self.away.store(true, Relaxed);
        } else {
            self.renew(&seat)?;
        }
        Ok(seat.to_string())
    }
}

/// Whether this process may take a seat out of its environment: the library's rule.
#[pyfunction]
pub fn obeys_env() -> bool {
    Seat::obeys_env()
}

/// A seat that this process keeps until somebody has it.
#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Kept(pub Arc<Stand>);

#[pymethods]
impl Kept {
    /// The number that its mirror's lines will carry.
    #[getter]
    fn worker(&self) -> PyResult<u32> {
        Ok(self.0.seat()?.writer_id())
    }

    /// Whether nobody has it yet, and this process is the one that may give it up.
    fn is_kept(&self) -> bool {
        self.0.is_kept()
    }

    /// Gives it up; `False` if somebody has opened it.
    fn cancel(&self) -> bool {
        self.0.cancel()
    }
}
