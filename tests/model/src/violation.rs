//! A promise that was not kept.

use std::fmt;

/// What was promised, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// By its number in the list of promises, "P1".
    pub promise: &'static str,
    /// The life in which it was seen, from 0.
    pub life: usize,
    /// The operation, from 0; `None`: while the log was opened.
    pub op: Option<usize>,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in life {}", self.promise, self.life)?;
        match self.op {
            Some(op) => write!(f, ", operation {op}")?,
            None => write!(f, ", when it was opened")?,
        }
        write!(f, "\n  expected {}\n  found {}", self.expected, self.found)
    }
}

impl std::error::Error for Violation {}

/// A promise broken, before it is known where.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) promise: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Broken {
    pub(crate) fn new(promise: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Broken { promise, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn at(self, life: usize, op: Option<usize>) -> Violation {
        Violation { promise: self.promise, life, op, expected: self.expected, found: self.found }
    }
}
