//! An axum server that logs events for each request, with linering and with tracing-appender: what
//! an event costs its request, how long after the last answer the last line is in the file, and
//! what is lost, also where the server is killed in the middle.
//!
//! `cd tools/tracing/server; cargo run --release -- [ROUNDS [REQUESTS [EVENTS]]]`. Each round has
//! every way once, in turns, each in a process of its own.

use std::any::Any;
use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path as Segment;
use axum::routing::get;
use linering::{Ends, Format, LineRing, LogDrain, Options, Policy};
use tracing_appender::non_blocking::NonBlockingBuilder;
use tracing_linering::RingWriter;
use tracing_subscriber::fmt::MakeWriter;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const WAYS: [&str; 6] = [
    "tracing-appender, lossy",
    "tracing-appender, not lossy",
    "linering, drops",
    "linering, waits",
    "linering, waits, 128 Ki lines",
    "linering, waits, 128 Ki lines in a file",
];
const CONNECTIONS: usize = 8;
/// After which time without a line those that have not come are lost.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", way, folder, requests, events] => {
            let load = Load { requests: requests.parse()?, events: events.parse()? };
            serve(way, folder.as_ref(), load)
        }
        [] => compare(9, Load { requests: 100_000, events: 1 }),
        [rounds] => compare(rounds.parse()?, Load { requests: 100_000, events: 1 }),
        [rounds, requests] => {
            compare(rounds.parse()?, Load { requests: requests.parse()?, events: 1 })
        }
        [rounds, requests, events] => {
            let load = Load { requests: requests.parse()?, events: events.parse()? };
            compare(rounds.parse()?, load)
        }
        _ => {
            Err("expected at most the numbers of rounds, of requests and of events in each".into())
        }
    }
}

#[derive(Clone, Copy)]
struct Load {
    requests: usize,
    /// Of each request.
    events: usize,
}

// -------------------------------------------------------------------------------------- the server

/// What the events of each request took, by its number, in nanoseconds.
static TOOK: OnceLock<(Vec<AtomicU32>, usize)> = OnceLock::new();

async fn answer(Segment(request): Segment<usize>) -> &'static str {
    let Some((took, events)) = TOOK.get() else { return "ok" };
    let began = Instant::now();
    for id in request * events..(request + 1) * events {
        tracing::info!(target: "server", id, path = "/", "served");
    }
    if let Some(place) = took.get(request) {
        let nanoseconds = began.elapsed().as_nanos() / *events as u128;
        place.store(u32::try_from(nanoseconds).unwrap_or(u32::MAX), Relaxed);
    }
    "ok"
}

/// Mean, p50, p99 and p99.9.
async fn costs() -> String {
    let took = TOOK.get().into_iter().flat_map(|(took, _)| took);
    let mut took: Vec<_> = took.map(|took| took.load(Relaxed)).collect();
    took.sort_unstable();
    let sum: u64 = took.iter().copied().map(u64::from).sum();
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    format!("{} {} {} {}ok", sum / took.len() as u64, at(0.5), at(0.99), at(0.999))
}

fn subscribe(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer).init();
}

/// Has `tracing` log into the folder's file; what is given is to be kept.
fn log_into(way: &str, folder: &Path) -> Result<Box<dyn Any>> {
    let file = File::create(folder.join("log"))?;
    let drained = |ring: LineRing| -> Result<Box<dyn Any>> {
        let drain = LogDrain::new(ring.reader()?).to(file.try_clone()?);
        let guard = drain.format(Format::Raw).ends(Ends::None).spawn()?;
        subscribe(RingWriter::new(&ring.writer()?));
        Ok(Box::new(guard))
    };
    let waits = Options::new().policy(Policy::Block);
    match WAYS.iter().position(|known| *known == way) {
        Some(at @ 0..=1) => {
            let (writer, guard) = NonBlockingBuilder::default().lossy(at == 0).finish(file);
            subscribe(writer);
            Ok(Box::new(guard))
        }
        Some(2) => drained(LineRing::new(waits.policy(Policy::DropNewest))?),
        Some(3) => drained(LineRing::new(waits)?),
        // As many as tracing-appender keeps.
        Some(4) => drained(LineRing::new(waits.lines(128 << 10))?),
        _ => drained(LineRing::create_file(folder.join("ring"), waits.lines(128 << 10))?),
    }
}

