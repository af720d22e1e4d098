//! What several modules need: forked children, gates between processes, threads that act on
//! command, rings whose laps overflow.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitStatus;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use linering::{LineRing, Options, Policy};

mod needs;
pub mod tracer;

/// A start position so that the laps of a ring of `lines` lines overflow after the first three.
pub fn below_overflow(lines: usize) -> u64 {
    ((1 << 39) << lines.next_power_of_two().trailing_zeros()) - 3
}

// ---------------------------------------------------------------------------------------- segments

/// All bytes of a segment.
pub fn bytes_of(ring: &LineRing) -> Vec<u8> {
    let file =
        File::from(ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor"));
    let mut bytes = vec![0; file.metadata().expect("a file").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("so many bytes");
    bytes
}

/// The seals of a ring without a name.
pub const RING_SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A memory file with these bytes and seals.
pub fn memory(bytes: &[u8], seals: i32) -> File {
    // SAFETY: a string with its end; the descriptor is new and this function's alone.
    let mut file = unsafe {
        let descriptor =
            libc::memfd_create(c"copy".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        assert!(descriptor >= 0, "{}", io::Error::last_os_error());
        File::from_raw_fd(descriptor)
    };
    file.write_all(bytes).expect("memory");
    // SAFETY: a plain system call on our descriptor.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
    file
}

// ---------------------------------------------------------------------------------------- children

/// A forked child.
#[derive(Debug)]
pub struct Child(pub libc::pid_t);

/// Seconds after which a child that hangs is ended by SIGALRM, so that its test fails and does not
/// hang too.
const PATIENCE: u32 = 600;

/// Forks a child that runs `work` and exits with the code it returns; 101 if it panics.
///
/// Other threads may hold any lock of this process at that moment, and the child would find it
/// locked: `work` must not print, nor use what other tests use.
pub fn fork(work: impl FnOnce() -> u8) -> Child {
    // SAFETY: the child runs `work`, which takes no lock that another thread could hold (the
    // allocator's is taken care of by the C library), and leaves by `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: a plain system call.
            unsafe { libc::alarm(PATIENCE) };
            let code = panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(101);
            exit(code)
        }
        process => Child(process),
    }
}

/// Says that the calling test was not run, for want of a right: `needs` begins with "to". Where
/// `LINERING_NEEDS_ALL` is set, that is a failure.
pub fn not_run(needs: &str) {
    needs::not_run(&format!("it needs the right {needs}"));
}

/// Ends this process at once, without a word.
pub fn exit(code: u8) -> ! {
    // SAFETY: runs nothing of this process's.
    unsafe { libc::_exit(code.into()) }
}

/// Ends this process by a signal that nothing can catch.
pub fn die() -> ! {
    // SAFETY: a plain system call.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("the signal cannot be caught")
}

impl Child {
    /// Waits until it has exited.
    pub fn status(self) -> ExitStatus {
        let mut status = 0;
        loop {
            // SAFETY: a child of ours, awaited once; the integer lives during the call.
            match unsafe { libc::waitpid(self.0, &raw mut status, 0) } {
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => panic!("cannot wait: {}", io::Error::last_os_error()),
                _ => return ExitStatus::from_raw(status),
            }
        }
    }

    /// Waits, and expects that everything it looked at was as it should be.
    #[track_caller]
    pub fn succeeds(self) {
        let status = self.status();
        assert_eq!(status.code(), Some(0), "the child's check of that number failed: {status}");
    }

    pub fn kill(&self) {
        // SAFETY: a child of ours that was not awaited.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }

    /// Kills it and waits until it is gone.
    pub fn end(self) {
        self.kill();
        self.status();
    }
}

/// A child's work that lasts until it is killed.
pub fn wait_for_the_end() -> u8 {
    loop {
        // SAFETY: a plain system call.
        unsafe { libc::pause() };
    }
}

/// From now on this process gets no further descriptor.
pub fn use_up_descriptors() {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives during the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// What one process or thread opens and another waits for.
#[derive(Debug)]
pub struct Gate {
    read: io::PipeReader,
    write: io::PipeWriter,
}

impl Gate {
    pub fn new() -> Self {
        let (read, write) = io::pipe().expect("a pipe");
        Self { read, write }
    }

    /// Both ends.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.read.as_raw_fd(), self.write.as_raw_fd()]
    }

    /// Lets one waiting process or thread pass.
    pub fn open(&self) {
        (&self.write).write_all(b"!").expect("a pipe with room");
    }

    /// Waits for an [`open`](Self::open).
    pub fn pass(&self) {
        (&self.read).read_exact(&mut [0]).expect("a pipe that this process has open");
    }
}

/// How many bytes a pipe has that were not read yet.
///
/// Its end says less: a child that another test forks has the pipe's other end open too.
pub fn bytes_in(pipe: &io::PipeReader) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the number lives during the call.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    bytes as usize
}

// ----------------------------------------------------------------------------------------- threads

/// A thread that does what it is told, one thing after another.
pub struct Actor {
    to: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    done: mpsc::Receiver<()>,
    handle: JoinHandle<()>,
}

impl Actor {
    pub fn new() -> Self {
        let (to, from) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, done) = mpsc::channel();
        let work = move || {
            for action in from {
                action();
                if tell.send(()).is_err() {
                    return;
                }
            }
        };
        Self { to, done, handle: thread::spawn(work) }
    }

    /// Runs `action` in that thread, and waits until it has.
    #[track_caller]
    pub fn run(&self, action: impl FnOnce() + Send + 'static) {
        self.to.send(Box::new(action)).expect("the thread has not panicked");
        self.done.recv().expect("the thread has not panicked");
    }

    /// Writes bytes into a shared value in that thread.
    #[track_caller]
    pub fn write<W>(&self, to: &Arc<W>, bytes: &[u8])
    where
        W: Send + Sync + 'static,
        for<'w> &'w W: Write,
    {
        let (to, bytes) = (Arc::clone(to), bytes.to_vec());
        self.run(move || (&*to).write_all(&bytes).expect("the write succeeds"));
    }

    /// Lets the thread end, and waits until it has.
    #[track_caller]
    pub fn end(self) {
        drop(self.to);
        self.handle.join().expect("the thread has not panicked");
    }
}

/// From now on this signal runs `handler`, and interrupts the system call of the thread that gets
/// it. For a process that no other test shares; `handler` may do what a signal handler may.
pub fn interrupt_with(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: a plain C struct, for which zeros are valid: no flags, so no call begins anew.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // SAFETY: a plain system call; the struct lives during it.
    let done = unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// A ring of small slots, whose laps overflow after its third line.
pub fn small(lines: usize, policy: Policy) -> Options {
    Options::new()
        .lines(lines)
        .line_bytes(64)
        .mirrors(16)
        .policy(policy)
        .start_position(below_overflow(lines))
}

/// Numbers of which nothing follows, the same each time.
pub fn random() -> impl FnMut() -> u64 {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    }
}

pub fn ring(options: Options) -> LineRing {
    LineRing::new(options).expect("a ring")
}
