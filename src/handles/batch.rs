//! [`Batch`]: items of a reader that are accepted together.

use std::iter::FusedIterator;

use crate::line::item::Item;
use crate::read::drain::Drain;
use crate::read::item_ref::ItemRef;

/// Items that were handed out together and are accepted together.
#[must_use = "lines of a batch that is dropped unread come again"]
#[derive(Debug)]
pub struct Batch<'r> {
    drain: &'r mut Drain,
}

impl<'r> Batch<'r> {
    /// Of what is queued.
    pub(super) fn of(drain: &'r mut Drain) -> Self {
        Self { drain }
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.drain.queued()
    }

    /// Whether there is none: the ring is over, the time limit has passed, or a
    /// [`Waker`](crate::Waker) ended the wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, in order.
    #[inline]
    pub fn iter(&self) -> impl FusedIterator<Item = Item<'_>> {
        self.iter_ref().map(ItemRef::to_item)
    }

    /// The items, in order, of which lines of one slot are looked at where the reader copied them
    /// to: less than half the work. Stopping early accepts nothing, as with [`iter`](Self::iter).
    ///
    /// ```
    /// use linering::{ItemRef, LineRing, Options};
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # mirror.write_line(b"hello")?;
    /// let mut reader = ring.reader()?;
    /// let batch = reader.batch()?;
    /// for item in batch.iter_ref() {
    ///     if let ItemRef::Line(line) = item {
    ///         assert_eq!(line.bytes(), b"hello");
    ///     }
    /// }
    /// batch.commit();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("visit", "lines"))]
    #[inline]
    pub fn iter_ref(&self) -> impl FusedIterator<Item = ItemRef<'_>> {
        self.drain.items()
    }

    /// Accepts all of them.
    pub fn commit(self) {
        let all = self.len();
        self.commit_first(all);
    }

    /// Accepts the first `count`, or all if there are fewer; the others come again.
    pub fn commit_first(self, count: usize) {
        self.drain.accept(count.min(self.len()));
    }

    /// The position before which every line is accepted once this batch is: the
    /// [`position`](crate::Reader::position) of the reader then, and of any later one.
    ///
    /// ```
    /// use linering::{LineRing, Options};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let (mut mirror, mut reader) = (ring.mirror()?, ring.reader()?);
    /// let start = reader.position();
    /// (0..3).try_for_each(|_| mirror.write_line(b"a line"))?;
    /// let batch = reader.batch()?;
    /// assert_eq!((batch.upto_of(2), batch.upto()), (start + 2, start + 3));
    /// batch.commit_first(2);
    /// assert_eq!(reader.position(), start + 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upto(&self) -> u64 {
        self.upto_of(self.len())
    }

    /// The same of its first `count` items.
    pub fn upto_of(&self, count: usize) -> u64 {
        self.drain.upto(count.min(self.len())).0
    }
}

/// `for item in &batch`: the items, in order. They are accepted by [`Batch::commit`].
impl<'b> IntoIterator for &'b Batch<'_> {
    type Item = Item<'b>;
    type IntoIter = Box<dyn Iterator<Item = Item<'b>> + 'b>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
