//! Exclusive use of a value, under the interpreter lock: a lock that is only ever tried, for the
//! price of a load and a store.
//!
//! Whoever claims holds the interpreter lock at that moment, so two can never claim at once; who
//! claimed may release the interpreter lock while he uses the value, and others see then that it is
//! claimed.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::Python;

#[derive(Default)]
pub struct Claim<T> {
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a `Claimed` alone, of which there is one at a time: the
// interpreter lock, of which the caller has a proof, orders all claims and all releases. (The
// package refuses free-threaded interpreters.)
unsafe impl<T: Send> Sync for Claim<T> {}

impl<T> Claim<T> {
    /// The value, unless somebody has it.
    #[inline]
    pub fn claim<'c>(&'c self, _proof: Python<'_>) -> Option<Claimed<'c, T>> {
        if self.claimed.load(Relaxed) {
            return None;
        }
        self.claimed.store(true, Relaxed);
        Some(Claimed(self))
    }
}

impl<T> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

/// A value that was claimed; given back when dropped, with the interpreter lock held.
#[derive(Debug)]
pub struct Claimed<'c, T>(&'c Claim<T>);

impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the only one.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the only one.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Claimed<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.claimed.store(false, Relaxed);
    }
}
