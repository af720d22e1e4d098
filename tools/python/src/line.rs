//! `Text`, of which Python's `Line` is made: a `str` with what the ring knows of it behind the characters.
//!
//! It is not a class of PyO3's, which cannot derive from `str` in the limited interface, and not one of Python's with slots,
//! whose objects the collector of garbage would visit over and over: a million lines in a list would cost more to visit than to
//! read. What is added is plain data, so nothing has to be done when a line goes.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use linering::{Kind, Line, Lost, Stream};
use pyo3::IntoPyObjectExt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

/// What a line has besides its characters. All zero in one of a user's own making.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    pub position: u64,
    /// Seconds since 1970.
    pub time: f64,
    pub missing: u64,
    /// Plus one; 0 for none.
    worker: u32,
    /// In the list of labels; 0 for none.
    label: u32,
    pub stream: u8,
    pub level: u8,
    pub kind: u8,
    pub flags: u8,
}

const TRUNCATED: u8 = 1;
const UNFINISHED: u8 = 2;
const UNACKNOWLEDGED: u8 = 4;
const HAS_POSITION: u8 = 8;
const HAS_TIME: u8 = 16;

const STREAMS: [&str; 3] = ["stdout", "stderr", "log"];
const LEVELS: [Option<&str>; 6] =
    [None, Some("TRACE"), Some("DEBUG"), Some("INFO"), Some("WARNING"), Some("ERROR")];
const KINDS: [&str; 5] = ["line", "text", "warning", "error", "lost"];
/// Places of some among them.
const TEXT: u8 = 1;
const LOST: u8 = 4;

/// All labels that lines ever had, of which there are few.
static LABELS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where `Info` stands in a line: behind what a `str` has, whose size is the interpreter's business.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

impl Info {
    /// What the ring knows of a line, but for its label, which needs the interpreter lock.
    pub fn of(line: &Line<'_>) -> Self {
        let mut info = Self {
            worker: line.worker.wrapping_add(1),
            stream: line.stream as u8,
            level: line.level as u8,
            kind: match line.kind {
                Kind::Line => 0,
                Kind::Warning => 2,
                Kind::Error => 3,
                _ => TEXT,
            },
            position: line.position,
            missing: line.missing,
            flags: HAS_POSITION,
            ..Self::default()
        };
        for (is_so, flag) in [
            (line.truncated, TRUNCATED),
            (line.unfinished, UNFINISHED),
            (line.unacknowledged, UNACKNOWLEDGED),
        ] {
            info.flags |= if is_so { flag } else { 0 };
        }
        if let Some(time) = line.time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
            info.time = time.as_secs_f64();
            info.flags |= HAS_TIME;
        }
        info
    }

    /// Of a note that says how many lines were lost.
    pub fn of_lost(lost: &Lost<'_>) -> Self {
        Self { worker: lost.worker.wrapping_add(1), kind: LOST, missing: lost.lines, ..Self::default() }
    }

    pub fn is_line(&self) -> bool {
        matches!(self.kind, 0 | LOST)
    }

    /// Whether a logger sent it.
    pub fn is_record(&self) -> bool {
        self.kind == TEXT && self.stream == Stream::Log as u8
    }

    /// With the interpreter lock held, so that nobody has the labels locked when the process forks.
    pub fn set_label(&mut self, label: &str) {
        self.label = 0;
        if !label.is_empty() {
            let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
            let known = labels.iter().position(|known| known == label);
            let index = known.unwrap_or_else(|| {
                labels.push(label.to_owned());
                labels.len() - 1
            });
            self.label = index as u32 + 1;
        }
    }

    fn label(&self) -> String {
        let labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
        (self.label as usize).checked_sub(1).and_then(|index| labels.get(index).cloned()).unwrap_or_default()
    }

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A line's bytes as Python has them: a group's last line has no end either.
pub fn text_of<'l>(line: &'l Line<'_>) -> &'l [u8] {
    match line.kind {
        Kind::Line => &line.bytes,
        _ => line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes),
    }
}

fn place(line: *mut ffi::PyObject) -> *mut Info {
    line.cast::<u8>().wrapping_add(OFFSET.load(Relaxed)).cast()
}

