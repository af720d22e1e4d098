//! Between Python's `str` and the ring's bytes: UTF-8, and `surrogateescape` for what is not.

use std::ffi::c_char;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

type AsUtf8 = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::Py_ssize_t) -> *const c_char;

/// `PyUnicode_AsUTF8AndSize`, which gives a `str`'s bytes without a copy. CPython has had it since
/// 3.3, but the limited interface only since 3.10: so it is looked up.
fn as_utf8() -> Option<AsUtf8> {
    static FOUND: OnceLock<Option<AsUtf8>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: a plain look-up of a name that ends with a NUL.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PyUnicode_AsUTF8AndSize".as_ptr()) };
        // SAFETY: that function's signature, in every version that has it.
        (!found.is_null())
            .then(|| unsafe { std::mem::transmute::<*mut libc::c_void, AsUtf8>(found) })
    })
}

/// Calls `use_bytes` with the text's bytes: UTF-8, with the bytes that its lone surrogates stand
/// for; a surrogate that stands for no byte becomes `\udXXX`, as on Python's standard error, since
/// a print should not fail for it.
#[inline]
pub fn with_bytes<R>(
    text: &Bound<'_, PyString>,
    use_bytes: impl FnOnce(&[u8]) -> R,
) -> PyResult<R> {
    let Some(as_utf8) = as_utf8() else { return with_copy(text, use_bytes) };
    let mut size = 0;
    // SAFETY: a `str`, and we have the interpreter lock.
    let data = unsafe { as_utf8(text.as_ptr(), &mut size) };
    if data.is_null() {
        drop(PyErr::take(text.py()));
        return with_copy(text, use_bytes);
    }
    // SAFETY: so many bytes, which belong to the text and never change.
    Ok(use_bytes(unsafe { std::slice::from_raw_parts(data.cast(), size as usize) }))
}

#[cold]
fn with_copy<R>(text: &Bound<'_, PyString>, use_bytes: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    let encode = |errors| text.call_method1("encode", ("utf-8", errors));
    let bytes = encode("surrogateescape").or_else(|_| encode("backslashreplace"))?;
    Ok(use_bytes(bytes.cast::<PyBytes>()?.as_bytes()))
}

/// The bytes as a `str`.
pub fn to_str<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: so many bytes, and a name that ends with a NUL; the result is a new reference or null
    // with an exception.
    let text = unsafe {
        let size = bytes.len() as ffi::Py_ssize_t;
        let text =
            ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), size, c"surrogateescape".as_ptr());
        Bound::from_owned_ptr_or_err(py, text)?
    };
    Ok(text.cast_into()?)
}
