//! `Line`: a `str` with what the ring knows of it behind the characters.
//!
//! It is not a class of PyO3's, which cannot derive from `str` in the limited interface, and not
//! one of Python's, whose objects the collector of garbage would visit over and over: a million
//! lines in a list would cost more to visit than to read. What is added is plain data, so nothing
//! has to be done when a line goes.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use linering::{Kind, Line, Lost, Stream};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{Borrowed, IntoPyObjectExt, ffi, intern};

use crate::text;

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
const DAMAGED: u8 = 32;

const STREAMS: [&str; 3] = ["stdout", "stderr", "log"];
const LEVELS: [Option<&str>; 6] =
    [None, Some("TRACE"), Some("DEBUG"), Some("INFO"), Some("WARNING"), Some("ERROR")];
const KINDS: [&str; 5] = ["line", "text", "warning", "error", "lost"];
/// Places of some among them.
const TEXT: u8 = 1;
const LOST: u8 = 4;

/// All labels that lines ever had, and where each stands.
#[derive(Debug)]
struct Labels {
    list: Vec<String>,
    places: BTreeMap<String, u32>,
}

static LABELS: Mutex<Labels> = Mutex::new(Labels { list: Vec::new(), places: BTreeMap::new() });

/// Where `Info` stands in a line: behind what a `str` has, whose size is the interpreter's
/// business.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

impl Info {
    /// What the ring knows of a line, but for its label, which needs the interpreter lock.
    pub fn of(line: &Line<'_>) -> Self {
        let mut info = Self {
            worker: line.writer_id.wrapping_add(1),
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
            (line.damaged, DAMAGED),
        ] {
            info.flags |= if is_so { flag } else { 0 };
        }
        if let Some(time) = line.time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
            info.time = time.as_secs_f64();
            info.flags |= HAS_TIME;
        }
        info
    }

    /// One of several lines that were written together; the last is what is not whole.
    pub fn of_packed(line: &Line<'_>, is_last: bool) -> Self {
        let mut info = Self { kind: 0, ..Self::of(line) };
        if !is_last {
            info.flags &= !(TRUNCATED | UNFINISHED | UNACKNOWLEDGED);
            info.missing = 0;
        }
        info
    }

    /// Of a note that says how many lines were lost.
    pub fn of_lost(lost: &Lost<'_>) -> Self {
        Self {
            worker: lost.writer_id.wrapping_add(1),
            kind: LOST,
            missing: lost.lines,
            ..Self::default()
        }
    }

    pub fn is_line(&self) -> bool {
        matches!(self.kind, 0 | LOST)
    }

    /// Whether a logger sent it.
    pub fn is_record(&self) -> bool {
        self.kind == TEXT && self.stream == Stream::Log as u8
    }

    /// With the interpreter lock held, so that no thread holds the lock of the labels when the
    /// process forks.
    pub fn set_label(&mut self, label: &str) {
        self.label = 0;
        if !label.is_empty() {
            let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
            let next = labels.list.len() as u32 + 1;
            self.label = labels.places.get(label).copied().unwrap_or(next);
            if self.label == next {
                labels.list.push(label.to_owned());
                labels.places.insert(label.to_owned(), next);
            }
        }
    }

    fn label(&self) -> String {
        let labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
        (self.label as usize)
            .checked_sub(1)
            .and_then(|index| labels.list.get(index).cloned())
            .unwrap_or_default()
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

fn info_of(line: *mut ffi::PyObject) -> *mut Info {
    line.cast::<u8>().wrapping_add(OFFSET.load(Relaxed)).cast()
}

/// The class, and what makes its objects.
struct Class {
    class: Py<PyType>,
    new: ffi::newfunc,
}

static CLASS: PyOnceLock<Class> = PyOnceLock::new();

/// A line of these bytes.
pub fn make<'py>(py: Python<'py>, bytes: &[u8], info: Info) -> PyResult<Bound<'py, PyAny>> {
    let Class { class, new } = CLASS.get_or_try_init(py, || class(py))?;
    let arguments = PyTuple::new(py, [text::to_str(py, bytes)?])?;
    // SAFETY: the class's own constructor, with what it takes: without the detour over the class's
    // call, which is as long as it. A new reference, or null with an exception.
    let made = unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            new(class.as_ptr().cast(), arguments.as_ptr(), std::ptr::null_mut()),
        )?
    };
    set_info(&made, info)?;
    Ok(made)
}

