//! `linering top`: who writes into a ring, and how fast, as it goes on.

mod draw;
mod keys;
mod sample;
mod screen;
mod state;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use linering::turn_sigbus_into_errors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag;
use signal_hook::low_level::raise;

use crate::cat::OneRing;
use crate::failure::{Failure, INTERRUPTED};
use crate::value_parser::duration;

use keys::keys;
use sample::Sampler;
use screen::Screen;
use state::{Asked, State};

/// Show who writes into a ring and how fast, on a terminal, as it goes on
///
/// Changes nothing in the ring and keeps no writer waiting. It samples: it reads the ring's counts
/// each quarter of a second, and the last thousand lines that are there then. So lines a second
/// are as the ring counts them, bytes a second an estimate from the lines that were seen, and the
/// last line of a writer the last that was seen.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ring: OneRing,

    /// How often it looks: 250ms, 1s; at least 50ms
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = period)]
    every: Duration,
}

const EXAMPLES: &str = "\
Examples:
  linering top builds
  linering top --every 1s /var/log/rings/web

Keys: q quits, h shows the others.

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage, 130 after a signal or Ctrl-C.";

fn period(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(50)..=Duration::from_secs(3600);
    let period = duration(text).ok().filter(|period| bounds.contains(period));
    period.ok_or_else(|| "expected a time from 50ms to 1h".to_owned())
}

/// The signals that are heeded, and whether each has come.
#[derive(Debug)]
struct Signals(Vec<(i32, Arc<AtomicUsize>)>);

impl Signals {
    fn watch() -> io::Result<Self> {
        let watched = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH];
        let mut signals = Vec::new();
        // The second that asks for an end ends it at once: the first may wait for a terminal that
        // takes nothing more.
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        for signal in watched {
            let came = Arc::new(AtomicUsize::new(0));
            flag::register_usize(signal, Arc::clone(&came), 1)?;
            signals.push((signal, came));
        }
        Ok(Self(signals))
    }

    fn take(&self) -> Vec<i32> {
        let came = self.0.iter().filter(|(_, came)| came.swap(0, SeqCst) != 0);
        came.map(|(signal, _)| *signal).collect()
    }
}

/// Shows it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot read {}: {error}", args.ring))
    };
    let cannot_show = |error: io::Error| Failure::of_write("the terminal", &error);
    for (is_terminal, name) in
        [(io::stdin().is_terminal(), "input"), (io::stdout().is_terminal(), "output")]
    {
        if !is_terminal {
            return Err(Failure::Failed(format!(
                "found a standard {name} that is no terminal, expected one: linering stat --watch \
                 prints the same numbers anywhere"
            )));
        }
    }
    turn_sigbus_into_errors().map_err(|error| failed(&error))?;
    let observer = args.ring.observer().map_err(|error| failed(&error))?;
    let mut sampler = Sampler::new(observer);
    let mut state = State::new(args.ring.name.clone(), args.every.as_secs_f64());
    let signals = Signals::watch()
        .map_err(|error| Failure::Failed(format!("cannot watch for signals: {error}")))?;
    let mut screen = Screen::take().map_err(cannot_show)?;
    let mut due = Instant::now();
    loop {
        if due <= Instant::now() {
            if !state.is_paused {
                state.add(sampler.sample().map_err(|error| failed(&error))?);
            }
            due = Instant::now() + args.every;
        }
        screen.draw(&mut state).map_err(cannot_show)?;
        let mut asked = Vec::new();
        match typed(due.saturating_duration_since(Instant::now())) {
            Some(bytes) => asked.extend(keys(&bytes).into_iter().map(|key| state.key(key))),
            // The terminal has gone.
            None => asked.push(Asked::Interrupt),
        }
        asked.extend(signals.take().into_iter().map(|signal| match signal {
            SIGTSTP => Asked::Suspend,
            SIGCONT => Asked::Redraw,
            SIGWINCH => Asked::Nothing,
            _ => Asked::Interrupt,
        }));
        for asked in asked {
            match asked {
                Asked::Nothing => {}
                Asked::Quit => return Ok(ExitCode::SUCCESS),
                Asked::Interrupt => return Ok(ExitCode::from(INTERRUPTED)),
                Asked::Redraw => screen.retake().map_err(cannot_show)?,
                Asked::Suspend => {
                    let stop = || raise(libc::SIGSTOP).unwrap_or_default();
                    screen.without(stop).map_err(cannot_show)?;
                    // That it goes on is known.
                    signals.take();
                }
            }
        }
    }
}

/// What is typed within this time, if anything is; `None` if nothing can be any more.
fn typed(within: Duration) -> Option<Vec<u8>> {
    let input = rustix::stdio::stdin();
    let limit =
        Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
    let mut asked = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut asked, Some(&limit)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Some(Vec::new()),
        Ok(_) => {}
        Err(_) => return None,
    }
    let mut bytes = [0; 256];
    match rustix::io::read(input, &mut bytes) {
        Ok(0) => None,
        Ok(length) => Some(bytes[..length].to_vec()),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Some(Vec::new()),
        Err(_) => None,
    }
}
