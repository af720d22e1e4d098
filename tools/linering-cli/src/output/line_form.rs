//! How an observer's lines are printed: in one of the formats, or as a template says.

use std::ffi::OsStr;

use clap::ValueEnum as _;
use clap::builder::{PossibleValue, TypedValueParser};
use linering::Line;

use super::format::{Clock, Format, level_name, stream_name};
use super::page::{Look, Page};
use super::template::{Piece, pieces};

/// A format, or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineForm {
    Format(Format),
    Template(LineTemplate),
}

impl LineForm {
    /// The parser for the command line, which knows the formats' names.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        FormParser
    }

    /// What a look has of it.
    pub fn format(&self) -> Format {
        match self {
            LineForm::Format(format) => *format,
            LineForm::Template(_) => Format::Cat,
        }
    }
}

/// A whole line: text, and what stands for its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTemplate(Vec<Piece<Property>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    Time,
    Ring,
    Worker,
    Label,
    Stream,
    Level,
    Position,
    Text,
}

impl LineTemplate {
    fn parse(text: &str) -> Result<Self, String> {
        let properties = [
            ("time", Property::Time),
            ("ring", Property::Ring),
            ("worker", Property::Worker),
            ("label", Property::Label),
            ("stream", Property::Stream),
            ("level", Property::Level),
            ("position", Property::Position),
            ("text", Property::Text),
        ];
        pieces(text, &properties).map(Self)
    }

    /// Adds a line, or each line of several, to a page.
    pub fn fill(
        &self,
        page: &mut Page,
        look: &Look,
        clock: &mut Clock,
        (ring, name): (&str, &str),
        line: &Line<'_>,
    ) {
        for text in line.lines() {
            for piece in &self.0 {
                match piece {
                    Piece::Text(plain) => page.text.extend_from_slice(plain.as_bytes()),
                    Piece::Field(Property::Text) => page.whole_text(look, text),
                    Piece::Field(property) => {
                        let value = match property {
                            Property::Time => match line.time {
                                Some(time) => clock.text(time).to_owned(),
                                None => "-".to_owned(),
                            },
                            Property::Ring => ring.to_owned(),
                            Property::Worker => line.writer_id.to_string(),
                            Property::Label => name.to_owned(),
                            Property::Stream => stream_name(line.stream).to_owned(),
                            Property::Level => level_name(line.level).unwrap_or("-").to_owned(),
                            Property::Position => line.position.to_string(),
                            Property::Text => String::new(),
                        };
                        page.text.extend_from_slice(value.as_bytes());
                    }
                }
            }
            page.text.push(b'\n');
        }
    }
}

#[derive(Clone)]
struct FormParser;

impl TypedValueParser for FormParser {
    type Value = LineForm;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<LineForm, clap::Error> {
        let is_template = value.to_str().is_some_and(|text| text.contains(['{', '}']));
        if is_template {
            let parse = |text: String| LineTemplate::parse(&text);
            let template = clap::builder::StringValueParser::new().try_map(parse);
            return template.parse_ref(command, argument, value).map(LineForm::Template);
        }
        let format = clap::builder::EnumValueParser::<Format>::new();
        format.parse_ref(command, argument, value).map(LineForm::Format)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let formats = Format::value_variants().iter().filter_map(Format::to_possible_value);
        Some(Box::new(formats))
    }
}
