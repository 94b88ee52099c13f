//! The report as a page that needs nothing but itself.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::figures::{Figure, Latency, Report, Side, shown_micros, shown_rate};
use super::{plots, tell, verdict};
use crate::failure::CliError;

const STYLE: &str = "\
:root{--ink:#1b1f24;--soft:#66707c;--line:#d8dde3;--back:#fff;--log:#0b63c4;--floor:#8a939d}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#98a2ad;--line:#343b43;--back:#14171b;--log:#6cb0ff;--floor:#8a939d}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}.soft,figcaption{color:var(--soft)}\
.verdict{border-left:4px solid var(--log);padding:.3rem 0 .3rem 1rem;font-size:1.1rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}td.words,th.words{text-align:left;white-space:normal}\
figure{margin:1rem 0}svg{width:100%;height:auto}svg text{fill:var(--ink);font-size:12px}\
svg .scale{stroke:var(--line)}svg .one{stroke:var(--soft)}svg .log{stroke:var(--log);fill:var(--log)}\
svg .floor{stroke:var(--floor);fill:var(--floor)}svg text.soft{fill:var(--soft)}svg text.end{text-anchor:end}\
svg text.middle{text-anchor:middle}";

/// A file that can be written, known before a minute is spent.
#[derive(Debug)]
pub(super) struct Page {
    path: PathBuf,
    file: File,
    /// It was not there before: if nothing comes of it, it goes again.
    new: bool,
}

impl Page {
    pub(super) fn open(path: PathBuf) -> Result<Page, CliError> {
        let (opened, new) = match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (File::options().write(true).open(&path), false)
            }
            made => (made, true),
        };
        let file = opened.map_err(|error| CliError::io("open for --html", &path, &error))?;
        Ok(Page { path, file, new })
    }

    /// Replaces what was there.
    pub(super) fn write(mut self, page: &str) -> Result<(), CliError> {
        let regular = self.file.metadata().is_ok_and(|known| known.is_file());
        let cut = if regular { self.file.set_len(0) } else { Ok(()) };
        cut.and_then(|()| self.file.write_all(page.as_bytes()))
            .map_err(|error| CliError::io("write", &self.path, &error))?;
        self.new = false;
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.new {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Text as it may stand between tags and in quotes.
pub(super) fn escaped(text: impl Display) -> String {
    let mut safe = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

pub(super) fn page(report: &Report) -> String {
    let machine = &report.machine;
    let notes: String = report.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul class=\"soft\">{notes}</ul>\n") };
    let title = escaped(format!("stratalog bench: {}", machine.place()));
    let facts: String = [
        format!("stratalog {}, {}", report.stratalog, machine.measured_at),
        machine.hardware(),
        report.rounds_and_time(),
    ]
    .iter()
    .map(|fact| format!("<br/>{}", escaped(fact)))
    .collect();
    let verdict = escaped(&report.verdict.words);
    let sections = [
        ("The log beside the floor", plots::ratios(&report.figures)),
        ("Rates", rates(report)),
        ("Latency", plots::latencies(&report.figures)),
        ("Latency, microseconds", latencies(report)),
        ("What limits each", limits(report)),
        ("What was done", works(report)),
    ];
    let sections: String =
        sections.iter().map(|(head, body)| format!("<h2>{}</h2>\n{body}\n", escaped(head))).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"soft\">{}</p>\n<p class=\"verdict\">{verdict}</p>\n{notes}{sections}\
         </body>\n</html>\n",
        facts.trim_start_matches("<br/>")
    )
}

/// A table; the columns from `words` on hold text.
fn table(head: &[&str], words: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    let row = |tag: &str, cells: &mut dyn Iterator<Item = String>| {
        let cells = cells.enumerate().map(|(k, cell)| {
            let class = if k >= words { " class=\"words\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escaped(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = row("th", &mut head.iter().map(ToString::to_string));
    let rows: String = rows.map(|cells| row("td", &mut cells.into_iter())).collect();
    format!("<div class=\"wide\"><table>\n<thead>{head}</thead>\n<tbody>{rows}</tbody>\n</table></div>")
}

fn rates(report: &Report) -> String {
    let rate = |side: Option<&Side>| side.map_or("-".into(), |side| shown_rate(side.per_second.median));
    let mib = |side: Option<&Side>| {
        side.and_then(|side| side.mib_per_second).map_or("-".into(), |mib| format!("{mib:.0}"))
    };
    let per_sync = |side: &Side| side.records_per_sync.map_or("-".into(), |records| format!("{records:.1}"));
    let rows = report.figures.iter().map(|figure| {
        let (floor, log) = (figure.floor.as_ref(), &figure.log);
        vec![
            figure.title.clone(),
            rate(floor),
            rate(Some(log)),
            mib(floor),
            mib(Some(log)),
            figure.ratio.map_or("-".into(), |ratio| format!("{:.2}", ratio.median)),
            figure.ratio.map_or("-".into(), tell::shown_rounds),
            per_sync(log),
            verdict::percent(log.cpu_share),
        ]
    });
    let head = [
        "",
        "floor/s",
        "log/s",
        "floor MiB/s",
        "log MiB/s",
        "ratio",
        "of rounds",
        "records per sync",
        "cores busy",
    ];
    table(&head, head.len(), rows)
}

fn latencies(report: &Report) -> String {
    let row = |title: &str, side: &str, latency: &Latency| {
        let count = crate::output::count(latency.count);
        let mut cells = vec![title.to_owned(), side.to_owned(), count];
        cells.extend(latency.all().map(shown_micros));
        cells
    };
    let rows = report.figures.iter().flat_map(|figure| {
        let floor = figure.floor.as_ref().and_then(|floor| floor.latency);
        let floor = floor.map(|latency| row(&figure.title, "floor", &latency));
        let log = figure.log.latency.map(|latency| row(&figure.title, "log", &latency));
        [floor, log].into_iter().flatten()
    });
    let head = ["", "", "timed", "p50", "p90", "p99", "p99.9", "max"];
    table(&head, head.len(), rows)
}

fn limits(report: &Report) -> String {
    let rows = report.figures.iter().filter_map(|figure| {
        Some(vec![figure.title.clone(), figure.limit?.words().to_owned(), figure.why.clone()?])
    });
    table(&["", "limited by", "by these numbers"], 1, rows)
}

fn works(report: &Report) -> String {
    let rows = report.figures.iter().map(|figure: &Figure| {
        let floor = figure.floor.as_ref().map_or("-", |floor| floor.what.as_str());
        vec![figure.title.clone(), floor.to_owned(), figure.log.what.clone()]
    });
    let note = "<p class=\"soft\">Floor and log take turns. A ratio is that of one round; told are the median \
                and the range of all rounds, and the latencies of all rounds together. Of unsynced appends and \
                point reads one in 16 is timed.</p>";
    format!("{}\n{note}", table(&["", "the floor", "the log"], 1, rows))
}
