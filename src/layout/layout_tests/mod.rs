//! Holds `docs/format.md` against the code, and the arithmetic of positions against its promises.
#![cfg(not(loom))]

use bytemuck::Zeroable;

use super::entry::{LAP_BITS, LAP_MASK, SLOT_MASK};
use super::header::*;
use super::*;

mod fields;
mod laps;
mod sections;
mod words;

const FORMAT: &str = include_str!("../../../docs/format.md");
const ALL_SLOT_BITS: u32 = SLOT_MASK as u32;

// -------------------------------------------------------------------------------- reading the page

/// What stands below a heading of the page, up to the next heading.
fn section(heading: &str) -> &'static str {
    let start = FORMAT.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("docs/format.md has no heading `{heading}`"));
    let text = &FORMAT[start + heading.len() + 2..];
    &text[..text.find("\n#").unwrap_or(text.len())]
}

/// The rows of the table below a heading whose first column is called `first`.
fn table(heading: &str, first: &str) -> Vec<Vec<&'static str>> {
    let cells =
        |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let lines =
        section(heading).lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "docs/format.md, `{heading}`: no table with a column `{first}`");
    rows
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("docs/format.md: `{text}` is not a number"))
}

/// `` `name` (remark) `` without the rest.
fn name(text: &str) -> &str {
    text.split('`').nth(1).unwrap_or(text)
}

/// Something that the page and the code both say: a name, and two numbers.
type Fact = (String, [u64; 2]);

/// Fails with every disagreement in words; `numbers` says what the two numbers of a fact are.
fn compare(place: &str, numbers: [&str; 2], docs: &[Fact], code: &[Fact]) {
    let mut faults = Vec::new();
    for (name, found) in docs {
        match code.iter().find(|(other, _)| other == name) {
            None => faults.push(format!("`{name}` is in the docs, but not in the code")),
            Some((_, expected)) => {
                for ((what, found), expected) in numbers.iter().zip(found).zip(expected) {
                    if found != expected {
                        faults.push(format!(
                            "`{name}`: {what} is {found} in the docs, {expected} in the code"
                        ));
                    }
                }
            }
        }
    }
    for (name, [first, second]) in code {
        if !docs.iter().any(|(other, _)| other == name) {
            let [one, two] = numbers;
            faults.push(format!(
                "`{name}` ({one} {first}, {two} {second}) is in the code, but not in the docs"
            ));
        }
    }
    assert!(faults.is_empty(), "docs/format.md, `{place}`:\n  {}", faults.join("\n  "));
    assert_eq!(docs.len(), code.len(), "docs/format.md, `{place}`: a name comes twice");
}

// ---------------------------------------------------------------------------------------- geometry

/// A sound geometry with these numbers.
fn geometry(slot_bytes: u32, order_bits: u32, cells: u32, tickets: u32) -> Geometry {
    let mut geometry =
        Geometry { slot_bytes, order_bits, cells, tickets, max_line: 1, ..Geometry::zeroed() };
    geometry.total_bytes = geometry.offsets().total as u64;
    geometry
}
