//! `Ring`: the shared memory that a `LineProcBuffer` stands on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use linering::{CreateError, LineRing, Options, Policy, RingName, WakeUp, WriterState};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::claim::Claims;
use crate::reader::Reader;
use crate::seat_slot::{ReservedSeat, SeatSlot};
use crate::{errors, reader};

#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Ring(LineRing, Claims, Arc<AtomicU64>);

fn seconds(option: &str, given: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    Duration::try_from_secs_f64(given).map(Some).map_err(|_| {
        PyValueError::new_err(format!("{option} is {given}, expected None or 0 or more seconds"))
    })
}

pub fn name_and_file() -> PyErr {
    PyValueError::new_err("expected a name or a file, and not both: where the ring is")
}

pub fn ring_name(name: &str, any_user: bool) -> RingName<'_> {
    let name = RingName::new(name);
    if any_user { name.of_any_user() } else { name }
}

impl Ring {
    fn of(ring: LineRing) -> PyResult<Self> {
        let claims = Claims::new().map_err(|error| {
            PyOSError::new_err(format!("cannot make a file for the claims on seats: {error}"))
        })?;
        Ok(Self(ring, claims, Arc::default()))
    }
}

#[pymethods]
impl Ring {
    #[new]
    #[pyo3(signature = (
        lines, line_bytes, policy, *, mirrors, seats, seat_limit, block_limit, max_line, checksums,
        name, file
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python gives most of them by name")]
    fn new(
        lines: usize,
        line_bytes: usize,
        policy: &str,
        mirrors: usize,
        seats: usize,
        seat_limit: Option<f64>,
        block_limit: Option<f64>,
        max_line: Option<usize>,
        checksums: Option<bool>,
        name: Option<&str>,
        file: Option<PathBuf>,
    ) -> PyResult<Self> {
        let policy = match policy {
            "overwrite" => Policy::OverwriteOldest,
            "block" => Policy::Block,
            "drop" => Policy::DropNewest,
            found => {
                let words =
                    format!("policy is {found:?}, expected \"overwrite\", \"block\" or \"drop\"");
                return Err(PyValueError::new_err(words));
            }
        };
        let mut options = Options::new()
            .lines(lines)
            .line_bytes(line_bytes)
            .policy(policy)
            .mirrors(mirrors)
            .seats(seats)
            .seat_limit(seconds("seat_limit", seat_limit)?)
            .block_limit(seconds("block_limit", block_limit)?)
            .fold_crlf(true)
            .rewrite(true)
            .wake_up(WakeUp::Pipe);
        if let Some(bytes) = max_line {
            options = options.max_line(bytes);
        }
        if let Some(checksums) = checksums {
            options = options.checksums(checksums);
        }
        let ring = match (name, file) {
            (None, None) => LineRing::new(options),
            (Some(name), None) => LineRing::create_named(name, options),
            (None, Some(file)) => LineRing::create_file(file, options),
            (Some(_), Some(_)) => return Err(name_and_file()),
        };
        Self::of(ring.map_err(|error| match error {
            CreateError::Option { .. } => PyValueError::new_err(error.to_string()),
            _ => errors::of_system(error.into()),
        })?)
    }

    /// Attaches to a ring that another process has made, or had.
    #[staticmethod]
    fn open(name: Option<&str>, file: Option<PathBuf>, any_user: bool) -> PyResult<Self> {
        let ring = match (name, file) {
            (Some(name), None) => LineRing::open_named(ring_name(name, any_user)),
            (None, Some(file)) => LineRing::open_file(file),
            _ => return Err(name_and_file()),
        };
        Self::of(ring.map_err(|error| errors::of_system(error.into()))?)
    }

    /// Reserves a seat, with a label, of which 24 bytes are kept.
    fn seat(&self, label: &str) -> PyResult<ReservedSeat> {
        let seat = self.0.seat_labelled(label).map_err(errors::of_mirror)?;
        let slot = SeatSlot::reserved(seat, self.1.path());
        self.2.store(slot.ring_key(), Relaxed);
        Ok(ReservedSeat(Arc::new(slot)))
    }

    /// Becomes the ring's reader.
    fn reader(&self) -> PyResult<Reader> {
        let (longest, ring) = (self.0.max_line(), Arc::clone(&self.2));
        self.0.reader().map(|reader| Reader::new(reader, longest, ring)).map_err(reader::taken)
    }

    /// Has every mirror's next write raise `Stopped`.
    fn stop(&self) {
        self.0.stop_all_mirrors();
    }

    /// Whether the seat of this number was ever claimed by a process that unpickled it, and whether
    /// one has it claimed now.
    fn claim(&self, number: u32) -> (bool, bool) {
        self.1.state(number)
    }

    /// Numbers and tickets of all seats that were ever claimed.
    fn claims(&self) -> PyResult<Vec<(u32, u32)>> {
        Ok(self.1.all()?)
    }

    /// Number, label and process of each mirror that is open.
    fn open_mirrors(&self) -> Vec<(u32, String, Option<u32>)> {
        let is_open = |state| matches!(state, WriterState::Open | WriterState::Gone);
        let open = self.0.writers().into_iter().filter(|it| is_open(it.state));
        open.map(|it| (it.writer_id, it.label, it.process)).collect()
    }

    /// How many seats are reserved, and how many mirrors are open.
    fn waiting_for(&self) -> (u64, u64) {
        let counts = self.0.counts();
        (counts.seats, counts.live)
    }
}
