//! Three servers with a copy each: the one that leads, and the forwarder, are killed or stand
//! still at any moment.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use linering::{LineRing, Observer};

use crate::harness::{Forwarding, PATIENCE, Random, Server, free_port, kills, ring, target};
use crate::lines::{assert_once, written};

struct Node {
    server: Server,
    monitor: u16,
    runs: bool,
}

struct Cluster(Vec<Node>);

impl Cluster {
    fn start() -> Self {
        let routes: Vec<_> = (0..3).map(|_| free_port()).collect();
        let all: Vec<_> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let all = all.join(", ");
        let start = |(index, route): (usize, &u16)| {
            let monitor = free_port();
            let server = Server::start(&format!(
                "server_name: node{index}\nhttp: 127.0.0.1:{monitor}\n\
                 cluster {{ name: three, listen: 127.0.0.1:{route}, routes: [{all}] }}"
            ));
            Node { server, monitor, runs: true }
        };
        Self(routes.iter().enumerate().map(start).collect())
    }

    fn target(&self) -> String {
        target(&self.0.iter().map(|node| &node.server).collect::<Vec<_>>())
    }

    /// The one that leads the stream, as the first that runs and knows says; another than `not`.
    fn leader(&self, not: Option<usize>) -> usize {
        let began = Instant::now();
        loop {
            let running = self.0.iter().filter(|node| node.runs);
            let mut leaders = running.filter_map(|node| leader(node.monitor));
            match leaders.find(|leader| Some(*leader) != not && self.0[*leader].runs) {
                Some(leader) => return leader,
                None => assert!(began.elapsed() < PATIENCE, "no server leads, but {not:?}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self, node: usize) {
        self.0[node].runs = false;
        self.0[node].server.kill();
    }

    fn start_again(&mut self, node: usize) {
        self.0[node].server.go_on();
        self.0[node].runs = true;
    }

    fn stop(&mut self, node: usize) {
        self.0[node].runs = false;
        self.0[node].server.signal("STOP");
    }

    fn go_on(&mut self, node: usize) {
        self.0[node].server.signal("CONT");
        self.0[node].runs = true;
    }
}

/// What a server's monitoring says: the node that leads the stream.
fn leader(monitor: u16) -> Option<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", monitor)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("not zero");
    stream.write_all(b"GET /jsz?accounts=true&streams=true HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let stream = &body["account_details"][0]["stream_detail"][0];
    stream["cluster"]["leader"].as_str()?.strip_prefix("node")?.parse().ok()
}

/// Waits until more was acknowledged.
fn wait_for_more(ring: &LineRing, forwarder: &Forwarding) {
    let observer = Observer::attach(ring.descriptor().expect("a file")).expect("the ring");
    let read = || observer.statistics().expect("whole").accepted;
    let (before, began) = (read(), Instant::now());
    while read() == before {
        assert!(began.elapsed() < PATIENCE, "it does not go on: {}", forwarder.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_line_is_there_once_however_often_the_leader_of_three_is_killed_or_stands_still() {
    let kills = kills(3);
    let mut cluster = Cluster::start();
    let path = cluster.0[0].server.path("cluster.ring");
    let ring = ring(&path, 1 << 16);
    let target = cluster.target();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut stops, mut of_forwarder) = (0, 0);
    let disturb = || {
        let more = ["--create", "--message-bytes", "30000", "--compress", "zstd"];
        let mut forwarder = Forwarding::start(&path, &target, &more);
        for kill in 0..kills {
            wait_for_more(&ring, &forwarder);
            let leader = cluster.leader(None);
            random.pass(200);
            // One that stood still takes itself for the leader as it goes on.
            let is_stop = kill % 2 == 1;
            if is_stop {
                cluster.stop(leader)
            } else {
                cluster.kill(leader)
            }
            if random.below(2) == 0 {
                random.pass(200);
                forwarder.again();
                of_forwarder += 1;
            }
            if random.below(4) > 0 {
                cluster.leader(Some(leader));
                random.pass(200);
            }
            if is_stop {
                cluster.go_on(leader)
            } else {
                cluster.start_again(leader)
            }
            stops += u64::from(is_stop);
        }
        wait_for_more(&ring, &forwarder);
        forwarder
    };
    let written = written(&ring, disturb, Forwarding::finish);
    assert_once(&target, &written);
    let of_leader = kills - stops;
    println!("{of_leader} kills and {stops} stops of the leader, {of_forwarder} of the forwarder");
}
