//! Draws what `top` shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState};

use super::sample::WriterSample;
use super::state::{Sort, State, Track};
use crate::stat::size;

/// What is shown of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Writer,
    Label,
    Process,
    State,
    Lines,
    Bytes,
    Lost,
    Spark,
}

const HELP: &str = "\
s, S    sort by the next, the last column
r       turn the order around
/       show the writers alone whose label, number
        or state has what is typed; Esc: all
p       pause, and go on
up, down, k, j, pages, Home, End
        choose a writer
h, ?    this help
q, ^C   quit

What this shows is sampled. Lines/s are counted by the
ring. Bytes are not: their number is estimated, from the
length of the lines that came last. LOST is what a writer
has dropped. Short lines that share a slot count as one.";

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let rows =
        [Constraint::Length(4), Constraint::Min(2), Constraint::Length(2), Constraint::Length(1)];
    let [head, table, last, keys] = Layout::vertical(rows).areas(frame.area());
    state.page = usize::from(table.height.saturating_sub(1));
    frame.render_widget(Paragraph::new(head_of(state, head.width)), head);
    draw_writers(frame, state, table);
    frame.render_widget(Paragraph::new(last_of(state, last.width)), last);
    frame.render_widget(Paragraph::new(keys_of(state)), keys);
    if state.is_helping {
        let lines = HELP.lines().count() as u16;
        let area = frame.area();
        let area = area.centered(
            Constraint::Length(60.min(area.width)),
            Constraint::Length((lines + 2).min(area.height)),
        );
        frame.render_widget(Clear, area);
        let help = Paragraph::new(HELP).block(Block::bordered().title(" help "));
        frame.render_widget(help, area);
    }
}

/// A line that says where it was cut: half a number is another number.
fn fit(text: String, width: u16) -> Line<'static> {
    let line = Line::from(text);
    if line.width() <= usize::from(width) {
        return line;
    }
    let mut text = line.to_string();
    while Line::raw(text.as_str()).width() >= usize::from(width) && text.pop().is_some() {}
    text.push('…');
    Line::from(text)
}

fn bold(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Modifier::BOLD)
}

/// The ring.
fn head_of(state: &State, width: u16) -> Vec<Line<'static>> {
    let now = &state.now;
    let life = match (now.is_used, now.has_reader) {
        (true, true) => "a process reads it",
        (true, false) => "no process reads it",
        (false, _) => "no process uses it",
    };
    let paused = if state.is_paused { "PAUSED  " } else { "" };
    let name = state.ring.replace(char::is_control, "\u{fffd}");
    let bytes = match state.bytes() {
        Some(bytes) => format!("~{}/s", size(bytes as u64)),
        None => "bytes/s not known yet".to_owned(),
    };
    let share = (now.unread as f64 / now.room.max(1) as f64).clamp(0.0, 1.0);
    let gauge = usize::from(width.saturating_sub(60).clamp(4, 20));
    let full = (share * gauge as f64).round() as usize;
    let gauge = format!("{}{}", "█".repeat(full), "░".repeat(gauge - full));
    let rate = number(state.total.rate());
    vec![
        fit(
            format!(
                "{paused}{name}: {life}; {}, {}, made {} ago",
                now.policy,
                size(now.size),
                now.age
            ),
            width,
        )
        .style(Modifier::BOLD),
        fit(
            format!(
                "{rate} lines/s {}  {bytes}  sampled each {} s",
                spark(&state.total, 16),
                state.every
            ),
            width,
        ),
        fit(
            format!(
                "unread {gauge} {}/{} ({:.0} %)  lost {}  found full {} times",
                now.unread,
                now.room,
                share * 100.0,
                state.lost(),
                now.found_full
            ),
            width,
        ),
        fit(
            format!(
                "writers: {} open, {} seats, {} ended, {} with an error, {} died",
                now.live, now.seats, now.ended, now.errors, now.deaths
            ),
            width,
        ),
    ]
}

fn draw_writers(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows = state.rows();
    let mark = |sort, title: &str| match (state.sort == sort, state.is_reversed) {
        (true, false) => format!("{title}▾"),
        (true, true) => format!("{title}▴"),
        (false, _) => title.to_owned(),
    };
    let columns = columns(area.width);
    let title = |column: &Column| match column {
        Column::Writer => format!("{:>7}", mark(Sort::Writer, "WRITER")),
        Column::Label => mark(Sort::Label, "LABEL"),
        Column::Process => format!("{:>7}", "PID"),
        Column::State => mark(Sort::State, "STATE"),
        Column::Lines => format!("{:>8}", mark(Sort::Lines, "LINES/S")),
        Column::Bytes => format!("{:>10}", mark(Sort::Bytes, "~BYTES/S")),
        Column::Lost => format!("{:>6}", mark(Sort::Lost, "LOST")),
        Column::Spark => String::new(),
    };
    let lines = rows.iter().map(|(writer, track)| {
        Row::new(columns.iter().map(|(column, width)| cell(*column, *width, writer, track)))
    });
    let table = Table::new(lines, columns.iter().map(|(_, width)| Constraint::Length(*width)))
        .column_spacing(1)
        .header(Row::new(columns.iter().map(|(column, _)| title(column))).style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED);
    let mut chosen = TableState::new().with_selected(state.chosen(&rows));
    frame.render_stateful_widget(table, area, &mut chosen);
    if rows.is_empty() && area.height > 1 {
        let why = match state.now.writers.is_empty() {
            true => "no writer is open, and none has an end that no reader has accepted",
            false => "the filter leaves none",
        };
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(why), below);
    }
}

