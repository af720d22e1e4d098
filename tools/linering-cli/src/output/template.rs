//! Templates, and what a line begins with.

/// What stands in a template: text, and what is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<F> {
    Text(String),
    Field(F),
}

/// Reads a template with these fields; the error says what was found and what was expected.
pub fn pieces<F: Copy>(text: &str, fields: &[(&str, F)]) -> Result<Vec<Piece<F>>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = match (brace, rest.split_once('}')) {
            ("{", Some(found)) => found,
            _ => {
                return Err(format!("found a lone {brace}, expected {brace}{brace} for one brace"));
            }
        };
        pieces.push(Piece::Text(core::mem::take(&mut plain)));
        let Some((_, field)) = fields.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = fields.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            let (last, others) = known.split_last().expect("a template has fields");
            return Err(format!("found {{{name}}}, expected {} or {last}", others.join(", ")));
        };
        pieces.push(Piece::Field(*field));
        rest = after;
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

/// A tag: text, and what stands for a worker's properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece<Property>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    Worker,
    Name,
    Stream,
    Process,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        let properties = [
            ("worker", Property::Worker),
            ("name", Property::Name),
            ("stream", Property::Stream),
            ("pid", Property::Process),
        ];
        pieces(text, &properties).map(Self)
    }

    /// The worker's name, in brackets: its number, if it was given none.
    pub fn of_worker() -> Self {
        let text = |text: &str| Piece::Text(text.to_owned());
        Self(vec![text("["), Piece::Field(Property::Name), text("] ")])
    }

    /// The tag of a worker's lines.
    pub fn fill(&self, worker: usize, name: &str, stream: &str, process: u32) -> String {
        let piece = |piece: &Piece<Property>| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(Property::Worker) => worker.to_string(),
            Piece::Field(Property::Name) => name.to_owned(),
            Piece::Field(Property::Stream) => stream.to_owned(),
            Piece::Field(Property::Process) => process.to_string(),
        };
        self.0.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        Template::parse(text).map(|template| template.fill(3, "web", "stderr", 77))
    }

    #[test]
    fn names_are_filled_in_and_doubled_braces_are_braces() {
        for (text, expected) in [
            ("", ""),
            ("[{worker}] ", "[3] "),
            ("{worker}{name}{stream}{pid}", "3webstderr77"),
            ("{{{worker}}}", "{3}"),
            ("{{worker}}", "{worker}"),
            ("ä{stream}ö", "ästderrö"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, expected) in [
            ("{", "found a lone {, expected {{ for one brace"),
            ("a}b", "found a lone }, expected }} for one brace"),
            ("{worker", "found a lone {, expected {{ for one brace"),
            ("{host}", "found {host}, expected {worker}, {name}, {stream} or {pid}"),
            ("{}", "found {}, expected {worker}, {name}, {stream} or {pid}"),
        ] {
            assert_eq!(filled(text), Err(expected.to_owned()), "{text}");
        }
    }
}
