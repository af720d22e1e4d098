//! The crate `log`'s records come at their levels, one each.

use linering::{Item, Level, Logger, Policy};

use super::ring;
use crate::common::fork;

#[test]
fn a_record_of_the_crate_log_is_one_record_of_its_level() {
    // In a child: the logger is the whole process's.
    fork(|| {
        let ring = ring(Policy::Block, 64);
        let writer = ring.writer().expect("a writer");
        let logger = Logger::new(&writer).level(log::LevelFilter::Debug);
        if logger.clone().install().is_err() || logger.install().is_ok() {
            return 1;
        }
        log::error!(target: "api", "out of {}", "luck");
        log::info!(target: "api", "two\nlines");
        log::debug!(target: "api", "fine");
        log::trace!(target: "api", "too fine");
        let mut reader = ring.reader().expect("no other");
        let mut found = Vec::new();
        while let Some(item) = reader.try_recv().expect("ours") {
            if let Item::Line(line) = item {
                found.push((line.level, line.to_string()));
            }
        }
        let expected = [
            (Level::Error, "api: out of luck".to_owned()),
            (Level::Info, "api: two\nlines".to_owned()),
            (Level::Debug, "api: fine".to_owned()),
        ];
        u8::from(found != expected) * 2
    })
    .succeeds();
}
