//! A terminal for tests: what a program is shown there, and what is typed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

/// A terminal, held by its far side.
#[derive(Debug)]
pub struct Terminal {
    far: File,
    name: String,
    /// Open for as long as this is.
    near: File,
}

impl Terminal {
    /// One that shows what is written to it as it is, and echoes nothing.
    pub fn new() -> Self {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&far).and_then(|()| unlockpt(&far)).expect("it is ours");
        let name = ptsname(&far, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let near = open(&name);
        let mut modes = tcgetattr(&near).expect("a terminal");
        modes.output_modes -= OutputModes::OPOST;
        modes.local_modes -= LocalModes::ECHO;
        tcsetattr(&near, OptionalActions::Now, &modes).expect("a terminal");
        Self { far: far.into(), name, near }
    }

    /// The near side, for a program.
    pub fn open(&self) -> File {
        open(&self.name)
    }

    /// Has the program lead a session whose terminal this is.
    pub fn controls(&self, command: &mut Command) {
        command.stdin(self.open());
        let take = || {
            // It may lead one already.
            let _ = rustix::process::setsid();
            Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
        };
        // SAFETY: plain system calls, which a forked child may make.
        unsafe { command.pre_exec(take) };
    }

    /// Switches modes on or off.
    pub fn set_modes(&self, which: LocalModes, on: bool) {
        let mut modes = tcgetattr(&self.near).expect("a terminal");
        modes.local_modes.set(which, on);
        tcsetattr(&self.near, OptionalActions::Now, &modes).expect("a terminal");
    }

    pub fn modes(&self) -> LocalModes {
        tcgetattr(&self.near).expect("a terminal").local_modes
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.far, size).expect("a terminal");
    }

    /// What is typed.
    pub fn write(&self, bytes: &[u8]) {
        (&self.far).write_all(bytes).expect("room");
    }

    /// Reads until what is shown ends with this: all that was shown.
    pub fn read_to(&self, end: &str) -> String {
        let mut shown = Vec::new();
        while !shown.ends_with(end.as_bytes()) {
            let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
            let mut polled = [PollFd::new(&self.far, PollFlags::IN)];
            let polled = poll(&mut polled, Some(&limit)).expect("a terminal");
            assert_eq!(polled, 1, "{:?}, not {end:?}", String::from_utf8_lossy(&shown));
            let mut bytes = [0];
            assert_eq!((&self.far).read(&mut bytes).expect("a terminal"), 1);
            shown.extend(bytes);
        }
        String::from_utf8(shown).expect("UTF-8")
    }

    /// Whether something is shown that was not read; waits a little for that.
    pub fn has_some(&self) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        poll(&mut [PollFd::new(&self.far, PollFlags::IN)], Some(&limit)) == Ok(1)
    }

    /// Waits for something to be shown, and reads it.
    pub fn read_some(&self) -> Vec<u8> {
        let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
        let polled = poll(&mut [PollFd::new(&self.far, PollFlags::IN)], Some(&limit));
        assert_eq!(polled, Ok(1), "a minute without anything");
        let mut bytes = [0; 4096];
        let length = (&self.far).read(&mut bytes).expect("a terminal");
        bytes[..length].to_vec()
    }

    /// What is shown now and was not read.
    pub fn rest(&self) -> String {
        let flags = fcntl_getfl(&self.far).expect("a terminal");
        fcntl_setfl(&self.far, flags | OFlags::NONBLOCK).expect("a terminal");
        let mut shown = Vec::new();
        let _ = (&self.far).read_to_end(&mut shown);
        fcntl_setfl(&self.far, flags).expect("a terminal");
        String::from_utf8_lossy(&shown).into_owned()
    }
}

fn open(name: &str) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).expect("a terminal")
}
