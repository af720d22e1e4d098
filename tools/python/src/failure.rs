//! Why this thread's last write was given up: what the hook of its wait says to what turns the
//! library's error into an exception.

use std::cell::RefCell;

use pyo3::PyErr;

thread_local! {
    static FAILURE: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

pub fn set(error: PyErr) {
    FAILURE.with(|failure| *failure.borrow_mut() = Some(error));
}

pub fn is_set() -> bool {
    FAILURE.with(|failure| failure.borrow().is_some())
}

pub fn take() -> Option<PyErr> {
    FAILURE.with(|failure| failure.borrow_mut().take())
}
