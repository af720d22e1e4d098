//! From the ring to stdout and stderr.

use std::io::{self, BufWriter, Stderr, Stdout, Write};

use linering::{Line, Stream};

use super::template::Template;

/// Writes lines out, and remembers what could not be written.
#[derive(Debug)]
pub struct Printer {
    out: Sink<Stdout>,
    err: Sink<Stderr>,
    /// The tags of each worker: of its stdout, of its stderr.
    tags: Vec<[String; 2]>,
    alone: bool,
}

/// One of the two outputs.
#[derive(Debug)]
struct Sink<W: Write> {
    to: BufWriter<W>,
    /// The worker whose line stands there without an end.
    open: Option<u16>,
    failed: Option<io::Error>,
}

impl Printer {
    pub fn new(tag: Option<&Template>, processes: Vec<u32>, alone: bool) -> Self {
        let tags = processes.into_iter().enumerate().map(|(worker, process)| {
            ["stdout", "stderr"]
                .map(|stream| tag.map_or(String::new(), |tag| tag.fill(worker, stream, process)))
        });
        Self { out: Sink::new(io::stdout()), err: Sink::new(io::stderr()), tags: tags.collect(), alone }
    }

    /// Writes a line; a piece of one has no end.
    pub fn line(&mut self, line: &Line<'_>) {
        let [out, err] = self.tags.get(usize::from(line.tag)).map_or(["", ""], |[out, err]| [out, err]);
        if line.stream == Stream::Stderr {
            self.err.line(line, err);
        } else {
            self.out.line(line, out);
        }
    }

    pub fn flush(&mut self) {
        self.out.flush();
        self.err.flush();
    }

    /// Ends what has no end, unless that is how the only worker wrote it.
    pub fn finish(&mut self) {
        if !self.alone {
            self.out.end();
            self.err.end();
        }
        self.flush();
    }

    /// Whether nobody reads stdout any more.
    pub fn is_unread(&self) -> bool {
        self.out.failed.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The first failure but that.
    pub fn result(self) -> io::Result<()> {
        // Dropping what was not written.
        let failed = [self.out.failed, self.err.failed].into_iter().flatten();
        failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(Err).next().unwrap_or(Ok(()))
    }
}

impl<W: Write> Sink<W> {
    fn new(to: W) -> Self {
        Self { to: BufWriter::with_capacity(1 << 16, to), open: None, failed: None }
    }

    /// Runs `write` unless an earlier one failed.
    fn with(&mut self, write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(&mut self.to).err();
        }
    }

    fn line(&mut self, line: &Line<'_>, tag: &str) {
        if self.open.is_some_and(|worker| worker != line.tag) {
            self.end();
        }
        let goes_on = self.open.is_some();
        self.open = line.unfinished.then_some(line.tag);
        self.with(|to| {
            if !goes_on {
                to.write_all(tag.as_bytes())?;
            }
            to.write_all(&line.bytes)?;
            if line.unfinished { Ok(()) } else { to.write_all(b"\n") }
        });
    }

    fn end(&mut self) {
        if self.open.take().is_some() {
            self.with(|to| to.write_all(b"\n"));
        }
    }

    fn flush(&mut self) {
        self.with(Write::flush);
    }
}
