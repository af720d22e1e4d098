//! Exclusive use of a value, under the interpreter lock: a lock that is only ever tried, for the
//! price of a load and a store.
//!
//! A thread that locks the cell holds the interpreter lock at that moment, so two threads can never
//! lock it at once. It may release the interpreter lock while it uses the value: other threads find
//! the cell locked then.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::Python;

#[derive(Default)]
pub struct GilCell<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a `GilGuard` alone, of which there is one at a time: the
// interpreter lock, of which the caller has a proof, orders all locking and all unlocking. (The
// package refuses free-threaded interpreters.)
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    /// The value, unless it is in use.
    #[inline]
    pub fn try_lock<'c>(&'c self, _proof: Python<'_>) -> Option<GilGuard<'c, T>> {
        if self.locked.load(Relaxed) {
            return None;
        }
        self.locked.store(true, Relaxed);
        Some(GilGuard(self))
    }
}

impl<T> fmt::Debug for GilCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GilCell").field("locked", &self.locked).finish_non_exhaustive()
    }
}

/// A value that is in use; given back when dropped, with the interpreter lock held.
#[derive(Debug)]
pub struct GilGuard<'c, T>(&'c GilCell<T>);

impl<T> Deref for GilGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the only guard of this cell.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for GilGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the only guard of this cell.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for GilGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.locked.store(false, Relaxed);
    }
}
