//! [`Follow`]: what comes into a ring, for an observer.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::ReadError;
use crate::exchange::park::{Rest, observer_rest};
use crate::handles::observer::Observer;
use crate::layout::sync::AtomicU32;
use crate::read::follow::{Followed, Following};
use crate::segment::HeaderPage;
use crate::sys::futex;

/// The shortest time between two looks, however fast lines come.
const BUSY: Duration = Duration::from_millis(10);
/// The time between two looks where no writer wakes it, once nothing came for so long.
const IDLE: Duration = Duration::from_millis(100);
const QUIET: Duration = Duration::from_secs(1);

/// An observer that follows a ring: it hands out what comes, changes nothing (but one word, after
/// [`ask_to_be_woken`](Self::ask_to_be_woken)), and keeps no process waiting, so that it can be too
/// slow. Then it says how much has passed by.
///
/// [`wait`](Self::wait) sleeps until more has come. Each mirror that comes costs it some hundred
/// bytes.
///
/// ```
/// use linering::{Followed, LineRing, Observer, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// let observer = Observer::attach(ring.descriptor()?)?;
/// let mut follow = observer.follow();
/// assert_eq!(follow.next_items()?, []);
/// mirror.write_line(b"hello")?;
/// let [Followed::Item(item)] = &follow.next_items()?[..] else { panic!("one item") };
/// assert_eq!(item.to_string(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Follow {
    observer: Observer,
    following: Following,
    /// Where it says that it sleeps.
    bell: Option<HeaderPage>,
    /// Of a ring that no process uses, all was handed out.
    is_over: bool,
    /// When a look found something last, be it a part of a line; at first, when this began.
    last_came: Instant,
}

impl Observer {
    /// Begins to follow the ring, from the oldest line that is there on: see [`Follow`].
    pub fn follow(&self) -> Follow {
        Follow {
            observer: self.clone(),
            following: Following::new(&self.view.geometry),
            bell: None,
            is_over: false,
            last_came: Instant::now(),
        }
    }
}

impl Follow {
    /// What has come since the last call: some thousand items at most, oldest first, and none where
    /// nothing has. The first calls give what is there already, as [`Observer::snapshot`] has it;
    /// of a ring that no process used when it was opened they give all of that, and then nothing.
    ///
    /// An end that a reader has accepted before this call is not among them, unless it was told
    /// before: [`Statistics::counts`](crate::Statistics::counts) has it. A line whose beginning has
    /// passed by is cut, as for a reader.
    ///
    /// # Errors
    ///
    /// As [`Observer::snapshot`].
    pub fn next_items(&mut self) -> Result<Vec<Followed>, ReadError> {
        let view = &self.observer.view;
        if !view.is_used {
            let is_first = !std::mem::replace(&mut self.is_over, true);
            let items = if is_first { self.observer.snapshot()? } else { Vec::new() };
            return Ok(items.into_iter().map(Followed::Item).collect());
        }
        let before = self.following.progress();
        let items = self.following.more(&view.parts, self.observer.accepted());
        if view.is_cut() {
            return Err(ReadError::CutShort);
        }
        if !items.is_empty() || self.following.progress() != before {
            self.last_came = Instant::now();
        }
        Ok(items)
    }

