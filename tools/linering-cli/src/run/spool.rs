//! What one worker has printed, kept until its end: in memory, and in a temporary file without a
//! name once it is much.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};

use crate::output::Page;

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 1 << 16;

/// A worker's output so far, as frames: a sink's number, a length, and text.
#[derive(Debug, Default)]
pub struct Spool {
    file: Option<File>,
    /// Bytes of the file that are whole.
    stored: u64,
    /// The frames after those.
    tail: Vec<u8>,
    /// The text that is being added, for each sink.
    pages: Vec<Page>,
}

const HEAD: usize = 1 + size_of::<u64>();

impl Spool {
    pub fn new(sinks: usize) -> Self {
        Self { pages: (0..sinks).map(|_| Page::default()).collect(), ..Self::default() }
    }

    /// Adds what `add` puts on the page of `sink`. If that cannot be stored it is kept in memory
    /// all the same.
    pub fn add(&mut self, sink: usize, add: impl FnOnce(&mut Page)) -> io::Result<()> {
        let page = &mut self.pages[sink];
        add(page);
        self.tail.push(sink as u8);
        self.tail.extend((page.text.len() as u64).to_ne_bytes());
        self.tail.append(&mut page.text);
        if self.tail.len() < IN_MEMORY { Ok(()) } else { self.store() }
    }

    fn store(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.tail)?;
        self.stored += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    /// Hands everything to `print`, in its order; with what ends a line that has no end, if `ends`.
    pub fn replay(mut self, ends: bool, mut print: impl FnMut(usize, &[u8])) -> io::Result<()> {
        let stored = match &mut self.file {
            Some(file) => {
                file.rewind()?;
                Some(file.take(self.stored))
            }
            None => None,
        };
        let stored: Box<dyn Read> = match stored {
            Some(stored) => Box::new(BufReader::new(stored)),
            None => Box::new(io::empty()),
        };
        let mut frames = stored.chain(&*self.tail);
        let mut text = Vec::new();
        let mut head = [0; HEAD];
        while frames.read(&mut head[..1])? == 1 {
            frames.read_exact(&mut head[1..])?;
            let [sink, length @ ..] = head;
            text.clear();
            (&mut frames).take(u64::from_ne_bytes(length)).read_to_end(&mut text)?;
            print(sink.into(), &text);
        }
        for (sink, page) in self.pages.iter_mut().enumerate().filter(|_| ends) {
            page.end();
            print(sink, &page.text);
        }
        Ok(())
    }
}
