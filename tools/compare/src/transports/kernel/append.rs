//! A file that every writer appends to (`O_APPEND`), and that the reader reads after them. Nothing
//! bounds it and nothing wakes its reader.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use super::Cutter;
use crate::transport::{Reader, Reading, Setup, Transport, Writer};

#[derive(Debug)]
pub struct Append(File);

impl<const N: usize> Transport<N> for Append {
    const READING: &'static [Reading] = &[Reading::Polling];
    const KEEPS: bool = true;
    type Writer = AppendWriter;
    type Reader = AppendReader<N>;

    fn make(_: &Setup) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("linering-compare-{}", std::process::id()));
        let file = File::options().read(true).append(true).create_new(true).open(&path);
        let file = file.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        // Open files need no name, and one that is killed leaves none.
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
        Ok(Self(file))
    }

    fn writer(&self, _: usize) -> AppendWriter {
        AppendWriter(self.0.try_clone().expect("a descriptor is free"))
    }

    fn reader(&self) -> AppendReader<N> {
        let file = self.0.try_clone().expect("a descriptor is free");
        AppendReader { file, position: 0, cutter: Cutter::new() }
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct AppendWriter(File);

impl<const N: usize> Writer<N> for AppendWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        assert_eq!(self.0.write(line).expect("the disk has room"), N, "a line is written whole");
    }
}

#[derive(Debug)]
pub struct AppendReader<const N: usize> {
    file: File,
    position: u64,
    cutter: Cutter<N>,
}

impl<const N: usize> Reader<N> for AppendReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let (file, position) = (&self.file, &mut self.position);
        let read = |bytes: &mut [u8]| {
            let count = file.read_at(bytes, *position)?;
            *position += count as u64;
            Ok(count)
        };
        self.cutter.fill(read, sink)
    }
}
