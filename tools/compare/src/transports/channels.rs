//! Channels of items of a fixed size, each with its own blocking `send`: crossbeam-channel, flume,
//! kanal and the standard library's.
//!
//! flume and kanal give all that is there at once; the others line by line.

use std::sync::mpsc;

use crate::transport::{Reader, Setup, Shelf, Transport, Writer};

/// What four crates call by the same names. Their senders are cloned, one for each writer.
macro_rules! channel {
    ($name:ident, $writer:ident, $reader:ident, $sender:ty, $receiver:ty, $new:path,
     |$end:ident, $taken:ident, $sink:ident| $more:expr) => {
        #[derive(Debug)]
        pub struct $name<const N: usize> {
            writers: Shelf<$writer<N>>,
            reader: Shelf<$reader<N>>,
            room: usize,
        }

        impl<const N: usize> Transport<N> for $name<N> {
            type Writer = $writer<N>;
            type Reader = $reader<N>;

            fn make(setup: &Setup) -> Result<Self, String> {
                let (sender, receiver) = $new(setup.room);
                Ok(Self {
                    writers: Shelf::new((0..setup.writers).map(|_| $writer(sender.clone()))),
                    reader: Shelf::new([$reader {
                        end: receiver,
                        taken: Vec::with_capacity(setup.room),
                        blocks: setup.blocks(),
                    }]),
                    room: setup.room,
                })
            }

            fn writer(&self, index: usize) -> $writer<N> {
                self.writers.take(index)
            }

            fn reader(&self) -> $reader<N> {
                self.reader.take(0)
            }

            fn room(&self) -> Option<usize> {
                Some(self.room)
            }
        }

        #[derive(Debug)]
        pub struct $writer<const N: usize>($sender);

        impl<const N: usize> Writer<N> for $writer<N> {
            #[inline]
            fn send(&mut self, line: &[u8; N]) {
                self.0.send(*line).expect("the reader lives");
            }
        }

        #[derive(Debug)]
        pub struct $reader<const N: usize> {
            end: $receiver,
            /// For what is taken as a whole.
            #[allow(dead_code, reason = "most hand lines on as they take them")]
            taken: Vec<[u8; N]>,
            blocks: bool,
        }

        impl<const N: usize> Reader<N> for $reader<N> {
            #[allow(unused_variables, reason = "as above")]
            fn receive(&mut self, $sink: &mut impl FnMut(&[u8])) -> usize {
                let Self { end: $end, taken: $taken, blocks } = self;
                let mut lines = 0;
                if *blocks {
                    $sink(&$end.recv().expect("a writer lives"));
                    lines += 1;
                }
                lines + $more
            }
        }
    };
}

channel!(
    CrossbeamChannel,
    CrossbeamWriter,
    CrossbeamReader,
    crossbeam_channel::Sender<[u8; N]>,
    crossbeam_channel::Receiver<[u8; N]>,
    crossbeam_channel::bounded,
    |end, taken, sink| end.try_iter().take(super::BATCH).map(|line| sink(&line)).count()
);
channel!(
    Flume,
    FlumeWriter,
    FlumeReader,
    flume::Sender<[u8; N]>,
    flume::Receiver<[u8; N]>,
    flume::bounded,
    |end, taken, sink| end.drain().map(|line| sink(&line)).count()
);
channel!(
    Kanal,
    KanalWriter,
    KanalReader,
    kanal::Sender<[u8; N]>,
    kanal::Receiver<[u8; N]>,
    kanal::bounded,
    |end, taken, sink| {
        end.drain_into(taken).expect("it is open");
        taken.drain(..).map(|line| sink(&line)).count()
    }
);
channel!(
    StdMpsc,
    StdWriter,
    StdReader,
    mpsc::SyncSender<[u8; N]>,
    mpsc::Receiver<[u8; N]>,
    mpsc::sync_channel,
    |end, taken, sink| end.try_iter().take(super::BATCH).map(|line| sink(&line)).count()
);