fn serve(way: &str, folder: &Path, load: Load) -> Result<()> {
    let took = (0..load.requests).map(|_| AtomicU32::new(0)).collect();
    let _ = TOOK.set((took, load.events));
    let _guard = log_into(way, folder)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let router = Router::new().route("/{id}", get(answer)).route("/costs", get(costs));
        axum::serve(listener, router).await?;
        Ok(())
    })
}

// ------------------------------------------------------------------------------------ the requests

fn start(way: &str, folder: &Path, load: Load) -> Result<(Child, SocketAddr)> {
    let mut server = Command::new(std::env::current_exe()?);
    server.args(["serve", way]).arg(folder);
    server.args([load.requests, load.events].map(|number| number.to_string()));
    let mut server = server.stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(server.stdout.take().ok_or("no pipe")?).read_line(&mut address)?;
    Ok((server, address.trim().parse()?))
}

/// What comes before the `ok` at an answer's end.
fn ask(stream: &mut TcpStream, path: impl std::fmt::Display) -> std::io::Result<String> {
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
    let (mut bytes, mut part) = (Vec::new(), [0; 1024]);
    while !bytes.ends_with(b"ok") {
        match stream.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            some => bytes.extend_from_slice(&part[..some]),
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.rsplit("\r\n").next().unwrap_or_default().trim_end_matches("ok").to_owned())
}

