//! What a worker measured of its own writing, and how that comes back: as its last line, by the
//! ring.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use linering::{Line, LineProcMirror, Stream};

use super::content::Content;

/// The tag of the line that carries a worker's figures.
const TAG: u16 = 1;
/// The longest such line.
pub const LONGEST: usize = 64;

/// A worker's own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub written: u64,
    pub nanoseconds: u64,
}

impl Figures {
    /// Whether `line` is one that carries figures.
    pub fn are_in(line: &Line<'_>) -> bool {
        line.tag == TAG && line.stream == Stream::Log
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.written, self.nanoseconds)
    }
}

impl FromStr for Figures {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (written, nanoseconds) = text.split_once(' ').ok_or(())?;
        Ok(Self {
            written: written.parse().map_err(drop)?,
            nanoseconds: nanoseconds.parse().map_err(drop)?,
        })
    }
}

/// A worker's whole life: writes its lines, until `stop` is set, and then its figures.
pub fn work(
    content: &Content,
    worker: usize,
    mirror: &mut LineProcMirror,
    stop: &AtomicBool,
) -> io::Result<()> {
    let began = Instant::now();
    let written = content.write(worker, mirror, stop)?;
    let figures = Figures { written, nanoseconds: began.elapsed().as_nanos() as u64 };
    mirror.set_tag(TAG).set_stream(Stream::Log).write_line(figures.to_string().as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_and_fit() {
        let most = Figures { written: u64::MAX, nanoseconds: u64::MAX };
        assert_eq!(most.to_string().parse(), Ok(most));
        assert!(most.to_string().len() <= LONGEST);
        assert!("12".parse::<Figures>().is_err() && "a b".parse::<Figures>().is_err());
    }
}
