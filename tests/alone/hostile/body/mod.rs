//! Hostile bytes: what an input of a fuzzer makes of a ring, and what has to hold whatever it makes
//! (P8).
//!
//! An input names the bytes that a ring begins with, those of a real one or any, and then the
//! steps: words are changed, and the ring is attached, looked at, drained, recovered and written.
//! What was opened stays open while words change. Seats come from strings and rings in files from
//! names, good ones and bad ones. A crash is what is left in the file of what was open. All of it
//! happens in one thread and ends, so an input does the same each time.
//!
//! Nothing may panic, crash or hang. A drain gives no more items than the ring's geometry allows
//! for, a line is no longer than the ring's longest, and an error is a sentence of one line.

mod outside;
mod places;
mod remains;
mod stage;
mod template;

use std::fmt::Display;

use linering::{Item, ReadError, Reader};

use self::places::Places;
use self::stage::Stage;
use self::template::{Template, templates};

/// Steps of one input.
const MOST_STEPS: usize = 20;
/// Looks among them: one at a ring that no process uses makes a copy, which costs as much as all
/// else.
const MOST_LOOKS: usize = 2;
/// And steps of other kinds that cost much: rings that are opened by name or made, seats' strings.
const MOST_COSTLY: usize = 3;
/// Steps that came later have the bytes from this one on, so that older inputs mean what they
/// meant.
const LATER_STEPS: u8 = 192;
/// Mirrors that are open at a time.
const MOST_MIRRORS: usize = 3;
/// A position, a ticket or a cell's last words give at most: a line that was cut off, a loss, and
/// what it is itself.
const ITEMS_OF_ONE: usize = 3;
/// In how many rounds without an item a drain goes on that looks for the dead: damaged cells are
/// given up in fewer.
const LOOKS: usize = 80;

/// Runs an input.
///
/// # Panics
///
/// If the library does something that it must not do.
pub fn run(input: &[u8]) {
    thread_local! {
        // One file for each template, written anew for each input: to make them costs more than
        // most inputs.
        static TEMPLATES: Vec<Template> = templates();
    }
    TEMPLATES.with(|templates| {
        let mut input = Input(input);
        let which = usize::from(input.byte()) % (templates.len() + 2);
        match templates.get(which) {
            Some(template) => {
                template.reset();
                Stage::new(template).play(input);
            }
            // The last one is a file, whose size is free.
            None => {
                let template = templates.last().expect("there are some");
                template.scribble(&mut input, which % 2 == 0);
                Stage::new(template).play(input);
            }
        }
    });
}

// ------------------------------------------------------------------------------------------- input

/// What is left of an input. Behind its end it is all zeros.
struct Input<'i>(&'i [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let low = usize::from(self.byte());
        let number = if bound > 256 { low | usize::from(self.byte()) << 8 } else { low };
        number % bound.max(1)
    }

    fn word(&mut self) -> u64 {
        u64::from_ne_bytes(core::array::from_fn(|_| self.byte()))
    }
}

// ------------------------------------------------------------------------------------------ checks

/// Takes up to `most` items, until there are no more; gives how many there were.
fn drained(reader: &mut Reader, places: &Places, most: usize) -> usize {
    let mut seen = 0;
    while seen < most {
        let Some(item) = sound::<_, ReadError>(reader.try_recv()).flatten() else { break };
        check(&item, places);
        seen += 1;
        assert!(
            seen <= places.most_items(),
            "more than {} items in {places:?}",
            places.most_items()
        );
    }
    seen
}

fn check(item: &Item<'_>, places: &Places) {
    let shown = item.to_string();
    if let Some(line) = item.line() {
        assert!(
            line.bytes.len() <= places.most_bytes(),
            "{} bytes in {places:?}",
            line.bytes.len()
        );
        // A byte that is not text becomes three.
        assert!(shown.len() <= 3 * line.bytes.len() + 64, "{} bytes shown", shown.len());
        assert!(line.lines().count() <= line.bytes.len() + 1);
    } else {
        assert!(shown.lines().count() == 1, "{shown:?}");
    }
}

/// What a call gave. What it refused has to be told in a sentence of one line.
fn sound<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
        })
        .ok()
}