/// Sends them all, or as many as the server answers; `at` is called once so many were answered.
/// The numbers of those that were.
fn send(address: SocketAddr, requests: usize, at: usize, call: impl Fn() + Sync) -> Vec<usize> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let sends = || {
            let mut answered = Vec::new();
            let Ok(mut stream) = TcpStream::connect(address) else { return answered };
            let _ = stream.set_nodelay(true);
            loop {
                let id = next.fetch_add(1, Relaxed);
                if id >= requests || ask(&mut stream, id).is_err() {
                    return answered;
                }
                answered.push(id);
                if done.fetch_add(1, Relaxed) + 1 == at {
                    call();
                }
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(sends)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// The numbers of the events that the file tells of.
fn logged(file: &Path) -> Result<HashSet<usize>> {
    let text = fs::read_to_string(file)?;
    let id = |line: &str| line.split_once("id=")?.1.split(' ').next()?.parse().ok();
    Ok(text.lines().filter_map(id).collect())
}

/// How many lines the file says were lost.
fn told(file: &Path) -> Result<usize> {
    let text = fs::read_to_string(file)?;
    let lines = |line: &str| {
        let (_, note) = line.strip_prefix("-- worker ")?.split_once(": ")?;
        note.strip_suffix(" lost, ring full --")?.split(' ').next()?.parse::<usize>().ok()
    };
    Ok(text.lines().filter_map(lines).sum())
}

/// How many bytes the lines of so many events have.
fn expected_bytes(events: usize) -> u64 {
    let line = |id: usize| format!(" INFO server: served id={id} path=\"/\"\n").len() as u64;
    (0..events).map(line).sum()
}

#[derive(Clone, Copy, Default)]
struct Figures {
    /// Of a request's events, for each, in microseconds: mean, p50, p99, p99.9.
    event: [f64; 4],
    /// Requests a second.
    rate: f64,
    /// From the last answer to the last line, in milliseconds.
    after: f64,
    lost: usize,
    /// Of which the log tells.
    told: usize,
    /// Events of requests that were answered, and those of them that are not in the log, of a
    /// server that was killed.
    answered: usize,
    killed: usize,
}

fn measure(way: &str, load: Load) -> Result<Figures> {
    let Load { requests, events } = load;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log");
    let (mut server, address) = start(way, folder.path(), load)?;
    let (began, bytes) = (Instant::now(), expected_bytes(requests * events));
    let answered = send(address, requests, 0, || {});
    let last = Instant::now();
    // When it grew for the last time.
    let (mut length, mut grown) = (0, last);
    while length < bytes && grown.elapsed() < PATIENCE {
        let found = fs::metadata(&file)?.len();
        if found == length {
            thread::sleep(Duration::from_micros(50));
        } else {
            (length, grown) = (found, Instant::now());
        }
    }
    let after = (grown - last).as_secs_f64() * 1e3;
    let costs = ask(&mut TcpStream::connect(address)?, "costs")?;
    server.kill()?;
    server.wait()?;
    let mut event = [0.0; 4];
    for (place, text) in event.iter_mut().zip(costs.split(' ')) {
        *place = text.parse::<f64>()? / 1e3;
    }
    assert_eq!(answered.len(), requests, "answered");
    let rate = requests as f64 / (last - began).as_secs_f64();
    let (lost, told) = (requests * events - logged(&file)?.len(), told(&file)?);

    // Again, and killed at half of them.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log");
    let (server, address) = start(way, folder.path(), load)?;
    let server = std::sync::Mutex::new(server);
    let kill = || server.lock().expect("no panic").kill().expect("it runs");
    let answered = send(address, requests, requests / 2, kill);
    server.lock().expect("no panic").wait()?;
    let path = folder.path().join("ring");
    if path.exists() {
        let left = LogDrain::new(LineRing::open_file(path)?.reader()?).format(Format::Raw);
        left.to(File::options().append(true).open(&file)?).run()?;
    }
    let logged = logged(&file)?;
    let acknowledged = answered.iter().flat_map(|id| id * events..(id + 1) * events);
    let killed = acknowledged.filter(|id| !logged.contains(id)).count();
    Ok(Figures { event, rate, after, lost, told, answered: answered.len() * events, killed })
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn compare(rounds: usize, load: Load) -> Result<()> {
    let mut all = vec![Vec::new(); WAYS.len()];
    for round in 0..rounds {
        // Another one first, each time.
        for step in 0..WAYS.len() {
            let way = (round + step) % WAYS.len();
            let figures = measure(WAYS[way], load)?;
            eprintln!("{round} {}: event {:?} µs", WAYS[way], figures.event);
            all[way].push(figures);
        }
    }
    println!(
        "{rounds} rounds of {} requests with {} events each, {CONNECTIONS} connections; medians\n",
        load.requests, load.events
    );
    println!(
        "| | an event, µs: mean, p50, p99, p99.9 | ratio of the mean | requests/s, ratio | last \
         answer to last line, ms (most) | lost | answered and not in the log, killed |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (way, own) in WAYS.iter().zip(&all) {
        let of = |get: &dyn Fn(&Figures) -> f64| median(own.iter().map(get).collect());
        let ratio = |get: &dyn Fn(&Figures) -> f64| {
            median(own.iter().zip(&all[0]).map(|(own, first)| get(own) / get(first)).collect())
        };
        let event: Vec<_> = (0..4).map(|at| format!("{:.1}", of(&|f| f.event[at]))).collect();
        let most = own.iter().map(|figures| figures.after).fold(0.0, f64::max);
        let told: usize = own.iter().map(|figures| figures.told).sum();
        let lost: usize = own.iter().map(|figures| figures.lost).sum();
        let answered: usize = own.iter().map(|figures| figures.answered).sum();
        let killed: Vec<_> = own.iter().map(|figures| figures.killed).collect();
        println!(
            "| {way} | {} | {:.2} | {:.0}, {:.2} | {:.2} ({most:.1}) | {lost} ({told} told) | {} of {answered} \
             ({} to {}) |",
            event.join(", "),
            ratio(&|f| f.event[0]),
            of(&|f| f.rate),
            ratio(&|f| f.rate),
            of(&|f| f.after),
            killed.iter().sum::<usize>(),
            killed.iter().min().unwrap_or(&0),
            killed.iter().max().unwrap_or(&0),
        );
    }
    Ok(())
}
