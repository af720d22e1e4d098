//! What is taken from a process, and how.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Takes something from this process; the system's refusal, where that is not permitted.
type Strip = fn(&Path) -> io::Result<()>;

pub(super) struct Stripped {
    pub(super) name: &'static str,
    pub(super) strip: Strip,
    /// The ring is a file of this user's alone.
    pub(super) in_file: bool,
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_string(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no zeros")
}

/// Makes an empty folder all that this process finds by paths.
fn no_paths(empty: &Path) -> io::Result<()> {
    // SAFETY: plain system calls, with strings that live during them.
    unsafe {
        checked(libc::chroot(c_string(empty).as_ptr()))?;
        checked(libc::chdir(c"/".as_ptr()))
    }
}

/// Puts an empty folder over /proc, for this process alone. (To unmount it would need that `/` is
/// where something is mounted, which it is not after `chroot`.)
fn no_proc(_: &Path) -> io::Result<()> {
    let (none, proc) = (core::ptr::null(), c"/proc".as_ptr());
    // SAFETY: plain system calls, with strings that have their ends, and null where nothing is
    // needed.
    unsafe {
        checked(libc::unshare(libc::CLONE_NEWNS))?;
        checked(libc::mount(c"none".as_ptr(), proc, none, libc::MS_PRIVATE, none.cast()))?;
        checked(libc::mount(c"none".as_ptr(), proc, c"tmpfs".as_ptr(), 0, none.cast()))
    }
}

fn no_descriptors(_: &Path) -> io::Result<()> {
    // SAFETY: closes what is this process's own; its standard streams stay.
    checked(unsafe { libc::close_range(3, u32::MAX, 0) })
}

fn other_user(_: &Path) -> io::Result<()> {
    // SAFETY: plain system calls.
    unsafe {
        checked(libc::setgroups(0, core::ptr::null()))?;
        checked(libc::setresgid(65534, 65534, 65534))?;
        checked(libc::setresuid(65534, 65534, 65534))
    }
}

fn limit(what: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the struct lives during the call.
    checked(unsafe { libc::setrlimit(what, &raw const limit) })
}

/// No further memory but what the allocator has.
fn no_memory(_: &Path) -> io::Result<()> {
    // The allocator keeps what is given back to it: what a process needs for itself is not tried
    // here.
    drop(std::hint::black_box(vec![1_u8; 100 << 10]));
    limit(libc::RLIMIT_AS, 0)
}

/// What every process that does anything calls.
const FEW_CALLS: [libc::c_long; 8] = [
    libc::SYS_write,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
];

/// From now on these system calls are permitted, and what becomes of all others is `refusal`.
pub(super) fn only(calls: &[libc::c_long], refusal: u32) -> io::Result<()> {
    let statement =
        |code: u32, jump_true, k| libc::sock_filter { code: code as u16, jt: jump_true, jf: 0, k };
    // The number of the call is the first word of what the filter sees.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let over_the_rest = (calls.len() - index) as u8;
        filter.push(statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            over_the_rest,
            *call as u32,
        ));
    }
    for answer in [refusal, libc::SECCOMP_RET_ALLOW] {
        filter.push(statement(libc::BPF_RET | libc::BPF_K, 0, answer));
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live during the call.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
    }
}

fn few_calls(_: &Path) -> io::Result<()> {
    only(&FEW_CALLS, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32)
}

pub(super) const fn stripped(name: &'static str, strip: Strip) -> Stripped {
    Stripped { name, strip, in_file: false }
}

pub(super) const ALL: [Stripped; 16] = [
    stripped("a process of which nothing was taken", |_| Ok(())),
    stripped("a process in an empty root", no_paths),
    stripped("a process without /proc", no_proc),
    stripped("a process without descriptors", no_descriptors),
    stripped("a process without descriptors and paths", |empty| {
        no_descriptors(empty).and_then(|()| no_paths(empty))
    }),
    stripped("a process without free descriptors", |_| limit(libc::RLIMIT_NOFILE, 0)),
    stripped("a process of another user", other_user),
    Stripped {
        name: "a process of another user than the file's",
        strip: other_user,
        in_file: true,
    },
    Stripped { name: "a process in an empty root, of a file", strip: no_paths, in_file: true },
    stripped("a process that may write no file", |_| limit(libc::RLIMIT_FSIZE, 0)),
    stripped("a process that may write short files", |_| limit(libc::RLIMIT_FSIZE, 1 << 12)),
    stripped("a process without further memory", no_memory),
    stripped("a process that may make no other", |empty| {
        limit(libc::RLIMIT_NPROC, 0).and_then(|()| other_user(empty))
    }),
    stripped("a process that may lock no memory", |_| limit(libc::RLIMIT_MEMLOCK, 0)),
    stripped("a process with hardly any stack or core", |_| {
        limit(libc::RLIMIT_CORE, 0).and_then(|()| limit(libc::RLIMIT_STACK, 64 << 10))
    }),
    stripped("a process with few system calls", few_calls),
];
