//! Lines per second, by the number of writers and by the length of a line.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    Area, Drawn, FAINT, GROUND, INK, LIMIT, LINERING, Log, RIVALS, TEXT, short, write,
};
use crate::case::{Case, Measure};
use crate::report::Measured;
use crate::stats::Spread;
use crate::transport::{Kind, Mode};

/// Pixels from one name to the next.
const NAME: i32 = 15;
/// One transport's line.
struct Series {
    name: String,
    kind: Kind,
    points: Vec<(usize, Spread)>,
}

/// Lines per second by the number of writers.
pub fn by_writers(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
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
pub fn by_bytes(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
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
        let (colour, stroke) = line_style(one.kind, index);
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
fn line_style(kind: Kind, index: usize) -> (RGBColor, u32) {
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
}
