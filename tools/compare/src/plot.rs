//! Pictures of a run's results: three SVG files, drawn on a ground of their own, so that they read
//! the same everywhere.

use std::fs;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::case::{Case, Measure};
use crate::report::{Measured, Results};
use crate::stats::Spread;
use crate::transport::{Kind, Mode, Reading};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

const GROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LIMIT: RGBColor = RGBColor(0x88, 0x88, 0x88);
const LINERING: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// The rest of Okabe's and Ito's colours, which those who see fewer colours can tell apart.
const RIVALS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xb8, 0x86, 0x0b),
];

const TEXT: i32 = 13;
/// Pixels from one name to the next.
const NAME: i32 = 15;

/// Draws all pictures for which there are results.
pub fn all(results: &[PathBuf], to: &Path) -> Result<(), String> {
    let mut measured = Vec::new();
    for path in results {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let results: Results = serde_json::from_str(&text)
            .map_err(|error| format!("{} has no results of compare: {error}", path.display()))?;
        measured.extend(results.measured);
    }
    fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    let pictures: [(&str, Picture); 3] =
        [("throughput", by_writers), ("cost", costs), ("bytes", by_bytes)];
    for (name, picture) in pictures {
        let path = to.join(format!("compare-{name}.svg"));
        match picture(&measured, &path) {
            Ok(true) => println!("{}", path.display()),
            Ok(false) => eprintln!("No {}: the results have nothing for it.", path.display()),
            Err(error) => return Err(format!("cannot draw {}: {error}", path.display())),
        }
    }
    Ok(())
}

/// Draws one; `false` if there is nothing for it.
type Picture = fn(&[Measured], &Path) -> Result<bool, Box<dyn std::error::Error>>;

// ------------------------------------------------------------------------------------------- lines

/// One transport's line.
struct Series {
    name: String,
    kind: Kind,
    points: Vec<(usize, Spread)>,
}

/// Lines per second by the number of writers.
fn by_writers(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    let title = |mode| match mode {
        Mode::Threads => "Threads: lossless lines/s by writers".to_owned(),
        Mode::Processes => "Forked processes: lossless lines/s by writers".to_owned(),
    };
    let bytes = smallest(measured, |case| case.bytes, 100);
    two_panels(measured, path, title, "writers", &|case| {
        (case.bytes == bytes).then_some(case.writers)
    })
}

/// Lines per second by the length of a line.
fn by_bytes(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    let writers = smallest(measured, |case| case.writers, 2);
    let title = |mode| match mode {
        Mode::Threads => format!("{writers} threads: lossless lines/s by length"),
        Mode::Processes => format!("{writers} forked processes: lossless lines/s by length"),
    };
    two_panels(measured, path, title, "bytes a line", &|case| {
        (case.writers == writers).then_some(case.bytes)
    })
}

/// The usual value, if it was measured; else the smallest that was.
fn smallest(measured: &[Measured], of: impl Fn(&Case) -> usize, usual: usize) -> usize {
    let all = measured
        .iter()
        .filter(|one| one.case.measure == Measure::Throughput)
        .map(|one| of(&one.case));
    let all: Vec<usize> = all.collect();
    if all.contains(&usual) { usual } else { all.into_iter().min().unwrap_or(usual) }
}

fn two_panels(
    measured: &[Measured],
    path: &Path,
    title: impl Fn(Mode) -> String,
    unit: &str,
    x_of: &dyn Fn(&Case) -> Option<usize>,
) -> Result<bool, Box<dyn std::error::Error>> {
    let panels: Vec<(Mode, Vec<Series>)> = [Mode::Threads, Mode::Processes]
        .into_iter()
        .map(|mode| (mode, series(measured, mode, x_of)))
        .filter(|(_, series)| series.iter().any(|one| one.points.len() > 1))
        .collect();
    if panels.is_empty() {
        return Ok(false);
    }
    let root = SVGBackend::new(path, (560 * panels.len() as u32, 470)).into_drawing_area();
    root.fill(&GROUND)?;
    for (area, (mode, series)) in root.split_evenly((1, panels.len())).iter().zip(&panels) {
        lines_panel(area, &title(*mode), unit, series)?;
    }
    root.present()?;
    Ok(true)
}

