//! The counts that were found good once, and what is held against them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::work::Count;

/// A count may grow by this share of the recorded one...
const GROWTH: f64 = 0.10;
/// ... and by this much, so that a single page fault in a region is no tenth of none.
const SLACK: f64 = 0.01;

pub(crate) type Key = (String, Count, String);

/// Where counts were made: some of them hold only on the same kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) architecture: String,
    pub(crate) file_system: String,
    /// The first two numbers.
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn here(place: &Place) -> Machine {
        Machine {
            architecture: std::env::consts::ARCH.to_owned(),
            file_system: place.file_system.clone(),
            kernel: place.kernel.split('.').take(2).collect::<Vec<_>>().join("."),
        }
    }

    /// What differs in a way that such a count depends on.
    pub(crate) fn differs(&self, other: &Machine, count: Count) -> Option<String> {
        let architecture = ("architecture", &self.architecture, &other.architecture);
        let file_system = ("file system", &self.file_system, &other.file_system);
        let kernel = ("kernel", &self.kernel, &other.kernel);
        let matters: &[_] = match count {
            Count::Instructions => &[architecture],
            Count::SystemCalls => &[file_system],
            Count::PageFaults | Count::Written => &[file_system, kernel],
            Count::Allocations | Count::Syncs | Count::HandedOver => &[],
        };
        let (what, here, there) = matters.iter().find(|(_, here, there)| here != there)?;
        Some(format!("{what} {here}, recorded on {there}"))
    }
}

/// The file: `work,count,per,value`, and a line on the machine.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) machine: Machine,
    pub(crate) values: BTreeMap<Key, f64>,
}

const HEAD: &str = "# machine: ";

impl Recorded {
    pub(crate) fn read(file: &Path) -> Result<Recorded> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let mut machine = None;
        let mut values = BTreeMap::new();
        for (n, line) in text.lines().enumerate() {
            let wrong = || format!("{}, line {}: expected other than {line:?}", file.display(), n + 1);
            if let Some(found) = line.strip_prefix(HEAD) {
                let fields: Vec<&str> = found.split(", ").collect();
                let [architecture, file_system, kernel] = fields[..] else { bail!(wrong()) };
                let [architecture, file_system, kernel] =
                    [architecture, file_system, kernel].map(str::to_owned);
                machine = Some(Machine { architecture, file_system, kernel });
            } else if !line.starts_with('#') && !line.starts_with("work,") {
                let fields: Vec<&str> = line.split(',').collect();
                let [work, count, per, value] = fields[..] else { bail!(wrong()) };
                let count = Count::from_name(count).with_context(wrong)?;
                values.insert((work.into(), count, per.into()), value.parse().with_context(wrong)?);
            }
        }
        let machine = machine.with_context(|| format!("{}: expected a line {HEAD}", file.display()))?;
        Ok(Recorded { machine, values })
    }

    /// In the order in which the rows are given.
    pub(crate) fn write(file: &Path, machine: &Machine, rows: &[(Key, f64)]) -> Result<()> {
        let Machine { architecture, file_system, kernel } = machine;
        let mut text = String::from("# Written by `cargo run --release -p stratalog-counted -- --record`.\n");
        writeln!(text, "{HEAD}{architecture}, {file_system}, {kernel}")?;
        text.push_str("work,count,per,value\n");
        for ((work, count, per), value) in rows {
            writeln!(text, "{work},{count},{per},{}", shown(*value))?;
        }
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

/// As it stands in the file and in the table: what is left out is below what repeats.
pub(crate) fn shown(value: f64) -> String {
    if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

pub(crate) fn has_grown(found: f64, recorded: f64) -> bool {
    found > recorded * (1.0 + GROWTH) + SLACK
}

/// Enough that the recorded value would hide the next growth.
pub(crate) fn has_shrunk(found: f64, recorded: f64) -> bool {
    found < recorded * (1.0 - GROWTH) - SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_may_be_added_and_no_more() {
        assert!(!has_grown(1_099.0, 1_000.0));
        assert!(has_grown(1_101.0, 1_000.0));
        assert!(!has_grown(0.005, 0.0));
        assert!(has_grown(1.0, 0.0));
        assert!(has_shrunk(880.0, 1_000.0) && !has_shrunk(920.0, 1_000.0));
    }

    #[test]
    fn what_is_written_is_read_back() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("recorded.csv");
        let machine =
            Machine { architecture: "x86_64".into(), file_system: "ext4".into(), kernel: "6.18".into() };
        let rows = [
            (("append".to_owned(), Count::SystemCalls, "commit".to_owned()), 2.0),
            (("append".to_owned(), Count::Instructions, "record".to_owned()), 1_234.4),
        ];
        Recorded::write(&file, &machine, &rows)?;
        let read = Recorded::read(&file)?;
        assert_eq!(read.machine, machine);
        assert_eq!(read.values.into_values().collect::<Vec<_>>(), [1_234.0, 2.0]);
        let other = Machine { kernel: "5.4".into(), ..machine.clone() };
        assert!(machine.differs(&other, Count::PageFaults).is_some());
        assert!(machine.differs(&other, Count::Instructions).is_none());
        Ok(())
    }
}
