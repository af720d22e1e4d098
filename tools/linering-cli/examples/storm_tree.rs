//! A worker for the storm test: a tree of processes, made at random from a seed, that fork, lead
//! groups and sessions, ignore signals, close descriptors and leave orphans, and write numbered
//! lines until they are killed. Each notes in a file how many of its writes have returned.
//!
//! `storm_tree SEED FOLDER`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Picks numbers, in an order that a seed decides.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A process of the tree.
struct Node {
    parent: usize,
    session: bool,
    group: bool,
    ignored: Vec<i32>,
    closed: Vec<i32>,
    /// It ends at once, and leaves its children alone.
    leaves: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seed: u64 = arguments.next().expect("a seed").parse().expect("a number");
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let mut choices = Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let count = 3 + choices.below(8) as usize;
    let mut node = |number: usize| Node {
        parent: choices.below(number.max(1) as u64) as usize,
        // The worker itself may lead a session too.
        session: choices.one_in(4),
        group: choices.one_in(4),
        ignored: [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE]
            .into_iter()
            .filter(|_| choices.one_in(3))
            .collect(),
        closed: (0..3).filter(|_| choices.one_in(5)).collect(),
        leaves: number > 0 && choices.one_in(5),
    };
    let nodes: Vec<Node> = (0..count).map(&mut node).collect();
    std::fs::write(folder.join(format!("{seed}.total")), format!("{count}\n")).expect("a folder");
    let mut number = 0;
    // Each child goes on with its own children, whose numbers are higher.
    let mut next = 1;
    while next < count {
        // SAFETY: this process has one thread.
        if nodes[next].parent == number && unsafe { libc::fork() } == 0 {
            number = next;
        }
        next += 1;
    }
    live(&nodes[number], seed, number, &folder);
}

fn live(node: &Node, seed: u64, number: usize, folder: &std::path::Path) {
    // SAFETY: plain system calls.
    unsafe {
        if node.session {
            libc::setsid();
        }
        if node.group {
            libc::setpgid(0, 0);
        }
        for signal in &node.ignored {
            libc::signal(*signal, libc::SIG_IGN);
        }
    }
    let returned = File::create(folder.join(format!("{seed}.{number}"))).expect("a folder");
    if node.leaves {
        return;
    }
    for closed in &node.closed {
        // SAFETY: nothing else uses it.
        unsafe { libc::close(*closed) };
    }
    for line in 1_u64.. {
        let text = format!("{seed}.{number}.{line}\n");
        // SAFETY: so many bytes are there.
        let written = unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
        if written == text.len() as isize {
            returned.write_all_at(&line.to_ne_bytes(), 0).expect("room");
        } else {
            // It is closed, for ever.
            thread::sleep(Duration::from_secs(777));
        }
        thread::sleep(Duration::from_micros(500));
    }
}