fn series(measured: &[Measured], mode: Mode, x_of: &dyn Fn(&Case) -> Option<usize>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    let wanted = measured
        .iter()
        .filter(|one| one.case.measure == Measure::Throughput && one.case.mode == mode);
    for one in wanted {
        let (Some(x), Some(spread)) = (x_of(&one.case), one.lines_per_second()) else { continue };
        let known = all.iter().position(|series| series.name == one.case.transport);
        let index = known.unwrap_or_else(|| {
            all.push(Series {
                name: one.case.transport.clone(),
                kind: one.kind,
                points: Vec::new(),
            });
            all.len() - 1
        });
        all[index].points.push((x, spread));
    }
    all.iter_mut().for_each(|series| series.points.sort_unstable_by_key(|(x, _)| *x));
    // What matters most is drawn last, over the others.
    all.sort_by_key(|series| series.kind == Kind::Linering);
    all
}

/// Where a value stands between the ends of a logarithmic scale, in pixels.
struct Log {
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

impl Log {
    /// A scale of whole decades around all values.
    fn around(values: impl Iterator<Item = f64>, from: i32, to: i32) -> Self {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        values
            .filter(|value| *value > 0.0)
            .for_each(|value| (low, high) = (low.min(value), high.max(value)));
        Self {
            low: low.log10().floor(),
            high: high.log10().ceil().max(low.log10().floor() + 1.0),
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> i32 {
        let part = (value.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        self.from + (part.clamp(0.0, 1.0) * f64::from(self.to - self.from)).round() as i32
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|decade| 10f64.powi(decade))
    }
}

fn lines_panel(area: &Area, title: &str, unit: &str, all: &[Series]) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let (left, right, top, bottom) = (62, width as i32 - 150, 48, height as i32 - 52);
    let mut xs: Vec<usize> =
        all.iter().flat_map(|one| one.points.iter().map(|(x, _)| *x)).collect();
    xs.sort_unstable();
    xs.dedup();
    let x_at = |x: usize| {
        let place = xs.iter().position(|known| *known == x).unwrap_or(0) as i32;
        left + 24 + place * (right - left - 48) / (xs.len() as i32 - 1).max(1)
    };
    let values = all
        .iter()
        .flat_map(|one| one.points.iter().flat_map(|(_, spread)| [spread.min, spread.max]));
    let scale = Log::around(values, bottom, top);

    write(area, title, (left - 46, 16), HPos::Left, TEXT + 2, &INK, true)?;
    for decade in scale.decades() {
        let y = scale.at(decade);
        area.draw(&PathElement::new([(left, y), (right, y)], FAINT))?;
        write(area, &short(decade), (left - 8, y), HPos::Right, TEXT, &INK, false)?;
    }
    for x in &xs {
        write(area, &x.to_string(), (x_at(*x), bottom + 16), HPos::Center, TEXT, &INK, false)?;
    }
    write(area, unit, ((left + right) / 2, bottom + 36), HPos::Center, TEXT, &INK, false)?;

    let mut names = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let (colour, stroke) = look(one.kind, index);
        let points: Vec<(i32, i32)> =
            one.points.iter().map(|(x, spread)| (x_at(*x), scale.at(spread.median))).collect();
        if one.kind == Kind::Limit || one.kind == Kind::Alone {
            area.draw(&plotters::element::DashedPathElement::new(
                points.iter().copied(),
                5,
                4,
                colour.stroke_width(stroke),
            ))?;
        } else {
            area.draw(&PathElement::new(points.clone(), colour.stroke_width(stroke)))?;
        }
        for ((x, spread), point) in one.points.iter().zip(&points) {
            let ends = [(x_at(*x), scale.at(spread.min)), (x_at(*x), scale.at(spread.max))];
            area.draw(&PathElement::new(ends, colour))?;
            area.draw(&Circle::new(*point, 2 + stroke as i32 / 2, colour.filled()))?;
        }
        if let Some(last) = points.last() {
            names.push((last.1, *last, one.name.as_str(), one.kind, colour));
        }
    }
    names.sort_by_key(|name| name.0);
    let places = spread_out(&names.iter().map(|name| name.0).collect::<Vec<_>>(), top, bottom + 30);
    for ((_, point, name, kind, colour), y) in names.into_iter().zip(places) {
        let x = right - 4;
        area.draw(&PathElement::new([(point.0 + 5, point.1), (x, y)], colour.mix(0.5)))?;
        write(area, name, (x + 4, y), HPos::Left, TEXT, &colour, kind == Kind::Linering)?;
    }
    Ok(())
}

/// A line's colour and width.
fn look(kind: Kind, index: usize) -> (RGBColor, u32) {
    match kind {
        Kind::Linering => (LINERING, 4),
        Kind::Limit | Kind::Alone => (LIMIT, 1),
        _ => (RIVALS[index % RIVALS.len()], 1),
    }
}

/// Places for names, as near to where they belong as their height allows. `wanted` is sorted.
fn spread_out(wanted: &[i32], top: i32, bottom: i32) -> Vec<i32> {
    let mut places = wanted.to_vec();
    for index in 1..places.len() {
        places[index] = places[index].max(places[index - 1] + NAME);
    }
    let mut low = bottom;
    for place in places.iter_mut().rev() {
        *place = (*place).min(low).max(top - NAME);
        low = *place - NAME;
    }
    places
}

/// 1000000 as "1 M".
fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{} G", value / 1e9),
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

/// Nanoseconds as people say them.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        value if value >= 1e9 => format!("{} s", value / 1e9),
        value if value >= 1e6 => format!("{} ms", value / 1e6),
        value if value >= 1e3 => format!("{} µs", value / 1e3),
        value => format!("{value} ns"),
    }
}

