//! Times on the command line: `200ms`, `2s`.

use std::time::Duration;

/// A time above zero.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time above zero, as in 200ms or 2s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(split);
    let number: u32 = number.parse().map_err(|_| expected())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        _ => return Err(expected()),
    };
    match u64::from(number) * millis {
        0 => Err(expected()),
        millis => Ok(Duration::from_millis(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("4294967295s"), Ok(Duration::from_secs(4_294_967_295)));
        for wrong in ["", "1", "s", "0ms", "-1s", "1.5s", "1 s", "4294967296ms", "1m"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
