//! Pictures of the figures, as SVG that takes its colours from the page.

use super::figures::{Figure, Latency};
use super::html::escaped;
use crate::output;

const WIDTH: f64 = 900.0;
/// Where the names end and the picture begins.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 36.0;
const ROW: f64 = 26.0;
const FOOT: f64 = 24.0;

/// Logarithmic, over whole powers of its base.
struct Axis {
    base: f64,
    from: i32,
    to: i32,
}

impl Axis {
    fn over(base: f64, values: impl Iterator<Item = f64>) -> Axis {
        let powers = values.filter(|value| *value > 0.0).map(|value| value.log(base));
        let (least, most) =
            powers.fold((0.0, 0.0), |(least, most): (f64, f64), power| (least.min(power), most.max(power)));
        let (from, to) = (least.floor() as i32, most.ceil() as i32);
        Axis { base, from, to: to.max(from + 1) }
    }

    fn x(&self, value: f64) -> f64 {
        let power = value.max(1e-9).log(self.base).clamp(f64::from(self.from), f64::from(self.to));
        let share = (power - f64::from(self.from)) / f64::from(self.to - self.from);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    /// Lines and their numbers, over so many rows.
    fn drawn(&self, rows: usize) -> String {
        let height = rows as f64 * ROW;
        let line = |power: i32| {
            let value = self.base.powi(power);
            let shown = if value < 1e3 { value.to_string() } else { output::count(value as u64) };
            let (x, class) = (self.x(value), if power == 0 { "one" } else { "scale" });
            format!(
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.1}\"/>\
                 <text class=\"soft middle\" x=\"{x:.1}\" y=\"{:.1}\">{shown}</text>\n",
                height + 16.0
            )
        };
        (self.from..=self.to).map(line).collect()
    }
}

fn drawing(rows: usize, label: &str, body: &str, caption: &str) -> String {
    let height = rows as f64 * ROW + FOOT;
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>\n\
         <figcaption>{}</figcaption></figure>",
        escaped(label),
        escaped(caption)
    )
}

fn name(title: &str, y: f64) -> String {
    format!("<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", LEFT - 12.0, y + 4.0, escaped(title))
}

fn line(class: &str, from: f64, to: f64, y: f64) -> String {
    format!(
        "<line class=\"{class}\" stroke-width=\"2\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
    )
}

fn dot(class: &str, x: f64, y: f64, radius: f64, said: &str) -> String {
    format!(
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{}</title></circle>",
        escaped(said)
    )
}

/// The log's rate by the floor's: median and range of the rounds.
pub(super) fn ratios(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures.iter().filter_map(|figure| Some((figure, figure.ratio?))).collect();
    // From half to twice at least, so that a hair's breadth looks like one.
    let values = rows.iter().flat_map(|(_, ratio)| [ratio.least, ratio.most]).chain([0.5, 2.0]);
    let axis = Axis::over(2.0, values);
    let mut body = axis.drawn(rows.len());
    for (k, (figure, ratio)) in rows.iter().enumerate() {
        let y = (k as f64 + 0.5) * ROW;
        let said = format!("{:.2}, of rounds {:.2} to {:.2}", ratio.median, ratio.least, ratio.most);
        body.push_str(&name(&figure.title, y));
        body.push_str(&line("log", axis.x(ratio.least), axis.x(ratio.most), y));
        body.push_str(&dot("log", axis.x(ratio.median), y, 5.0, &said));
        body.push('\n');
    }
    let caption =
        "Times the floor's rate; 1 is the floor. The dot is the median, the line the range of the rounds.";
    drawing(rows.len(), "ratio of log and floor", &body, caption)
}

/// p50 to the longest, of floor and log.
pub(super) fn latencies(figures: &[Figure]) -> String {
    let sides = |figure: &Figure| {
        let floor = figure.floor.as_ref().and_then(|floor| floor.latency);
        [("floor", floor), ("log", figure.log.latency)]
    };
    let rows: Vec<&Figure> = figures.iter().filter(|figure| figure.log.latency.is_some()).collect();
    let values = rows.iter().flat_map(|figure| sides(figure)).filter_map(|(_, latency)| latency);
    let axis = Axis::over(10.0, values.flat_map(|latency| latency.all()));
    let mut body = axis.drawn(rows.len());
    for (k, figure) in rows.iter().enumerate() {
        let middle = (k as f64 + 0.5) * ROW;
        body.push_str(&name(&figure.title, middle));
        for (class, latency) in sides(figure) {
            let y = middle + if class == "floor" { -5.0 } else { 5.0 };
            latency.iter().for_each(|latency| body.push_str(&range(&axis, class, latency, y)));
        }
        body.push('\n');
    }
    let caption =
        "Microseconds. From left to right: p50 (large), p90, p99, p99.9, the longest. Grey is the floor.";
    drawing(rows.len(), "latencies of log and floor", &body, caption)
}

fn range(axis: &Axis, class: &str, latency: &Latency, y: f64) -> String {
    let names = ["p50", "p90", "p99", "p99.9", "max"];
    let mut drawn = line(class, axis.x(latency.p50_micros), axis.x(latency.max_micros), y);
    for (k, (name, micros)) in names.iter().zip(latency.all()).enumerate() {
        let radius = if k == 0 { 4.5 } else { 2.5 };
        drawn.push_str(&dot(class, axis.x(micros), y, radius, &format!("{class} {name}: {micros:.2} us")));
    }
    drawn
}