/// Stores what is known of a line that no other code has yet: a new one, or one that came out of a
/// pickle.
pub fn set_info(line: &Bound<'_, PyAny>, info: Info) -> PyResult<()> {
    check(line)?;
    // SAFETY: the class has the room for it there, aligned as its size makes it; the interpreter
    // lock is held.
    unsafe { info_of(line.as_ptr()).write(info) };
    Ok(())
}

fn info(line: &Bound<'_, PyAny>) -> PyResult<Info> {
    check(line)?;
    // SAFETY: an instance of the class, which has the room.
    Ok(unsafe { *info_of(line.as_ptr()) })
}

fn check(line: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = line.py();
    let Class { class, .. } = CLASS.get_or_try_init(py, || self::class(py))?;
    if line.is_instance(class.bind(py))? {
        return Ok(());
    }
    let found = line.get_type().name()?;
    Err(pyo3::exceptions::PyTypeError::new_err(format!("found a {found}, expected a Line")))
}

/// An attribute that can be read.
struct Attribute {
    name: &'static CStr,
    doc: &'static CStr,
    get: for<'py> fn(&Bound<'py, PyAny>, Info) -> PyResult<Bound<'py, PyAny>>,
}

macro_rules! attribute {
    ($name:literal, $doc:literal, |$line:pat_param, $info:ident| $value:expr) => {
        Attribute {
            name: $name,
            doc: $doc,
            get: |line, $info| {
                let $line = line;
                $value.into_bound_py_any(line.py())
            },
        }
    };
}

static ATTRIBUTES: [Attribute; 14] = [
    attribute!(c"worker", c"The number of its mirror, in the order of their making; `None` in a `LineBuffer`.",
        |_, info| info.worker.checked_sub(1)),
    attribute!(c"label", c"Its mirror's label, or \"\".", |_, info| info.label()),
    attribute!(c"stream", c"`\"stdout\"`, `\"stderr\"` or `\"log\"`.",
        |_, info| STREAMS.get(usize::from(info.stream))),
    attribute!(c"level",
        c"Of a logger's record `\"TRACE\"`, `\"DEBUG\"`, `\"INFO\"`, `\"WARNING\"` or `\"ERROR\"` (critical ones too); else `None`.",
        |_, info| LEVELS.get(usize::from(info.level)).copied().flatten()),
    attribute!(c"kind", c"`\"line\"`; `\"text\"`, `\"warning\"` and `\"error\"` for groups; `\"lost\"` for a note of lost lines.",
        |_, info| KINDS.get(usize::from(info.kind))),
    attribute!(c"truncated", c"Whether some of it is missing: it was too long, or a part of it was lost.",
        |_, info| info.is(TRUNCATED)),
    attribute!(c"unfinished", c"Whether it has no end: it goes on, or its writer died.",
        |_, info| info.is(UNFINISHED)),
    attribute!(c"unacknowledged", c"Whether its writer died before `write` returned.",
        |_, info| info.is(UNACKNOWLEDGED)),
    attribute!(c"damaged", c"Whether its checksum does not agree: something but its writer has changed it, in a ring that has checksums.",
        |_, info| info.is(DAMAGED)),
    attribute!(c"position", c"Its place in the one order of the ring. Positions grow, with gaps.",
        |_, info| info.is(HAS_POSITION).then_some(info.position)),
    attribute!(c"time", c"Seconds since 1970 at which its first byte was written, to a few milliseconds.",
        |_, info| info.is(HAS_TIME).then_some(info.time)),
    attribute!(c"missing", c"Bytes that are missing of a truncated line; of a note of lost lines, how many were lost.",
        |_, info| info.missing),
    attribute!(c"data", c"The bytes as they were written: those that are no UTF-8 are lone surrogates in the `str`.",
        |line, _info| line.call_method1(intern!(line.py(), "encode"), ("utf-8", "surrogateescape"))?),
    attribute!(c"record", c"The record of a logger that it is; `None` if it is none.", |_, _info| None::<bool>),
];

