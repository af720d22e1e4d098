//! [`Page`]: a message that gathers, and the [`Source`] that it gathers from.

use std::time::Duration;

use linering::{ItemRef, ReadError, Reader};
use tokio::time::Instant;

use crate::doubt::{Known, Verdict};
use crate::record;

/// A message that gathers, or is on its way.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<u8>,
    pub(crate) count: u64,
    /// Queued items that it has, those included that the engine has already.
    pub(crate) items: usize,
    /// When the first of them was added.
    pub(crate) began: Option<Instant>,
}

/// The reader, and when a message has enough.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) reader: Reader,
    pub(crate) message_bytes: usize,
    /// A quarter of the ring: its writers need the rest while this is on its way.
    pub(crate) most_items: usize,
}

impl Source {
    pub(crate) fn has_enough(&self, page: &Page) -> bool {
        page.records.len() >= self.message_bytes || page.items >= self.most_items
    }

    /// Adds what comes, behind the first `before` items, until the page has enough.
    pub(crate) fn add(
        &mut self,
        page: &mut Page,
        before: usize,
        known: &Known,
    ) -> Result<(), ReadError> {
        self.reader.more()?;
        let (bytes, most) = (self.message_bytes, self.most_items);
        let batch = self.reader.batch_timeout(Duration::ZERO)?;
        // Lines of one slot, which are most, are not made items of.
        let items = batch.iter_ref().skip(before + page.items).map(|item| match item {
            ItemRef::Line(line) => Ok(line),
            ItemRef::Other(other) => Err(other.to_item()),
        });
        for item in items {
            if page.records.len() >= bytes || page.items >= most {
                break;
            }
            let verdict = match &item {
                Ok(line) => known.of_ref(line),
                Err(other) => known.of_item(other),
            };
            // What the engine has leaves the ring before anything new is sent: after one more
            // message, the keys of this one could not be asked for any more.
            if verdict != Verdict::Skip && page.items > 0 && page.count == 0 {
                break;
            }
            if let Verdict::Send(skipped) = verdict {
                match &item {
                    Ok(line) => record::add_ref(&mut page.records, line),
                    Err(other) => record::add_item(&mut page.records, other, skipped),
                }
                page.count += 1;
            }
            page.items += 1;
            page.began.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}
