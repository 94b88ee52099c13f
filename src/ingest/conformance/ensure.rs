//! How a check says what is wrong.

use std::error::Error as StdError;

use crate::error::{Error, Result};

/// Ends the check unless this holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+).into());
        }
    };
}

/// Ends the check unless what was found is what was expected.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($text:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if *found != *expected {
                    let what = format!($($text)+);
                    return Err(format!("{what}: expected {expected:?}, found {found:?}").into());
                }
            }
        }
    };
}

pub(super) use {ensure, ensure_eq};

/// The error of a call that must fail.
pub(super) fn refused<T: std::fmt::Debug>(
    outcome: Result<T>,
    what: &str,
) -> Result<Error, Box<dyn StdError + Send + Sync>> {
    match outcome {
        Ok(found) => Err(format!("{what}: expected an error, found {found:?}").into()),
        Err(error) => Ok(error),
    }
}

/// Ends the check unless the call fails with an error of this shape.
macro_rules! ensure_refused {
    ($outcome:expr, $shape:pat $(if $guard:expr)?, $($text:tt)+) => {{
        let what = format!($($text)+);
        match $crate::ingest::conformance::ensure::refused($outcome, &what)? {
            $shape $(if $guard)? => {}
            other => {
                let expected = stringify!($shape);
                return Err(format!("{what}: expected {expected}, found {other:?} ({other})").into());
            }
        }
    }};
}

pub(super) use ensure_refused;
