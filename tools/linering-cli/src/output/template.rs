//! What a line begins with.

/// A tag: text, and what stands for a worker's properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Worker,
    Name,
    Stream,
    Process,
}

impl Template {
    /// Reads a template; the error says what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
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
                    return Err(format!(
                        "found a lone {brace}, expected {brace}{brace} for one brace"
                    ));
                }
            };
            pieces.push(Piece::Text(core::mem::take(&mut plain)));
            pieces.push(match name {
                "worker" => Piece::Worker,
                "name" => Piece::Name,
                "stream" => Piece::Stream,
                "pid" => Piece::Process,
                _ => {
                    return Err(format!(
                        "found {{{name}}}, expected {{worker}}, {{name}}, {{stream}} or {{pid}}"
                    ));
                }
            });
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    /// The worker's name, in brackets: its number, if it was given none.
    pub fn of_worker() -> Self {
        Self(vec![Piece::Text("[".to_owned()), Piece::Name, Piece::Text("] ".to_owned())])
    }

    /// The tag of a worker's lines.
    pub fn fill(&self, worker: usize, name: &str, stream: &str, process: u32) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Worker => worker.to_string(),
            Piece::Name => name.to_owned(),
            Piece::Stream => stream.to_owned(),
            Piece::Process => process.to_string(),
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