/// Says what is known of a line. `line` is of the class `Text`, and nobody else has it yet.
///
/// # Safety
///
/// `line` is an instance of `Text`.
pub unsafe fn tell(line: &Bound<'_, PyAny>, info: Info) {
    // SAFETY: the class has the room for it there, aligned as its size makes it; the interpreter lock is held.
    unsafe { place(line.as_ptr()).write(info) };
}

/// Numbers of the attributes, in the order of their names below.
unsafe extern "C" fn get(line: *mut ffi::PyObject, which: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls getters with its lock held, on instances of the class, which have the room.
    let (py, info) = unsafe { (Python::assume_attached(), *place(line)) };
    match value(py, &info, which as usize) {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

const NAMES: [&std::ffi::CStr; 11] = [
    c"worker",
    c"label",
    c"stream",
    c"level",
    c"kind",
    c"truncated",
    c"unfinished",
    c"unacknowledged",
    c"position",
    c"time",
    c"missing",
];

fn value<'py>(py: Python<'py>, info: &Info, which: usize) -> PyResult<Bound<'py, PyAny>> {
    match which {
        0 => info.worker.checked_sub(1).into_bound_py_any(py),
        1 => info.label().into_bound_py_any(py),
        2 => STREAMS.get(usize::from(info.stream)).into_bound_py_any(py),
        3 => LEVELS.get(usize::from(info.level)).copied().flatten().into_bound_py_any(py),
        4 => KINDS.get(usize::from(info.kind)).into_bound_py_any(py),
        5 => info.is(TRUNCATED).into_bound_py_any(py),
        6 => info.is(UNFINISHED).into_bound_py_any(py),
        7 => info.is(UNACKNOWLEDGED).into_bound_py_any(py),
        8 => info.is(HAS_POSITION).then_some(info.position).into_bound_py_any(py),
        9 => info.is(HAS_TIME).then_some(info.time).into_bound_py_any(py),
        _ => info.missing.into_bound_py_any(py),
    }
}

/// What pickles carry of a line.
type State = (u32, String, (u8, u8, u8, u8), (u64, f64, u64));

/// What is known of a line, for a pickle.
#[pyfunction]
pub fn state<'py>(line: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    check(line)?;
    // SAFETY: an instance of the class, which has the room.
    let info = unsafe { *place(line.as_ptr()) };
    let bytes = (info.stream, info.level, info.kind, info.flags);
    (info.worker, info.label(), bytes, (info.position, info.time, info.missing)).into_pyobject(line.py())
}

/// Says what is known of a line that came out of a pickle.
#[pyfunction]
pub fn restore(line: &Bound<'_, PyAny>, state: State) -> PyResult<()> {
    check(line)?;
    let (worker, label, (stream, level, kind, flags), (position, time, missing)) = state;
    let mut info = Info { position, time, missing, worker, label: 0, stream, level, kind, flags };
    info.set_label(&label);
    // SAFETY: an instance of the class.
    unsafe { tell(line, info) };
    Ok(())
}

fn check(line: &Bound<'_, PyAny>) -> PyResult<()> {
    let class = line.py().import("linering._linering")?.getattr("Text")?;
    if line.is_instance(&class)? {
        return Ok(());
    }
    let found = line.get_type().name()?;
    Err(pyo3::exceptions::PyTypeError::new_err(format!("found a {found}, expected a Line")))
}

/// Makes the class. Once, before the first line.
pub fn class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let base = py.get_type::<PyString>();
    let offset: usize = base.getattr("__basicsize__")?.extract()?;
    OFFSET.store(offset.next_multiple_of(align_of::<Info>()), Relaxed);
    let mut getters: Vec<ffi::PyGetSetDef> = NAMES
        .iter()
        .enumerate()
        .map(|(index, name)| ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get),
            set: None,
            doc: std::ptr::null(),
            closure: index as *mut c_void,
        })
        .collect();
    getters.push(ffi::PyGetSetDef::default());
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_getset, pfunc: getters.leak().as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"linering._linering.Text".as_ptr(),
        basicsize: (OFFSET.load(Relaxed) + size_of::<Info>()) as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [base])?;
    // SAFETY: a whole specification, of which the interpreter keeps the getters, which live for ever, and copies the rest.
    let class = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&mut spec, bases.as_ptr()))?
    };
    Ok(class.cast_into()?)
}
