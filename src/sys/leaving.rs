//! What is to be done when a process leaves without running destructors.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{fork, process};

/// What has an end of its own.
pub(crate) trait Leaves: Send + Sync {
    /// Ends it, if it is this process's. Waits for no thread.
    fn leave(&self);
}

/// Locked for moments, and never while this process forks: a child would find it locked for ever.
static OPEN: Mutex<Vec<Weak<dyn Leaves>>> = Mutex::new(Vec::new());

/// Has it end with the process, if it is not dropped before: a static logger's.
pub(crate) fn add<T: Leaves + 'static>(it: &Arc<T>) {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // Not by a `Once`, as for the gate of `fork`. Run twice, it ends what is left.
    if !INSTALLED.load(Relaxed) {
        INSTALLED.store(process::at_exit(end_at_exit), Relaxed);
    }
    let it: Weak<T> = Arc::downgrade(it);
    let _gate = fork::no_fork();
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|it| it.strong_count() > 0);
    open.push(it);
}

extern "C" fn end_at_exit() {
    end_all();
}

/// Ends everything that was added, and is still there.
pub(crate) fn end_all() {
    let open = {
        let _gate = fork::no_fork();
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    open.iter().filter_map(Weak::upgrade).for_each(|it| it.leave());
}
