//! A server whose workers are forked beforehand, and replaced when they die; all log into one file.
//!
//! `cargo run --example prefork`

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use linering::{Level, LineProcMirror, LineRing, LogDrain, Options, WorkerPool};
use rustix::process::{Signal, getpid, kill_process};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ring = LineRing::new(Options::new())?;
    let drain = LogDrain::new(ring.reader()?).to(io::stdout()).spawn()?;
    let log = ring.writer()?;
    let serve = |worker: usize, _: &mut LineProcMirror| -> io::Result<()> {
        loop {
            let (mut stream, mut request) = (listener.accept()?.0, String::new());
            stream.read_to_string(&mut request)?;
            log.record_fmt(Level::Info, format_args!("worker {worker} serves {request}"))?;
            if request == "/crash" {
                std::process::abort();
            }
        }
    };
    let mut pool = WorkerPool::fork(&ring, 2, serve)?;
    pool.end_on_interrupt()?; // Ctrl-C and SIGTERM end the workers, and this process goes on
    let client = std::thread::spawn(ask(listener.local_addr()?));
    pool.respawn(&ring, serve, |number, gone| {
        let _ = log.record_fmt(Level::Warn, format_args!("worker {number}: {:?}", gone.status));
        true
    })?;
    drain.stop(Duration::from_secs(5))?;
    Ok(client.join().expect("no panic")?)
}

/// Asks for a few pages, one of which is a fault of the server's, and has the server end.
fn ask(server: std::net::SocketAddr) -> impl FnOnce() -> io::Result<()> {
    move || {
        for page in ["/", "/one", "/crash", "/two"] {
            let mut stream = TcpStream::connect(server)?;
            stream.write_all(page.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            // Until it is served, or its worker is gone.
            let _ = stream.read(&mut [0])?;
        }
        Ok(kill_process(getpid(), Signal::TERM)?)
    }
}
