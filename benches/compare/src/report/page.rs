//! The page: goals first, then everything that was measured, losses as well as wins.

use std::fmt::Write;
use std::sync::Arc;

use super::Results;
use super::judged::{Judged, entries, judge, of_rounds};
use crate::contender::{Contender, Kind};
use crate::machine;
use crate::rounds::Value;
use crate::row::{Bar, Spec};
use crate::statistics::Spread;

const METHOD: &str = "\
Within a round everyone runs once, beginning with another one each time; ratios are taken within a round, \
and what is shown is the median of the rounds with the least and the most. Appends are measured for a fixed \
time, not a fixed amount: the slowest is a hundred times slower than the fastest. Everyone writes the same \
random records, into an empty directory, with its own checksums on, and is brought to its steady state \
first. What was appended is read back, counted and compared by checksums in the first round of every row of \
appends.

That everyone syncs before it acknowledges is checked: a child process appends with four producers under \
`strace`, which has to show a whole fsync, fdatasync, synchronous msync or write into a file opened with \
O_SYNC or O_DSYNC between the begin and the return of every append. Who fails is left out of durable rows. \
The check does not see what was synced, only that and when.
";

pub(super) fn write(
    rows: &[Spec],
    contenders: &[Arc<dyn Contender>],
    results: &Results,
    drawn: &[(String, String)],
) -> String {
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `cargo run --release -p stratalog-compare`; not by hand. What is aimed for \
         and what is reached, beside hand-written floors, which do the least that disk and kernel ask for, and \
         beside other logs and stores.\n\n## How it is measured\n\n",
    );
    page.push_str(METHOD);
    machine_section(&mut page, results);
    goals_section(&mut page, rows, results);
    if !drawn.is_empty() {
        page.push_str("\n## Plots\n\n");
        for (title, file) in drawn {
            let _ = writeln!(page, "![{title}]({file})\n");
        }
    }
    rows_section(&mut page, rows, results);
    contenders_section(&mut page, contenders, results);
    page
}

fn machine_section(page: &mut String, results: &Results) {
    page.push_str("\n## Measured on\n\n");
    if results.facts.is_empty() {
        page.push_str("Nothing yet.\n");
        return;
    }
    page.push_str("| | |\n|---|---|\n");
    for (name, value) in &results.facts {
        let _ = writeln!(page, "| {name} | {value} |");
    }
}

fn goals_section(page: &mut String, rows: &[Spec], results: &Results) {
    page.push_str("\n## Goals\n\n| row | | target | reached | least..most | |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let values = results.values.get(&row.name).map_or(&[][..], Vec::as_slice);
        for goal in &row.goals {
            let judged = judge(row, goal, values);
            let _ = writeln!(page, "{}", goal_line(&row.title, &judged));
        }
    }
}

fn goal_line(title: &str, judged: &Judged) -> String {
    let bar = match judged.bar {
        Bar::AtLeast(bar) => format!("at least {bar}"),
        Bar::AtMost(bar) => format!("at most {bar}"),
        Bar::Shown => "none".to_owned(),
    };
    let (median, spread) = match judged.reached {
        Some(of) => (number(of.median), format!("{}..{}", number(of.least), number(of.most))),
        None => (String::new(), String::new()),
    };
    format!("| {title} | {} | {bar} | {median} | {spread} | {} |", judged.what, judged.verdict())
}

fn rows_section(page: &mut String, rows: &[Spec], results: &Results) {
    page.push_str("\n## All figures\n");
    for row in rows {
        let Some(values) = results.values.get(&row.name) else { continue };
        let _ = writeln!(page, "\n### {}\n\n`--only {}`\n", row.title, row.name);
        let heads: Vec<String> = row.figures.iter().map(|f| format!("{}, {}", f.name, f.unit)).collect();
        let _ = writeln!(page, "| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
        for (entry, kind) in entries(values) {
            let cells: Vec<String> = row.figures.iter().map(|f| cell(values, &entry, f.name)).collect();
            let name = match kind {
                Kind::Ours => format!("**{entry}**"),
                Kind::Lesser => format!("{entry} (does not verify)"),
                Kind::Floor | Kind::Peer => entry,
            };
            let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
        }
        for one in results.left_out.iter().filter(|one| one.of == row.name) {
            let _ = writeln!(page, "\nLeft out: {}: {}", one.entry, one.why);
        }
    }
    if results.values.is_empty() {
        page.push_str("\nNothing yet.\n");
    }
}

fn cell(values: &[Value], entry: &str, figure: &str) -> String {
    let measured: Vec<f64> = of_rounds(values, entry, figure).into_iter().flatten().collect();
    match Spread::of(&measured) {
        Some(of) if of.least == of.most => number(of.median),
        Some(of) => format!("{} ({}..{})", number(of.median), number(of.least), number(of.most)),
        None => String::new(),
    }
}

fn contenders_section(page: &mut String, contenders: &[Arc<dyn Contender>], results: &Results) {
    page.push_str("\n## Who takes part, and how it is used\n\n| | version | |\n|---|---|---|\n");
    for one in contenders {
        let version = one.package().and_then(machine::version).unwrap_or("");
        let _ = writeln!(page, "| {} | {version} | {} |", one.name(), one.how());
    }
    for one in results.left_out.iter().filter(|one| one.of.contains(" rows")) {
        let _ = writeln!(page, "\nLeft out of {}: {}: {}", one.of, one.entry, one.why);
    }
}

/// Three digits that matter, or all before the point.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            let left = digits.len() - index;
            if index > 0 && left % 3 == 0 && !grouped.ends_with('-') {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 || size == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{RATE, at_least_of_floor};

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> =
            [1_234_567.8, 999.6, 123.4, 12.34, 1.234, 0.0, 0.001_23, -1_234.0].map(number).to_vec();
        assert_eq!(shown, ["1,234,568", "1,000", "123", "12.3", "1.23", "0.00", "0.0012", "-1,234"]);
    }

    fn page_of(values: &[(&str, Kind, f64)]) -> String {
        let spec = Spec {
            name: "row".into(),
            title: "some work".into(),
            figures: vec![RATE],
            goals: vec![at_least_of_floor("floor", 0.95)],
            build: Box::new(|_| Ok(Vec::new())),
        };
        let mut results = Results::default();
        let value = |(turn, (entry, kind, value)): (usize, &(&str, Kind, f64))| Value {
            row: "row".into(),
            entry: (*entry).into(),
            kind: *kind,
            round: 0,
            turn,
            figure: "rate".into(),
            value: *value,
        };
        if !values.is_empty() {
            results.add("row", values.iter().enumerate().map(value).collect());
        }
        write(&[spec], &[], &results, &[])
    }

    #[test]
    fn a_loss_is_shown_as_plainly_as_a_win() {
        let page = page_of(&[("stratalog", Kind::Ours, 900.0), ("floor", Kind::Floor, 1_000.0)]);
        assert!(
            page.contains(
                "| some work | stratalog / floor, rate | at least 0.95 | 0.90 | 0.90..0.90 | **missed** |"
            ),
            "{page}"
        );
        assert!(page.contains("| **stratalog** | 900 |\n| floor | 1,000 |"), "{page}");
    }

    #[test]
    fn a_page_without_figures_lists_the_goals() {
        let page = page_of(&[]);
        assert!(
            page.contains("| some work | stratalog / floor, rate | at least 0.95 |  |  | not measured |"),
            "{page}"
        );
    }
}
