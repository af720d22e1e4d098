//! The extension module of the Python package `linering`: what has to be fast, or to know the ring. The rest, which is what
//! users see, is in `python/linering`.

mod buffer;
mod capture;
mod claim;
mod errors;
mod fast;
mod fork;
mod items;
mod mirror;
mod reader;
mod ring;
mod sleep;
mod text;
mod way;

use pyo3::prelude::*;

/// Declares that it needs the interpreter lock: a free-threaded interpreter refuses the abi3 file before it comes to this.
#[pymodule(gil_used = true)]
mod _linering {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::buffer::ThreadBuffer;
    #[pymodule_export]
    use crate::capture::Capture;
    #[pymodule_export]
    use crate::errors::Stopped;
    #[pymodule_export]
    use crate::mirror::{Kept, Mirror};
    #[pymodule_export]
    use crate::reader::{Lines, Reader};
    #[pymodule_export]
    use crate::ring::Ring;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::fork::watch();
        linering::around_writers_sleeps(crate::sleep::around);
        crate::fast::add::<Mirror>(module.py())?;
        crate::fast::add::<ThreadBuffer>(module.py())
    }
}
