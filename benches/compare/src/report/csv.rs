//! Raw values as comma-separated text, there and back, so that rows can be measured one after the other.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::LeftOut;
use crate::contender::Kind;
use crate::machine::Facts;
use crate::rounds::Value;

const HEAD: &str = "row,entry,kind,round,turn,figure,value";
const HEAD_FACTS: &str = "name,value";
const HEAD_LEFT_OUT: &str = "of,entry,why";

pub(super) fn write<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    let mut text = format!("{HEAD}\n");
    for v in values {
        let kind = match v.kind {
            Kind::Ours => "ours",
            Kind::Floor => "floor",
            Kind::Peer => "peer",
            Kind::Lesser => "lesser",
        };
        let (row, entry, figure) = (cell(&v.row), cell(&v.entry), cell(&v.figure));
        let _ = writeln!(text, "{row},{entry},{kind},{},{},{figure},{}", v.round, v.turn, v.value);
    }
    text
}

pub(super) fn read(text: &str) -> Result<Vec<Value>> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some(HEAD), "expected raw values headed {HEAD:?}, found something else");
    lines.map(|line| value(line).with_context(|| format!("raw value {line:?}"))).collect()
}

fn value(line: &str) -> Result<Value> {
    let cells = cells(line);
    let [row, entry, kind, round, turn, figure, value] = cells.as_slice() else {
        bail!("expected 7 cells, found {}", cells.len());
    };
    let kind = match kind.as_str() {
        "ours" => Kind::Ours,
        "floor" => Kind::Floor,
        "peer" => Kind::Peer,
        "lesser" => Kind::Lesser,
        other => bail!("expected ours, floor, peer or lesser, found {other:?}"),
    };
    Ok(Value {
        row: row.clone(),
        entry: entry.clone(),
        kind,
        round: round.parse()?,
        turn: turn.parse()?,
        figure: figure.clone(),
        value: value.parse()?,
    })
}

pub(super) fn write_left_out(left_out: &[LeftOut]) -> String {
    let mut text = format!("{HEAD_LEFT_OUT}\n");
    for one in left_out {
        let _ = writeln!(text, "{},{},{}", cell(&one.of), cell(&one.entry), cell(&one.why));
    }
    text
}

pub(super) fn read_left_out(text: &str) -> Result<Vec<LeftOut>> {
    let left_out = text.lines().skip(1).map(|line| {
        let mut cells = cells(line).into_iter();
        let mut next = || cells.next().with_context(|| format!("expected 3 cells, found {line:?}"));
        Ok(LeftOut { of: next()?, entry: next()?, why: next()? })
    });
    left_out.collect()
}

pub(super) fn write_facts(facts: &Facts) -> String {
    let mut text = format!("{HEAD_FACTS}\n");
    for (name, value) in facts {
        let _ = writeln!(text, "{},{}", cell(name), cell(value));
    }
    text
}

pub(super) fn read_facts(text: &str) -> Result<Facts> {
    let facts = text.lines().skip(1).map(|line| match cells(line).as_slice() {
        [name, value] => Ok((name.clone(), value.clone())),
        _ => bail!("expected 2 cells, found {line:?}"),
    });
    facts.collect()
}

fn cell(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let value = Value {
            row: "durable-1-256".into(),
            entry: "a \"name\", with all".into(),
            kind: Kind::Peer,
            round: 3,
            turn: 1,
            figure: "p99.9".into(),
            value: 12.5,
        };
        let text = write([&value, &value].into_iter());
        assert_eq!(read(&text).unwrap(), [value.clone(), value]);
    }

    #[test]
    fn reasons_come_back() {
        let one =
            LeftOut { of: "durable rows".into(), entry: "x".into(), why: "it said \"no\",\nand more".into() };
        let read = read_left_out(&write_left_out(std::slice::from_ref(&one))).unwrap();
        assert_eq!(read[0].why, "it said \"no\", and more");
        assert_eq!(read[0].of, one.of);
    }

    #[test]
    fn facts_come_back() {
        let facts = vec![("file system".to_owned(), "ext4 (rw,discard)".to_owned())];
        assert_eq!(read_facts(&write_facts(&facts)).unwrap(), facts);
    }

    #[test]
    fn something_else_is_refused() {
        assert!(read("a,b\n1,2\n").is_err());
        assert!(read(&format!("{HEAD}\nrow,entry,friend,0,0,rate,1\n")).is_err());
    }
}
