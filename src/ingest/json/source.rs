//! The line being read, and what is wrong with which part of it.

use std::fmt;

use serde::Deserialize;

use super::JsonError;

/// An error shows that much of what it found.
const EXCERPT_CHARS: usize = 40;

/// What of a line an error is about.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Field(&'static str),
    Key(&'a str),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Field(name) => f.write_str(name),
            Name::Key(key) => write!(f, "metadata {key:?}"),
        }
    }
}

/// A line. All raw values are parts of it, which tells their columns.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(line: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let at = error.valid_up_to();
            let found = line.get(at).copied().unwrap_or_default();
            JsonError::new(Some(at + 1), format!("line: expected UTF-8, found byte {found:#04x}"))
        })?;
        Ok(Source { text })
    }

    pub(super) fn text(self) -> &'a str {
        self.text
    }

    /// `part` as an object of known fields.
    pub(super) fn object<T: Deserialize<'a>>(self, part: &'a str, name: Name<'_>) -> Result<T, JsonError> {
        // Without this, a list of the fields' values would pass for an object.
        if !part.trim_ascii_start().starts_with('{') {
            return Err(self.wrong(name, "an object", part));
        }
        self.parse(part, name)
    }

    /// `part` as whatever is asked for.
    pub(super) fn parse<T: Deserialize<'a>>(self, part: &'a str, name: Name<'_>) -> Result<T, JsonError> {
        serde_json::from_str(part).map_err(|error| self.syntax(part, name, &error))
    }

    /// A string. Only an escape that makes no character can be wrong in one that was found to
    /// be valid JSON.
    pub(super) fn string(self, part: &str, name: Name<'_>) -> Result<String, JsonError> {
        if !part.starts_with('"') {
            return Err(self.wrong(name, "a string", part));
        }
        serde_json::from_str(part)
            .map_err(|_| self.wrong(name, "a string without half surrogate pairs", part))
    }

    /// An error about `part`.
    #[cold]
    pub(super) fn wrong(self, name: Name<'_>, expected: &str, part: &str) -> JsonError {
        let message = format!("{name}: expected {expected}, found {}", excerpt(part));
        JsonError::new(Some(self.start(part) + 1), message)
    }

    /// An error about `part` that says by itself what was expected and found.
    #[cold]
    pub(super) fn about(self, name: Name<'_>, error: &dyn fmt::Display, part: &str) -> JsonError {
        JsonError::new(Some(self.start(part) + 1), format!("{name}: {error}"))
    }

    #[cold]
    fn syntax(self, part: &str, name: Name<'_>, error: &serde_json::Error) -> JsonError {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let lines_before = part.split_inclusive('\n').take(error.line().saturating_sub(1));
        let column = (lines_before.map(str::len).sum::<usize>() + error.column()).max(1);
        let near = excerpt(part.get(column - 1..).unwrap_or_default());
        JsonError::new(Some(self.start(part) + column), format!("{name}: {message}, at {near}"))
    }

    /// Bytes of the line before `part`.
    fn start(self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }
}

fn excerpt(part: &str) -> String {
    let part = part.trim_ascii();
    match part.char_indices().nth(EXCERPT_CHARS) {
        None if part.is_empty() => "the end".to_owned(),
        None => part.to_owned(),
        Some((end, _)) => format!("{}...", part.get(..end).unwrap_or_default()),
    }
}
