//! [`Logger`]: the crate `log`'s records.

use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

use super::shared_writer::SharedWriter;
use crate::line::item::Level;

/// How long [`Log::flush`] waits for a drain.
const FLUSH: Duration = Duration::from_secs(5);

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warn,
            log::Level::Info => Self::Info,
            log::Level::Debug => Self::Debug,
            log::Level::Trace => Self::Trace,
        }
    }
}

/// The crate `log`'s records, into a ring: each is one record, of its level, `target: message`.
///
/// ```
/// use linering::{Logger, non_blocking};
///
/// let (log, _guard) = non_blocking(std::io::stderr())?;
/// Logger::new(&log).level(log::LevelFilter::Info).install()?;
/// log::warn!("{} of {}", 3, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it logs nothing until it is installed"]
#[derive(Clone, Debug)]
pub struct Logger {
    writer: SharedWriter,
    level: LevelFilter,
}

impl Logger {
    /// Of all levels.
    pub fn new(writer: &SharedWriter) -> Self {
        Self { writer: writer.clone(), level: LevelFilter::Trace }
    }

    /// Of this level and those more serious.
    pub fn level(self, level: LevelFilter) -> Self {
        Self { level, ..self }
    }

    /// Becomes the process's logger, and sets its greatest level.
    ///
    /// # Errors
    ///
    /// Another is installed already.
    pub fn install(self) -> Result<(), SetLoggerError> {
        let level = self.level;
        log::set_boxed_logger(Box::new(self))?;
        log::set_max_level(level);
        Ok(())
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = format_args!("{}: {}", record.target(), record.args());
            // The first failure is told by the writer.
            let _ = self.writer.record_fmt(Level::from(record.level()), text);
        }
    }

    /// Waits for the drain, 5 seconds at most.
    fn flush(&self) {
        self.writer.flush_timeout(FLUSH);
    }
}
