//! What a file system does with the system calls that a ring is made of, in words.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::processes::{await_stop, stop};
use crate::common::{fork, wait_for_the_end};

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// What the file system does with the system calls that a ring is made of, in words for a table.
pub(super) fn facts_of(place: &Path, below: Option<&Path>) -> String {
    let path = place.join("facts");
    let file = opened(&path, true);
    // SAFETY: a plain system call on an open descriptor.
    let fallocate = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 1 << 16) };
    let allocated = file.metadata().is_ok_and(|data| data.blocks() * 512 >= 1 << 16);
    let shared = mapped(&file);
    let owner = fork(|| {
        let other = opened(&path, false);
        let lock = opened(&path, false);
        if !locked(&lock) {
            return 1;
        }
        mapped(&other)[0].store(7, SeqCst);
        let kept = mapped(&lock);
        drop((file, other, lock));
        // SAFETY: closes what is this process's own.
        unsafe { libc::close_range(3, u32::MAX, 0) };
        stop();
        kept[1].store(1, SeqCst);
        wait_for_the_end()
    });
    let Ok(()) = await_stop(&owner) else { return "a lock could not be taken".to_owned() };
    let kept = !locked(&opened(&path, false));
    let coherent = shared[0].load(SeqCst) == 7;
    let apart = below.map(|below| {
        let from_below = opened(&below.join("facts"), false);
        let word = mapped(&from_below)[0].load(SeqCst);
        format!(
            "; from below: same lock {}, same memory {}",
            yes(!locked(&from_below)),
            yes(word == 7)
        )
    });
    owner.end();
    let freed = locked(&opened(&path, false));
    let _ = fs::remove_file(&path);
    format!(
        "lock kept by a mapping alone: {}; lock free at once after a kill: {}; one memory for all: {}; \
        allocated: {} (posix_fallocate {fallocate}){}",
        yes(kept),
        yes(freed),
        yes(coherent),
        yes(allocated),
        apart.unwrap_or_default(),
    )
}

fn opened(path: &Path, is_new: bool) -> File {
    OpenOptions::new().read(true).write(true).create_new(is_new).open(path).expect("a file")
}

/// Takes the lock of the file's first byte for this description; `false` if another has it.
fn locked(file: &File) -> bool {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call on an open
    // descriptor.
    unsafe {
        let mut lock: libc::flock = core::mem::zeroed();
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_len = 1;
        libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) == 0
    }
}

/// The first words of a file, in memory that all share who map it.
fn mapped(file: &File) -> &'static [AtomicU64; 8] {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice, which stays, of a file that is
    // longer and that is not cut short; only atomics are made of it.
    unsafe {
        let page = libc::mmap(core::ptr::null_mut(), 4096, access, flags, file.as_raw_fd(), 0);
        assert!(page != libc::MAP_FAILED, "it can be mapped");
        &*page.cast()
    }
}
