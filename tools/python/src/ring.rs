//! `Ring`: the shared memory that a `LineProcBuffer` stands on.

use std::sync::Arc;
use std::time::Duration;

use linering::{LineRing, Options, Policy, WakeUp};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::reader::Reader;
use crate::seat_slot::{ReservedSeat, SeatSlot};
use crate::{errors, reader};

#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Ring(LineRing);

fn seconds(option: &str, given: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    Duration::try_from_secs_f64(given).map(Some).map_err(|_| {
        PyValueError::new_err(format!("{option} is {given}, expected None or 0 or more seconds"))
    })
}

#[pymethods]
impl Ring {
    #[new]
    #[pyo3(signature = (
        lines, line_bytes, policy, *, mirrors, seats, seat_limit, block_limit, max_line, checksums
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
        checksums: bool,
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
            .checksums(checksums)
            .block_limit(seconds("block_limit", block_limit)?)
            .fold_crlf(true)
            .rewrite(true)
            .wake_up(WakeUp::Pipe);
        if let Some(bytes) = max_line {
            options = options.max_line(bytes);
        }
        LineRing::new(options).map(Self).map_err(|error| match error {
            linering::CreateError::Option { .. } => PyValueError::new_err(error.to_string()),
            _ => PyOSError::new_err(error.to_string()),
        })
    }

    /// Reserves a seat, with a label, of which 24 bytes are kept.
    fn seat(&self, label: &str) -> PyResult<ReservedSeat> {
        self.0
            .seat_labelled(label)
            .map(|seat| ReservedSeat(Arc::new(SeatSlot::reserved(seat))))
            .map_err(errors::of_mirror)
    }

    /// Becomes the ring's reader.
    fn reader(&self) -> PyResult<Reader> {
        let longest = self.0.max_line();
        self.0.reader().map(|reader| Reader::new(reader, longest)).map_err(reader::taken)
    }

    /// Has every mirror's next write raise `Stopped`.
    fn stop(&self) {
        self.0.stop_all_mirrors();
    }

    /// How many seats are reserved, and how many mirrors are open.
    fn waiting_for(&self) -> (u64, u64) {
        let counts = self.0.counts();
        (counts.seats, counts.live)
    }
}
