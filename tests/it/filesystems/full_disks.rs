//! What a ring does on a full file system.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use linering::{CreateError, LineRing, Options};

use super::mounting::{run, text};
use super::processes::new_ring;
use crate::common::fork;

/// Fills the file system up to its last byte, until this is dropped.
struct Filling(PathBuf);

impl Filling {
    fn of(place: &Path) -> Self {
        let filling = Self(place.join("filling"));
        let mut file = File::create(&filling.0).expect("a file");
        let (mut at, mut step) = (0, 256 << 20);
        while step >= 4096 {
            // SAFETY: a plain system call on an open descriptor.
            if unsafe { libc::fallocate(file.as_raw_fd(), 0, at, step) } == 0 {
                at += step;
            } else {
                step /= 2;
            }
        }
        // What cannot be allocated is written; what is kept back for the file system itself shows
        // at its end.
        let zeros = vec![0; 1 << 16];
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).expect("a file");
        for part in [1 << 16, 4096, 1] {
            while file.write_all(&zeros[..part]).and_then(|()| file.sync_data()).is_ok() {}
        }
        filling
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Goes around the ring some times, and has each round written to the disk: a file system that
/// writes elsewhere each time needs room then. An error is an answer too; what is not is a signal.
fn go_around(ring: &LineRing) {
    let (Ok(mut mirror), Ok(mut reader)) = (ring.mirror(), ring.reader()) else { return };
    let file = ring.descriptor().ok().and_then(|descriptor| descriptor.try_clone_to_owned().ok());
    for _ in 0..3 {
        for _ in 0..ROUND {
            if mirror.write_line(&[b'x'; 200]).is_err() || reader.recv().is_err() {
                return;
            }
        }
        if let Some(file) = &file {
            let _ = File::from(file.try_clone().expect("a descriptor")).sync_data();
        }
    }
}

const ROUND: usize = 1 << 10;

fn larger() -> Options {
    Options::new().lines(ROUND).line_bytes(256).mirrors(2).seats(64)
}

pub(super) fn a_made_ring_goes_on_when_the_disk_is_full(place: &Path) {
    let (_, ring) = new_ring(place, "made", larger());
    let _filling = Filling::of(place);
    // Round and round without an error: all of it was allocated.
    let worked = fork(|| {
        go_around(&ring);
        let Ok(mut mirror) = ring.mirror() else { return 1 };
        u8::from(mirror.write_line(b"last").is_err()) * 2
    });
    let status = worked.status();
    assert!(status.success(), "a process that used the ring on a full disk ended: {status}");
}

pub(super) fn what_has_no_room_is_refused(place: &Path) {
    let (path, ring) = new_ring(place, "whole", larger());
    drop(ring);
    let copy = place.join("sparse");
    run("cp", &["--sparse=always", text(&path), text(&copy)]).expect("room for a copy");
    let _filling = Filling::of(place);
    let new = place.join("new");
    let made = fork(|| match LineRing::create_file(&new, larger()) {
        Ok(_) => 1,
        // Which error it is, a file server does not always say.
        Err(CreateError::System(_)) => 0,
        Err(_) => 2,
    });
    let made = made.status();
    assert!(made.success(), "making a ring on a full disk is no error that says so: {made}");
    assert!(!new.exists(), "a file was left that is no ring");
    let attached = fork(|| {
        if let Ok(ring) = LineRing::open_file(&copy) {
            go_around(&ring);
        }
        0
    });
    let attached = attached.status();
    assert!(
        attached.success(),
        "a process that opened a sparse copy on a full disk ended: {attached}"
    );
}
