//! What the pictures are drawn with: colours, text, and a logarithmic scale.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

pub const GROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
pub const LIMIT: RGBColor = RGBColor(0x88, 0x88, 0x88);
pub const LINERING: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// The rest of Okabe's and Ito's colours, which those who see fewer colours can tell apart.
pub const RIVALS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xb8, 0x86, 0x0b),
];

pub const TEXT: i32 = 13;

/// Where a value stands between the ends of a logarithmic scale, in pixels.
pub struct Log {
    pub low: f64,
    pub high: f64,
    pub from: i32,
    pub to: i32,
}

impl Log {
    /// A scale of whole decades around all values.
    pub fn around(values: impl Iterator<Item = f64>, from: i32, to: i32) -> Self {
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

    pub fn at(&self, value: f64) -> i32 {
        let part = (value.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        self.from + (part.clamp(0.0, 1.0) * f64::from(self.to - self.from)).round() as i32
    }

    pub fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|decade| 10f64.powi(decade))
    }
}

/// 1000000 as "1 M".
pub fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{} G", value / 1e9),
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

/// Nanoseconds in the unit that keeps the number short.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        value if value >= 1e9 => format!("{} s", value / 1e9),
        value if value >= 1e6 => format!("{} ms", value / 1e6),
        value if value >= 1e3 => format!("{} µs", value / 1e3),
        value => format!("{value} ns"),
    }
}

pub fn write(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_scale_has_whole_decades() {
        let scale = Log::around([30.0, 2000.0].into_iter(), 0, 300);
        assert_eq!(scale.decades().collect::<Vec<_>>(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!([10.0, 100.0, 10_000.0].map(|value| scale.at(value)), [0, 100, 300]);
    }
}
