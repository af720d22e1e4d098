//! Which thread this is.

thread_local! {
    static HERE: u8 = const { 0 };
}

/// Names this thread among those of its process that live, also while it ends. No system call. A
/// forked child's has its parent's name.
#[inline]
pub(crate) fn this_thread() -> usize {
    HERE.with(|here| core::ptr::from_ref(here).addr())
}
