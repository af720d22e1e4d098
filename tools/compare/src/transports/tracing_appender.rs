//! tracing-appender: its non-blocking writer, lossless; the check is what its own worker thread
//! writes to.
//!
//! The worker sleeps until it is woken, so its reader blocks. Each line is a vector of its own, by
//! its design.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::line::Check;
use crate::shared::Stage;
use crate::transport::{self, Reader, Reading, Run, Setup, Shelf, Transport};

#[derive(Debug)]
pub struct TracingAppender<const N: usize> {
    writer: NonBlocking,
    reader: Shelf<AppenderReader<N>>,
    room: usize,
}

impl<const N: usize> Transport<N> for TracingAppender<N> {
    const READING: &'static [Reading] = &[Reading::Blocking];
    type Writer = NonBlocking;
    type Reader = AppenderReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let (begin, orders) = channel();
        let (results, done) = channel();
        let sink = Sink { stage: Arc::clone(&setup.stage), orders, order: None, results };
        let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(setup.room);
        let (writer, guard) = builder.finish(sink);
        let reader = AppenderReader { begin, done, _guard: guard };
        Ok(Self { writer, reader: Shelf::new([reader]), room: setup.room })
    }

    fn writer(&self, _: usize) -> NonBlocking {
        self.writer.clone()
    }

    fn reader(&self) -> AppenderReader<N> {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

impl<const N: usize> transport::Writer<N> for NonBlocking {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        self.write_all(line).expect("its worker lives");
    }
}

/// A check, and the lines after which it is done.
type Order<const N: usize> = (Check<N>, u64);

/// What the worker writes to.
#[derive(Debug)]
struct Sink<const N: usize> {
    stage: Arc<Stage>,
    orders: Receiver<Order<N>>,
    order: Option<Order<N>>,
    results: Sender<Check<N>>,
}

impl<const N: usize> Write for Sink<N> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.order.is_none() {
            self.order = self.orders.recv().ok();
        }
        if let Some((check, total)) = &mut self.order {
            check.line(bytes);
            self.stage.received(check.lines());
            if check.lines() == *total {
                let (check, _) = self.order.take().expect("it is there");
                let _ = self.results.send(check);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
pub struct AppenderReader<const N: usize> {
    begin: Sender<Order<N>>,
    done: Receiver<Check<N>>,
    _guard: WorkerGuard,
}

impl<const N: usize> Reader<N> for AppenderReader<N> {
    fn receive(&mut self, _: &mut impl FnMut(&[u8])) -> usize {
        0
    }

    fn read_all(self, run: &Run, check: &mut Check<N>) -> Duration {
        let order = (std::mem::take(check), run.total);
        if run.total > 0 {
            self.begin.send(order).expect("its worker lives");
        }
        run.clocked(|| {
            if run.total > 0 {
                *check = self.done.recv().expect("its worker lives");
            }
        })
    }
}