fn write(
    area: &Area,
    text: &str,
    at: (i32, i32),
    side: HPos,
    size: i32,
    colour: &RGBColor,
    bold: bool,
) -> Drawn {
    let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = FontDesc::new(FontFamily::SansSerif, size.into(), weight);
    let style = TextStyle::from(font).color(colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

// ------------------------------------------------------------------------------------------- costs

/// What a call costs, by mode and by how the reader waits: a row for each transport.
fn costs(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    let paced: Vec<&Measured> =
        measured.iter().filter(|one| one.case.measure == Measure::Paced).collect();
    let writers = paced.iter().map(|one| one.case.writers).min().unwrap_or(1);
    let mut panels = Vec::new();
    for mode in [Mode::Threads, Mode::Processes] {
        for reading in [Reading::Polling, Reading::Blocking] {
            let fits = |one: &&&Measured| {
                let case = &one.case;
                (case.mode, case.reading, case.writers) == (mode, reading, writers)
                    && one.fault().is_none()
            };
            let rows: Vec<&Measured> = paced.iter().filter(fits).copied().collect();
            if !rows.is_empty() {
                panels.push((mode, reading, rows));
            }
        }
    }
    if panels.is_empty() {
        return Ok(false);
    }
    let heights = panels
        .chunks(2)
        .map(|pair| 92 + 19 * pair.iter().map(|panel| panel.2.len()).max().unwrap_or(0));
    let heights: Vec<u32> = heights.map(|height| height as u32).collect();
    let root = SVGBackend::new(path, (1120, 34 + heights.iter().sum::<u32>())).into_drawing_area();
    root.fill(&GROUND)?;
    legend(&root)?;
    let values = panels.iter().flat_map(|panel| &panel.2).flat_map(|one| marks(one)).flatten();
    let scale = Log::around(values.map(|spread| spread.median), 0, 1);
    let mut y = 34;
    for (pair, height) in panels.chunks(2).zip(heights) {
        for (column, (mode, reading, rows)) in pair.iter().enumerate() {
            let x = 560 * column as i32;
            let area = root.clone().shrink((x, y), (560, height));
            cost_panel(&area, *mode, *reading, writers, rows, (scale.low, scale.high))?;
        }
        y += height as i32;
    }
    root.present()?;
    Ok(true)
}

/// The median of each figure of a call's cost.
fn marks(one: &Measured) -> [Option<Spread>; 4] {
    [
        one.spread(|figures| figures.cost_ns.map(|cost| cost.mean99)),
        one.spread(|figures| figures.cost_ns.map(|cost| cost.p50)),
        one.spread(|figures| figures.cost_ns.map(|cost| cost.p99)),
        one.spread(|figures| figures.cost_ns.map(|cost| cost.p999)),
    ]
}

/// Draws the mark of one figure: a disc, a circle, a bar, a triangle.
fn mark(area: &Area, which: usize, (x, y): (i32, i32), colour: RGBColor) -> Drawn {
    match which {
        0 => area.draw(&Circle::new((x, y), 5, colour.filled()))?,
        1 => area.draw(&Circle::new((x, y), 4, colour.stroke_width(2)))?,
        2 => area.draw(&PathElement::new([(x, y - 6), (x, y + 6)], colour.stroke_width(3)))?,
        _ => area.draw(&TriangleMarker::new((x, y), 5, colour.filled()))?,
    }
    Ok(())
}

fn legend(area: &Area) -> Drawn {
    let words = ["average of the lowest 99 %", "p50", "p99", "p99.9"];
    for (which, (x, words)) in
        [(24, words[0]), (230, words[1]), (300, words[2]), (370, words[3])].iter().enumerate()
    {
        mark(area, which, (*x, 20), INK)?;
        write(area, words, (x + 12, 20), HPos::Left, TEXT, &INK, false)?;
    }
    Ok(())
}

fn cost_panel(
    area: &Area,
    mode: Mode,
    reading: Reading,
    writers: usize,
    rows: &[&Measured],
    (low, high): (f64, f64),
) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let (left, right, top) = (140, width as i32 - 34, 44);
    let bottom = top + 19 * rows.len() as i32;
    let scale = Log { low, high, from: left, to: right };
    let who = match (mode, writers) {
        (Mode::Threads, 1) => "One thread".to_owned(),
        (Mode::Processes, 1) => "One forked process".to_owned(),
        (Mode::Threads, _) => format!("{writers} threads"),
        (Mode::Processes, _) => format!("{writers} forked processes"),
    };
    let how = match reading {
        Reading::Polling => "reader polling",
        Reading::Blocking => "reader blocking",
    };
    let title = format!("{who}, {how}: time of one call");
    write(area, &title, (16, 20), HPos::Left, TEXT + 2, &INK, true)?;
    for decade in scale.decades() {
        let x = scale.at(decade);
        area.draw(&PathElement::new([(x, top - 4), (x, bottom)], FAINT))?;
        write(area, &time(decade), (x, bottom + 14), HPos::Center, TEXT, &INK, false)?;
    }
    for (row, one) in rows.iter().enumerate() {
        let y = top + 19 * row as i32 + 8;
        let colour = match one.kind {
            Kind::Linering => LINERING,
            Kind::Limit | Kind::Alone => LIMIT,
            _ => RIVALS[0],
        };
        write(
            area,
            &one.case.transport,
            (left - 12, y),
            HPos::Right,
            TEXT,
            &colour,
            one.kind == Kind::Linering,
        )?;
        let all = marks(one).map(|mark| mark.map(|spread| scale.at(spread.median)));
        if let (Some(first), Some(last)) = (all.iter().flatten().min(), all.iter().flatten().max())
        {
            area.draw(&PathElement::new([(*first, y), (*last, y)], colour.mix(0.5)))?;
        }
        for (which, x) in all.iter().enumerate() {
            if let Some(x) = x {
                mark(area, which, (*x, y), colour)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_stay_inside() {
        for wanted in [vec![], vec![50], vec![50, 50, 50], vec![290, 295, 299], vec![10, 100, 101]]
        {
            let places = spread_out(&wanted, 0, 300);
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME), "{places:?}");
            assert!(places.iter().all(|place| (-NAME..=300).contains(place)), "{places:?}");
        }
    }

    #[test]
    fn a_logarithmic_scale_has_whole_decades() {
        let scale = Log::around([30.0, 2000.0].into_iter(), 0, 300);
        assert_eq!(scale.decades().collect::<Vec<_>>(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!([10.0, 100.0, 10_000.0].map(|value| scale.at(value)), [0, 100, 300]);
    }
}