const DOC: &CStr = c"Line(text)\n--\n\n\
    One line, without its line end: a `str`, and where it came from.\n\n\
    A record of a logger is one too, with as many lines in it as it had. So is a note of lost lines (`kind` \"lost\") when\n\
    you drain: `-- worker 3: 2789 lines lost, ring full --`.";

/// What the interpreter gets of a result.
fn give(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> *mut ffi::PyObject {
    match result {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

unsafe extern "C" fn get(line: *mut ffi::PyObject, attribute: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls getters with its lock held, on instances of the class.
    let line = unsafe { Borrowed::from_ptr(Python::assume_attached(), line) };
    // SAFETY: it gives back what it was given with the getter: one of the attributes.
    let attribute = unsafe { &*attribute.cast::<Attribute>() };
    give(line.py(), info(&line).and_then(|info| (attribute.get)(&line, info)))
}

/// `__reduce__`.
unsafe extern "C" fn reduce(line: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as above.
    let line = unsafe { Borrowed::from_ptr(Python::assume_attached(), line) };
    give(line.py(), reduced(&line))
}

fn reduced<'py>(line: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let unpickle = line.py().import("linering._record")?.getattr("_line")?;
    (unpickle, (line.get_type(), line.str()?, state(line)?, line.py().None()))
        .into_bound_py_any(line.py())
}

/// What pickles carry of a line.
type State = (u32, String, (u8, u8, u8, u8), (u64, f64, u64));

/// What is known of a line, for a pickle.
#[pyfunction]
pub fn state<'py>(line: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let info = info(line)?;
    let bytes = (info.stream, info.level, info.kind, info.flags);
    (info.worker, info.label(), bytes, (info.position, info.time, info.missing))
        .into_pyobject(line.py())
}

/// Says what is known of a line that came out of a pickle.
#[pyfunction]
pub fn restore(line: &Bound<'_, PyAny>, state: State) -> PyResult<()> {
    let (worker, label, (stream, level, kind, flags), (position, time, missing)) = state;
    let mut info = Info { position, time, missing, worker, label: 0, stream, level, kind, flags };
    info.set_label(&label);
    set_info(line, info)
}

/// The class, for the module.
pub fn class_of(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    Ok(CLASS.get_or_try_init(py, || class(py))?.class.bind(py))
}

fn class(py: Python<'_>) -> PyResult<Class> {
    let base = py.get_type::<PyString>();
    let offset: usize = base.getattr("__basicsize__")?.extract()?;
    OFFSET.store(offset.next_multiple_of(align_of::<Info>()), Relaxed);
    let getters = ATTRIBUTES.iter().map(|attribute| ffi::PyGetSetDef {
        name: attribute.name.as_ptr(),
        get: Some(get),
        set: None,
        doc: attribute.doc.as_ptr(),
        closure: std::ptr::from_ref(attribute).cast_mut().cast(),
    });
    let getters: Vec<_> = getters.chain([ffi::PyGetSetDef::default()]).collect();
    let reduce = ffi::PyMethodDef {
        ml_name: c"__reduce__".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: reduce },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: std::ptr::null(),
    };
    let methods = vec![reduce, ffi::PyMethodDef::zeroed()];
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_getset, pfunc: getters.leak().as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_methods, pfunc: methods.leak().as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_doc, pfunc: DOC.as_ptr().cast_mut().cast() },
        ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"linering.Line".as_ptr(),
        basicsize: (OFFSET.load(Relaxed) + size_of::<Info>()) as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [base])?;
    // SAFETY: a whole specification, of which the interpreter keeps the getters and methods, which
    // live for ever, and copies the rest. A new reference, or null with an exception.
    let class = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&mut spec, bases.as_ptr()))?
    };
    // SAFETY: a class, whose constructor is that of `str`: it is never null.
    let new = unsafe {
        std::mem::transmute::<*mut c_void, ffi::newfunc>(ffi::PyType_GetSlot(
            class.as_ptr().cast(),
            ffi::Py_tp_new,
        ))
    };
    Ok(Class { class: class.cast_into::<PyType>()?.unbind(), new })
}
