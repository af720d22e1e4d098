//! Looks at every drained item: is it the one that was to come?

use linering::{End, Ended, Item, Kind, Line, Lost};

use super::content::{Content, Expected};
use super::figures::Figures;
use crate::failure::Failure;

/// Bytes that are shown of what was found and expected.
const EXCERPT: usize = 40;

/// What is known of all workers' lines.
#[derive(Debug)]
pub struct Verifier<'c> {
    /// The workers' numbers in the ring, which grow.
    serials: Vec<u32>,
    pub workers: Vec<Progress<'c>>,
    /// Whether the ring's policy is to lose lines.
    lossy: bool,
}

/// How far a worker's lines have come.
#[derive(Debug)]
pub struct Progress<'c> {
    expected: Expected<'c>,
    /// Lines that it is to write,
    pub total: u64,
    /// that have come or are known to be lost; its figures count as one,
    next: u64,
    /// that have come,
    pub lines: u64,
    /// and their bytes,
    pub bytes: u64,
    /// that were lost,
    pub lost: u64,
    /// and that came cut: by its death, or by a full ring.
    pub cut: u64,
    pub figures: Option<Figures>,
    pub end: Option<End>,
    /// The error it sent.
    pub error: Option<String>,
}

impl<'c> Verifier<'c> {
    pub fn new(content: &'c Content, serials: Vec<u32>, lossy: bool) -> Self {
        let workers = (0..serials.len()).map(|worker| Progress::new(content, worker)).collect();
        Self { serials, workers, lossy }
    }

    /// Checks the next item. Gives the line, if it is one of the content.
    pub fn item<'i>(&mut self, item: &'i Item<'_>) -> Result<Option<&'i Line<'i>>, Failure> {
        match item {
            Item::Line(line) => {
                let worker = self.worker(line.writer_id)?;
                let is_content = self.workers[worker].line(line, self.lossy);
                return Ok(is_content.map_err(|problem| failed(worker, &problem))?.then_some(line));
            }
            Item::Lost(lost) => {
                let worker = self.worker(lost.writer_id)?;
                self.workers[worker].lose(lost);
            }
            Item::Ended(ended) => {
                let worker = self.worker(ended.writer_id)?;
                self.workers[worker]
                    .end(ended, self.lossy)
                    .map_err(|problem| failed(worker, &problem))?;
            }
            other => {
                return Err(Failure::Failed(format!(
                    "found \"{other}\" in the ring, expected lines and ends"
                )));
            }
        }
        Ok(None)
    }

    fn worker(&self, serial: u32) -> Result<usize, Failure> {
        let unknown =
            |_| Failure::Failed(format!("found a line of mirror {serial}, which is no worker's"));
        self.serials.binary_search(&serial).map_err(unknown)
    }

    /// A sum over all workers.
    pub fn sum(&self, of: impl Fn(&Progress<'_>) -> u64) -> u64 {
        self.workers.iter().map(of).sum()
    }
}

fn failed(worker: usize, problem: &str) -> Failure {
    Failure::Failed(format!("worker {worker}{problem}"))
}

impl<'c> Progress<'c> {
    fn new(content: &'c Content, worker: usize) -> Self {
        Self {
            expected: content.expected(worker),
            total: content.lines(worker),
            next: 0,
            lines: 0,
            bytes: 0,
            lost: 0,
            cut: 0,
            figures: None,
            end: None,
            error: None,
        }
    }

    /// Whether all its lines have come or are accounted for.
    pub fn is_complete(&self) -> bool {
        self.next == self.total + 1
    }

