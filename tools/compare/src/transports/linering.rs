//! linering: [`Policy::Block`], a seat for each writer, and a reader that takes batches.
//!
//! Slots hold a line and their header, so that no line takes two. Lines get no time stamp, as with
//! everybody else here.

use std::time::Duration;

use linering::{Item, ItemRef, LineProcMirror, LineRing, Options, Policy, Seat, Timestamps};

use crate::transport::{Kind, Reader, Setup, Transport, Writer};

/// Bytes of a slot's header.
const HEADER: usize = 32;

#[derive(Debug)]
pub struct Linering<const N: usize> {
    ring: LineRing,
    seats: Vec<Seat>,
    room: usize,
    polls: bool,
}

impl<const N: usize> Transport<N> for Linering<N> {
    const KIND: Kind = Kind::Linering;
    type Writer = LineProcMirror;
    type Reader = LineReader;

    fn make(setup: &Setup) -> Result<Self, String> {
        let options =
            Options::new().lines(setup.room).line_bytes(N + HEADER).timestamps(Timestamps::Off);
        let ring =
            LineRing::new(options.policy(Policy::Block)).map_err(|error| error.to_string())?;
        let seats = (0..setup.writers).map(|_| ring.seat()).collect::<Result<_, _>>();
        let seats = seats.map_err(|error| error.to_string())?;
        Ok(Self { ring, seats, room: setup.room, polls: !setup.blocks() })
    }

    fn writer(&self, index: usize) -> LineProcMirror {
        self.seats[index].open().expect("a mirror")
    }

    fn reader(&self) -> LineReader {
        LineReader { reader: self.ring.reader().expect("no other reader"), polls: self.polls }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> Writer<N> for LineProcMirror {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        self.write_line(line).expect("the reader lives");
    }
}

#[derive(Debug)]
pub struct LineReader {
    reader: linering::Reader,
    polls: bool,
}

impl<const N: usize> Reader<N> for LineReader {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        if self.polls && !self.reader.wait_timeout(Duration::ZERO).expect("nothing interrupts") {
            return 0;
        }
        let batch = self.reader.batch().expect("nothing interrupts");
        let mut lines = 0;
        for item in batch.iter_ref() {
            match item {
                ItemRef::Line(line) => {
                    sink(line.bytes());
                    lines += 1;
                }
                ItemRef::Other(other) => match other.to_item() {
                    Item::Line(line) => {
                        sink(&line.bytes);
                        lines += 1;
                    }
                    Item::Ended(_) => {}
                    _ => panic!("neither a line nor an end"),
                },
            }
        }
        batch.commit();
        lines
    }
}
