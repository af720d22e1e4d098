//! [`Sink`]: where a drain puts what it has formatted.

use std::fmt;
use std::fs::File;
use std::io::{self, Stderr, Stdout, Write};

#[cfg(feature = "rotate")]
use super::rotating_file::RotatingFile;
use crate::line::item::Item;

/// Where a [`LogDrain`](crate::LogDrain) puts what it has formatted.
///
/// A call that fails is tried again, with the same argument, until it succeeds or the drain is
/// stopped: an item leaves the ring once every call for it, and the [`end_batch`](Self::end_batch)
/// after it, has succeeded. So is one that panics. A sink that is killed in between gets items
/// again, from the next process that drains the ring.
///
/// A sink may log, but not into the ring that it is the sink of: what it writes there with a
/// [`SharedWriter`](crate::SharedWriter) goes to standard error, and is counted.
///
/// ```
/// use std::io;
/// use linering::{Item, Sink};
///
/// /// Counts lines, and keeps nothing.
/// struct Counter(u64);
///
/// impl Sink for Counter {
///     fn put(&mut self, text: &[u8]) -> io::Result<usize> {
///         Ok(text.len())
///     }
///
///     fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
///         self.0 += u64::from(item.line().is_some());
///         Ok(())
///     }
/// }
/// ```
pub trait Sink: Send {
    /// Takes formatted text, whole lines at first: how many bytes of it, at least 1. The rest comes
    /// again. As [`Write::write`], which this is for most sinks.
    ///
    /// # Errors
    ///
    /// The sink's own: nothing was taken then.
    fn put(&mut self, text: &[u8]) -> io::Result<usize>;

    /// Takes an item as it is, before its text is put, for sinks that have fields of their own.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        let _ = item;
        Ok(())
    }

    /// The items so far are to be where they belong when this returns: they leave the ring then.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn end_batch(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Opens what it writes to anew, if that was opened by a name:
    /// [`DrainGuard::reopen`](crate::DrainGuard::reopen) was called.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "rotate")]
#[cfg_attr(docsrs, doc(cfg(feature = "rotate")))]
impl Sink for RotatingFile {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        match RotatingFile::put(self, text) {
            (0, result) => result.map(|()| 0),
            (some, _) => Ok(some),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        RotatingFile::reopen(self)
    }
}

macro_rules! writers {
    ($($writer:ty),*) => {$(
        impl Sink for $writer {
            fn put(&mut self, text: &[u8]) -> io::Result<usize> {
                self.write(text)
            }

            fn end_batch(&mut self) -> io::Result<()> {
                self.flush()
            }
        }
    )*};
}

writers!(File, Stdout, Stderr, Box<dyn Write + Send>);

impl Sink for Box<dyn Sink> {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        (**self).put(text)
    }

    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        (**self).item(item)
    }

    fn end_batch(&mut self) -> io::Result<()> {
        (**self).end_batch()
    }

    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }
}

/// Several sinks, which get the same. One that fails holds up the others once they have what it
/// could not take.
///
/// ```
/// # use linering::{Sink, Sinks};
/// let sinks = Sinks::new().and(std::io::stderr()).and(std::io::stdout());
/// # let _: &dyn Sink = &sinks;
/// ```
#[derive(Default)]
pub struct Sinks {
    /// With how many bytes each is ahead of the slowest.
    sinks: Vec<(Box<dyn Sink>, usize)>,
    /// How many have the item, or the end of the batch, that another has refused.
    passed: usize,
}

impl Sinks {
    /// None yet: what comes is thrown away.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn and(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push((Box::new(sink), 0));
        self
    }

    /// Calls each in its turn, and after a failure goes on with the one that failed.
    fn each(&mut self, mut call: impl FnMut(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        while let Some((sink, _)) = self.sinks.get_mut(self.passed) {
            call(&mut **sink)?;
            self.passed += 1;
        }
        self.passed = 0;
        Ok(())
    }
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").field("sinks", &self.sinks.len()).finish_non_exhaustive()
    }
}

impl Sink for Sinks {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut failed = None;
        for (sink, ahead) in &mut self.sinks {
            while *ahead < text.len() && failed.is_none() {
                match sink.put(&text[*ahead..]) {
                    Ok(0) => failed = Some(io::ErrorKind::WriteZero.into()),
                    Ok(some) => *ahead += some,
                    Err(error) => failed = Some(error),
                }
            }
        }
        let slowest = self.sinks.iter().map(|(_, ahead)| *ahead).min().unwrap_or(text.len());
        match failed {
            Some(error) if slowest == 0 => Err(error),
            _ => {
                self.sinks.iter_mut().for_each(|(_, ahead)| *ahead -= slowest);
                Ok(slowest)
            }
        }
    }

    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.each(|sink| sink.item(item))
    }

    fn end_batch(&mut self) -> io::Result<()> {
        self.each(|sink| sink.end_batch())
    }

    fn reopen(&mut self) -> io::Result<()> {
        // All are tried: none of them is to wait for another.
        let mut first = Ok(());
        for (sink, _) in &mut self.sinks {
            first = first.and(sink.reopen());
        }
        first
    }
}