    /// Checks a line; `true` if it is one of the content. A problem is said so that it follows
    /// "worker 3".
    fn line(&mut self, line: &Line<'_>, lossy: bool) -> Result<bool, String> {
        if line.kind == Kind::Error {
            let text = line.to_string();
            let first = text.lines().next().unwrap_or_default();
            self.error
                .get_or_insert_with(|| first.strip_prefix("error: ").unwrap_or(first).to_owned());
            return Ok(false);
        }
        if Figures::are_in(line) {
            return self.take_figures(line).map(|()| false);
        }
        let number = self.next + 1;
        if number > self.total {
            return Err(format!(
                ", line {number}: found {}, expected only {} lines",
                excerpt(&line.bytes),
                self.total
            ));
        }
        self.compare(line, lossy).map_err(|problem| format!(", line {number}: {problem}"))?;
        self.expected.advance();
        self.next += 1;
        self.lines += 1;
        self.bytes += line.bytes.len() as u64;
        Ok(true)
    }

    fn compare(&mut self, line: &Line<'_>, lossy: bool) -> Result<(), String> {
        let (pieces, ended) = self.expected.line();
        let found = &line.bytes[..];
        if line.truncated || line.unacknowledged || (line.unfinished && ended) {
            self.cut += 1;
            // What a full ring left out of the middle is not known.
            return if lossy || begins(pieces, found) {
                Ok(())
            } else {
                Err(difference(pieces, found))
            };
        }
        if line.unfinished == ended {
            return Err("found an end, expected none".to_owned());
        }
        if is(pieces, found) { Ok(()) } else { Err(difference(pieces, found)) }
    }

    fn take_figures(&mut self, line: &Line<'_>) -> Result<(), String> {
        let figures =
            std::str::from_utf8(&line.bytes).ok().and_then(|text| text.parse::<Figures>().ok());
        let Some(figures) = figures else {
            return Err(format!(
                ", last line: found {}, expected its figures",
                excerpt(&line.bytes)
            ));
        };
        if figures.written != self.next {
            return Err(format!(" has written {} lines, found {}", figures.written, self.next));
        }
        self.figures = Some(figures);
        self.next += 1;
        Ok(())
    }

    fn lose(&mut self, lost: &Lost<'_>) {
        // The figures may be among them.
        let content = lost.lines.min(self.total.saturating_sub(self.next));
        self.next += lost.lines;
        self.lost += content;
        self.expected.skip(content);
    }

    fn end(&mut self, ended: &Ended<'_>, lossy: bool) -> Result<(), String> {
        self.end = Some(ended.end);
        if ended.end != End::Eof {
            return Ok(());
        }
        if self.lost + self.cut > 0 && !lossy {
            return Err(format!(
                ": found {} lines lost and {} cut, expected none",
                self.lost, self.cut
            ));
        }
        if ended.lines + ended.lost != self.next {
            let (found, counted) = (self.next, ended.lines + ended.lost);
            return Err(format!(
                " has ended after {counted} lines by the ring's count, found {found}"
            ));
        }
        if self.figures.is_none() && !lossy {
            return Err(format!(
                " has ended after {} of {} lines, without its figures",
                self.next, self.total
            ));
        }
        Ok(())
    }
}

// ------------------------------------------------------------------------------------- comparing

/// Whether `found` is the two pieces.
fn is([head, rest]: [&[u8]; 2], found: &[u8]) -> bool {
    found.len() == head.len() + rest.len()
        && found[..head.len()] == *head
        && found[head.len()..] == *rest
}

/// Whether the two pieces begin with `found`.
fn begins([head, rest]: [&[u8]; 2], found: &[u8]) -> bool {
    let (first, second) = found.split_at(found.len().min(head.len()));
    head.starts_with(first) && rest.starts_with(second)
}

/// Where and how `found` differs, in words.
fn difference(pieces: [&[u8]; 2], found: &[u8]) -> String {
    let expected = pieces.concat();
    let at = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
    format!(
        "found {} from byte {at} on ({} bytes in all), expected {} ({} bytes in all)",
        excerpt(&found[at..]),
        found.len(),
        excerpt(&expected[at..]),
        expected.len(),
    )
}

fn excerpt(bytes: &[u8]) -> String {
    let more = if bytes.len() > EXCERPT { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(EXCERPT)].escape_ascii())
}

#[cfg(test)]
mod tests;
