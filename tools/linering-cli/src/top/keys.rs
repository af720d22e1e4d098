//! What is typed. Its own, since a terminal that hangs up must end this, and not be asked again
//! and again.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Control and this letter.
    Control(char),
}

/// Takes keys out of bytes that a terminal sent in one read.
pub fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((key, length)) = first(bytes) {
        keys.extend(key);
        bytes = &bytes[length..];
    }
    keys
}

/// The first key, if this has one, and how many bytes it has.
fn first(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let byte = *bytes.first()?;
    Some(match byte {
        0x1b => match bytes.get(1) {
            Some(b'[' | b'O') => sequence(bytes),
            _ => (Some(Key::Escape), 1),
        },
        b'\r' | b'\n' => (Some(Key::Enter), 1),
        0x7f | 0x08 => (Some(Key::Backspace), 1),
        0..0x20 => (Some(Key::Control(char::from(byte | 0x60))), 1),
        _ => {
            let most = bytes.len().min(4);
            let whole = (1..=most).find_map(|length| {
                let text = std::str::from_utf8(&bytes[..length]).ok()?;
                Some((text.chars().next().map(Key::Char), length))
            });
            whole.unwrap_or((None, 1))
        }
    })
}

/// A key that is more than one byte: `ESC [`, numbers, and a byte that says which.
fn sequence(bytes: &[u8]) -> (Option<Key>, usize) {
    let rest = &bytes[2..];
    let Some(length) = rest.iter().position(|byte| (0x40..0x7f).contains(byte)) else {
        return (None, bytes.len());
    };
    let key = match (rest[length], rest.first()) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'H', _) | (b'~', Some(b'1' | b'7')) => Some(Key::Home),
        (b'F', _) | (b'~', Some(b'4' | b'8')) => Some(Key::End),
        (b'~', Some(b'5')) => Some(Key::PageUp),
        (b'~', Some(b'6')) => Some(Key::PageDown),
        _ => None,
    };
    (key, length + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_what_is_typed_and_nothing_else_is() {
        for (typed, expected) in [
            ("", vec![]),
            ("qä", vec![Key::Char('q'), Key::Char('ä')]),
            ("\x1b[A\x1bOB\x1b[5~\x1b[6~", vec![Key::Up, Key::Down, Key::PageUp, Key::PageDown]),
            ("\x1b[H\x1b[F\x1b[1~\x1b[4~", vec![Key::Home, Key::End, Key::Home, Key::End]),
            ("\x1b", vec![Key::Escape]),
            ("\x1b[200", vec![]),
            ("\x1b[1;5Cx\r", vec![Key::Char('x'), Key::Enter]),
            ("\x03\x1a\x7f", vec![Key::Control('c'), Key::Control('z'), Key::Backspace]),
        ] {
            assert_eq!(keys(typed.as_bytes()), expected, "{typed:?}");
        }
        assert_eq!(keys(b"\xff\xc3q"), [Key::Char('q')]);
    }
}