    /// Sleeps until more may have come, at most for `limit`: see [`wait_any`](Self::wait_any).
    ///
    /// ```
    /// # use linering::{Followed, LineRing, Observer, Options};
    /// use std::time::Duration;
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # mirror.write_line(b"hello")?;
    /// # drop(mirror);
    /// # let observer = Observer::attach(ring.descriptor()?)?;
    /// let mut follow = observer.follow();
    /// loop {
    ///     for found in follow.next_items()? {
    ///         if let Followed::Item(item) = found {
    ///             println!("{item}");
    ///         }
    ///     }
    ///     # break;
    ///     if !observer.is_used_now() {
    ///         break;
    ///     }
    ///     follow.wait(Duration::from_millis(100));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, limit: Duration) {
        Self::wait_any([self], limit);
    }

    /// Sleeps until more may have come for one of them, at most for `limit`; also shorter, as after
    /// a signal.
    ///
    /// A writer that wakes a ring's sleeping reader wakes its observers, too. Where no reader
    /// sleeps, no writer looks for them unless they [ask for it](Self::ask_to_be_woken): they look
    /// themselves, each 10 ms, and each 100 ms once nothing has come for a second; so do those of
    /// more than 128 rings, and of several on a system that cannot wait for several. After a look
    /// that found something 10 ms pass, so that much more comes at once. A wake-up that is lost
    /// with a process that is killed in the middle of it costs `limit`.
    pub fn wait_any<'f>(follows: impl IntoIterator<Item = &'f Self>, limit: Duration) {
        let began = Instant::now();
        let (mut sleepers, mut longest) = (Vec::new(), limit);
        let follows: Vec<_> = follows.into_iter().collect();
        let rests = follows.iter().map(|follow| BUSY.saturating_sub(follow.last_came.elapsed()));
        thread::sleep(rests.max().unwrap_or_default().min(limit));
        // Before they say that they sleep: a writer that does not pause has none to wake.
        if began.elapsed() >= limit || follows.iter().any(|follow| follow.has_come()) {
            return;
        }
        let most = futex::most_words();
        for (index, follow) in follows.iter().enumerate() {
            match follow.rest(index < most) {
                (_, Rest::Over) => return,
                (word, Rest::On(value)) => sleepers.push((word, value)),
                _ if follow.last_came.elapsed() < QUIET => longest = longest.min(BUSY),
                _ => longest = longest.min(IDLE),
            }
        }
        let left = longest.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        if sleepers.is_empty() {
            thread::sleep(left);
        } else if futex::wait_any(&sleepers, left).is_err() {
            thread::sleep(left.min(BUSY));
        }
    }

    /// From now on [`wait`](Self::wait) has writers wake it also where no reader sleeps: a line is
    /// seen at once, and there is nothing to look for meanwhile. `false` where this process may not
    /// write the ring, or no process uses it, and nothing changes.
    ///
    /// It writes into the ring then, as a reader does that falls asleep: that one sleeps, one word,
    /// each time that it does. The next writer makes a system call to wake it; for each observer
    /// that asks, 100 times a second at most. Nothing is left to do when it is killed.
    ///
    /// ```
    /// # use linering::{Followed, LineRing, Observer, Options};
    /// use std::time::Duration;
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror()?;
    /// let mut follow = Observer::attach(ring.descriptor()?)?.follow();
    /// assert!(follow.ask_to_be_woken());
    /// let writer = std::thread::spawn(move || mirror.write_line(b"hello"));
    /// let found = loop {
    ///     let mut found = follow.next_items()?;
    ///     if let Some(first) = found.pop() {
    ///         break first;
    ///     }
    ///     follow.wait(Duration::from_secs(60));
    /// };
    /// # let _ = (found, writer.join());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ask_to_be_woken(&mut self) -> bool {
        if self.bell.is_none() {
            self.bell = self.observer.view.writable_header();
        }
        self.bell.is_some()
    }

    /// The word on which it sleeps, if it `may_sleep` there, and how it may rest now.
    fn rest(&self, may_sleep: bool) -> (&AtomicU32, Rest) {
        let view = &self.observer.view;
        let bell = self.bell.as_ref().filter(|bell| bell.is_of(&view.geometry));
        let header = bell.map(HeaderPage::header);
        let sleeps = &header.unwrap_or(view.parts.header()).flags.0.reader_sleeps;
        let rest = match self.following.awaited(&view.parts) {
            _ if !view.is_used || view.is_cut() || !may_sleep => Rest::Unannounced,
            Some(awaited) => observer_rest(&awaited, sleeps, header.is_some()),
            None => Rest::Over,
        };
        (sleeps, rest)
    }

    fn has_come(&self) -> bool {
        let Observer { view } = &self.observer;
        view.is_used && self.following.awaited(&view.parts).is_none_or(|it| it.has_come())
    }

    /// Goes on with the last `positions` lines alone, and leaves out those before them that were
    /// not looked at yet: for one that looks now and then, and need not see all. They are among
    /// those that have [passed by](Followed::PassedBy), unless this is the first call.
    ///
    /// ```
    /// # use linering::{Followed, LineRing, Observer, Options};
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # let mut follow = Observer::attach(ring.descriptor()?)?.follow();
    /// # follow.next_items()?;
    /// for line in [b"1", b"2", b"3"] {
    ///     mirror.write_line(line)?;
    /// }
    /// follow.skip_to_last(1);
    /// let [Followed::PassedBy(2), Followed::Item(item)] = &follow.next_items()?[..] else {
    ///     panic!("two passed by, and one item")
    /// };
    /// assert_eq!(item.to_string(), "3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip_to_last(&mut self, positions: u64) {
        let view = &self.observer.view;
        if view.is_used {
            self.following.skip_to_last(&view.parts, self.observer.accepted(), positions);
        }
    }

    /// The position from which on the next call looks: all lines before it were handed out, or have
    /// passed by. `None` before the first call, and where it is over.
    pub fn position(&self) -> Option<u64> {
        self.following.position().map(|position| position.0)
    }
}
