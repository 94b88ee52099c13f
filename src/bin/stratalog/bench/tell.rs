//! The report as text.

use super::figures::{Figure, Report, Spread, shown_micros, shown_rate};
use crate::failure::CliError;
use crate::output::Output;

pub(super) fn report(report: &Report, out: &mut Output) -> Result<(), CliError> {
    let machine = &report.machine;
    out.line(format!("{:<13}{}", "measured in", machine.place()))?;
    out.line(format!("{:<13}{}", "on", machine.hardware()))?;
    out.line(format!("{:<13}{}", "", report.rounds_and_time()))?;
    out.line("")?;
    out.line(format!(
        "{:<26}{:>13}{:>13}{:>7}{:>17}   limited by",
        "a second", "floor", "log", "ratio", "of rounds"
    ))?;
    for figure in &report.figures {
        out.line(rates(figure))?;
    }
    out.line("")?;
    out.line(format!(
        "{:<26}{:>6}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "microseconds", "", "p50", "p90", "p99", "p99.9", "max"
    ))?;
    for figure in &report.figures {
        for line in latencies(figure) {
            out.line(line)?;
        }
    }
    out.line("")?;
    out.line(&report.verdict.words)?;
    out.line("")?;
    for figure in &report.figures {
        if let (Some(limit), Some(why)) = (figure.limit, &figure.why) {
            out.line(format!("{}: {}: {why}", figure.title, limit.words()))?;
        }
    }
    if !report.notes.is_empty() {
        out.line("")?;
    }
    report.notes.iter().try_for_each(|note| out.line(format!("note: {note}")))
}

fn rates(figure: &Figure) -> String {
    let floor = figure.floor.as_ref().map_or("-".to_owned(), |floor| shown_rate(floor.per_second.median));
    let ratio = figure.ratio.map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median));
    let rounds = figure.ratio.map_or(String::new(), shown_rounds);
    let limit = figure.limit.map_or("", |limit| limit.words());
    let log = shown_rate(figure.log.per_second.median);
    format!("{:<26}{floor:>13}{log:>13}{ratio:>7}{rounds:>17}   {limit}", figure.title).trim_end().to_owned()
}

pub(super) fn shown_rounds(spread: Spread) -> String {
    format!("{:.2} to {:.2}", spread.least, spread.most)
}

fn latencies(figure: &Figure) -> Vec<String> {
    let floor = figure.floor.as_ref().and_then(|floor| floor.latency).map(|latency| ("floor", latency));
    let sides = [floor, figure.log.latency.map(|latency| ("log", latency))];
    let mut lines = Vec::new();
    for (side, latency) in sides.into_iter().flatten() {
        let title = if lines.is_empty() { figure.title.as_str() } else { "" };
        let shown: String =
            latency.all().iter().map(|micros| format!("{:>12}", shown_micros(*micros))).collect();
        lines.push(format!("{title:<26}{side:>6}{shown}"));
    }
    lines
}
