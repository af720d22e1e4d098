//! The one place that names atomics: core's, or loom's when the models are checked.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Orders a SeqCst store before a SeqCst load of another word for loom, which treats SeqCst
/// accesses as acquire and release only. Real machines order them already, so there it is nothing.
#[inline(always)]
pub(crate) fn seq_cst_for_loom() {
    #[cfg(loom)]
    // ORD loom:A, SeqCst fence; pairs with sleep:A and wake:A; in the models alone.
    fence(Ordering::SeqCst);
}
