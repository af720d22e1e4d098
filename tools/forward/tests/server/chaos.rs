//! Forwarder and server are killed at any moment.

use crate::harness::{Forwarding, MADE, Random, Server, kills, ring};
use crate::lines::{assert_once, written};

#[test]
fn each_line_is_there_once_and_whole_however_often_forwarder_and_server_are_killed() {
    let kills = kills(20);
    let mut server = Server::start("");
    let path = server.path("chaos.ring");
    // A writer that sleeps while others fill half of the ring has its line cut by a kill.
    let ring = ring(&path, 1 << 16);
    let target = server.target();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let disturb = || {
        let more = [&MADE[..], &["--message-bytes", "30000"]].concat();
        let mut forwarder = Forwarding::start(&path, &target, &more);
        for kill in 0..kills {
            random.pass(200);
            if kill % 5 == 4 {
                server.kill();
                server.go_on();
            }
            forwarder.again();
        }
        forwarder
    };
    let written = written(&ring, disturb, Forwarding::finish);
    assert_once(&target, &written);
    println!("{kills} kills of the forwarder, {} of the server", kills / 5);
}
