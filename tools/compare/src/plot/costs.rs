//! What a call costs, by mode and by how the reader waits.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    Area, Drawn, FAINT, GROUND, INK, LIMIT, LINERING, Log, RIVALS, TEXT, time, write,
};
use crate::case::Measure;
use crate::report::Measured;
use crate::stats::Spread;
use crate::transport::{Kind, Mode, Reading};

/// What a call costs, by mode and by how the reader waits: a row for each transport.
pub fn costs(measured: &[Measured], path: &Path) -> Result<bool, Box<dyn std::error::Error>> {
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