/// The columns that this width has room for, and how wide they are: none is cut but the label.
fn columns(width: u16) -> Vec<(Column, u16)> {
    let few = [(Column::Label, 10), (Column::Lines, 8)];
    let some = [
        (Column::Label, 10),
        (Column::State, 9),
        (Column::Lines, 8),
        (Column::Bytes, 10),
        (Column::Lost, 6),
    ];
    let all = [
        (Column::Writer, 7),
        (Column::Label, 10),
        (Column::Process, 7),
        (Column::State, 9),
        (Column::Lines, 8),
        (Column::Bytes, 10),
        (Column::Lost, 6),
        (Column::Spark, 8),
    ];
    let total = |columns: &[(Column, u16)]| columns.iter().map(|(_, width)| width + 1).sum::<u16>();
    let widest = [&all[..], &some, &few].into_iter().find(|columns| total(columns) <= width + 1);
    let mut columns = widest.unwrap_or(&few).to_vec();
    // What is left over goes to the spark line, then to the labels.
    let mut left = (width + 1).saturating_sub(total(&columns));
    for (which, most) in [(Column::Spark, 8), (Column::Label, 30), (Column::Spark, 100)] {
        if let Some((_, width)) = columns.iter_mut().find(|(column, _)| *column == which) {
            let more = left.min(most);
            (*width, left) = (*width + more, left - more);
        }
    }
    columns
}

fn cell(column: Column, width: u16, writer: &WriterSample, track: &Track) -> String {
    match column {
        Column::Writer => format!("{:>7}", writer.id),
        Column::Label => name_of(writer),
        Column::Process => match writer.process {
            Some(process) => format!("{process:>7}"),
            None => format!("{:>7}", "-"),
        },
        Column::State => writer.state.to_owned(),
        Column::Lines => format!("{:>8}", number(track.rate())),
        Column::Bytes => {
            format!("{:>10}", track.bytes().map_or_else(|| "?".to_owned(), number))
        }
        Column::Lost => format!("{:>6}", number(writer.dropped as f64)),
        Column::Spark => spark(track, usize::from(width)),
    }
}

/// Its label, or its number.
fn name_of(writer: &WriterSample) -> String {
    if writer.label.is_empty() { writer.id.to_string() } else { writer.label.clone() }
}

/// The last line of the chosen writer.
fn last_of(state: &State, width: u16) -> Vec<Line<'static>> {
    let rows = state.rows();
    let Some((writer, track)) = state.chosen(&rows).map(|row| rows[row]) else { return Vec::new() };
    let name = name_of(writer);
    let text = track.last.clone().unwrap_or_else(|| "none was seen yet".to_owned());
    vec![
        fit(format!("{} lines of {name}; the last that was seen:", writer.lines), width),
        fit(text, width),
    ]
}

fn keys_of(state: &State) -> Line<'static> {
    if state.is_typing {
        return Line::from(vec![bold(format!("/{}█", state.filter)), Span::raw("  Enter, Esc")]);
    }
    let filter = match state.filter.as_str() {
        "" => "/ filter".to_owned(),
        filter => format!("/{filter} (Esc: all)"),
    };
    Line::from(format!("q quit  h help  s sort  r reverse  p pause  ↑↓ choose  {filter}"))
}

/// A number in few characters.
fn number(value: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let mut value = value.max(0.0);
    let mut unit = 0;
    while value >= 9999.5 && unit + 1 < units.len() || unit > 0 && value >= 999.95 {
        if unit + 1 == units.len() {
            break;
        }
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0}") } else { format!("{value:.1}{}", units[unit]) }
}

/// The last rates, the newest at the right, each as high as it is beside the highest.
fn spark(track: &Track, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let rates = track.rates.iter().skip(track.rates.len().saturating_sub(width));
    let most = track.rates.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| match most {
        0.0 => BARS[0],
        _ => BARS[((rate / most * 7.0).round() as usize).min(7)],
    };
    let bars: String = rates.map(bar).collect();
    format!("{bars:>width$}")
}

#[cfg(test)]
mod tests;
