//! Bars with whiskers, as SVG: the median of each entry and the spread over the rounds. A panel per row,
//! each on its own scale from zero.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::judged::{entries, of_rounds};
use super::page::number;
use crate::contender::Kind;
use crate::rounds::Value;
use crate::row::{Better, Spec};
use crate::statistics::Spread;

const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const PANEL_HEAD: f64 = 34.0;
const LABELS: f64 = 320.0;
const BARS: f64 = 360.0;
const WIDTH: f64 = 800.0;

/// Rows that are drawn into one picture.
pub(super) struct Group<'a> {
    pub(super) name: String,
    pub(super) title: String,
    rows: Vec<&'a Spec>,
}

/// Rows whose names differ only in a size at the end belong together.
pub(super) fn groups(rows: &[Spec]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        let sized = row.name.rsplit_once('-').filter(|(_, size)| size.parse::<u32>().is_ok());
        let name = sized.map_or(row.name.as_str(), |(name, _)| name);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.rows.push(row),
            None => {
                let title = match (sized, row.title.rsplit_once(", ")) {
                    (Some(_), Some((title, _))) => title.to_owned(),
                    _ => row.title.clone(),
                };
                groups.push(Group { name: name.to_owned(), title, rows: vec![row] });
            }
        }
    }
    groups
}

/// `None` if nothing of it was measured.
pub(super) fn draw(group: &Group<'_>, values: &BTreeMap<String, Vec<Value>>) -> Option<String> {
    let mut panels = String::new();
    let mut top = 10.0;
    for row in &group.rows {
        let Some(measured) = values.get(&row.name) else { continue };
        top += panel(&mut panels, top, row, measured);
    }
    if panels.is_empty() {
        return None;
    }
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" \
         viewBox=\"0 0 {WIDTH} {top}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"white\"/>\n"
    );
    Some(format!("{head}{panels}</svg>\n"))
}

/// Returns its height.
fn panel(out: &mut String, top: f64, row: &Spec, values: &[Value]) -> f64 {
    let Some(figure) = row.figures.first() else { return 0.0 };
    let spread = |entry: &str| {
        let measured: Vec<f64> = of_rounds(values, entry, figure.name).into_iter().flatten().collect();
        Spread::of(&measured)
    };
    let bars: Vec<(String, Kind, Spread)> = entries(values)
        .into_iter()
        .filter_map(|(name, kind)| spread(&name).map(|spread| (name, kind, spread)))
        .collect();
    let most = bars.iter().map(|(_, _, spread)| spread.most).fold(0.0, f64::max);
    let better = if figure.better == Better::Higher { "more" } else { "less" };
    let title = escaped(&format!("{} ({}, {better} is better)", row.title, figure.unit));
    let _ = writeln!(out, "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{title}</text>", top + 16.0);
    for (index, (name, kind, spread)) in bars.iter().enumerate() {
        let y = top + PANEL_HEAD + index as f64 * STEP - 6.0;
        let x = |value: f64| LABELS + if most > 0.0 { value / most * BARS } else { 0.0 };
        let color = match kind {
            Kind::Ours => "#1f5fa8",
            Kind::Floor => "#9aa0a6",
            Kind::Peer => "#e0a03a",
            Kind::Lesser => "#f1dcb4",
        };
        let (middle, text) = (y + BAR / 2.0, y + BAR - 4.0);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>",
            LABELS - 8.0,
            escaped(name),
            x(spread.median) - LABELS,
            x(spread.least),
            x(spread.most),
            x(spread.most) + 8.0,
            number(spread.median),
        );
    }
    PANEL_HEAD + bars.len() as f64 * STEP + 6.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RATE;

    fn spec(name: &str, title: &str) -> Spec {
        Spec {
            name: name.into(),
            title: title.into(),
            figures: vec![RATE],
            goals: Vec::new(),
            build: Box::new(|_| Ok(Vec::new())),
        }
    }

    #[test]
    fn sizes_of_one_row_share_a_picture() {
        let rows = [spec("a-1-256", "a, 1, 256 B"), spec("a-1-2048", "a, 1, 2 KiB"), spec("b", "b, c")];
        let groups = groups(&rows);
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].name.as_str(), groups[0].title.as_str()), ("a-1", "a, 1"));
        assert_eq!(groups[1].title, "b, c");
    }

    #[test]
    fn a_picture_shows_every_entry_and_escapes() {
        let rows = [spec("a", "less < more")];
        let value = |entry: &str, value: f64| Value {
            row: "a".into(),
            entry: entry.into(),
            kind: Kind::Peer,
            round: 0,
            turn: 0,
            figure: "rate".into(),
            value,
        };
        let values = BTreeMap::from([("a".to_owned(), vec![value("x", 1.0), value("y & z", 0.0)])]);
        let picture = draw(&groups(&rows)[0], &values).unwrap();
        assert!(picture.contains("less &lt; more") && picture.contains("y &amp; z"));
        assert_eq!(picture.matches("<rect").count(), 3);
        assert!(draw(&groups(&rows)[0], &BTreeMap::new()).is_none());
    }
}
