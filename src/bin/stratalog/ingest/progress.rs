//! A progress bar, where somebody looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How far an ingest has come.
pub(crate) struct Progress {
    read_bytes: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `total_bytes` is `None` where the end of the input is not known.
    pub(crate) fn new(read_bytes: Arc<AtomicU64>, total_bytes: Option<u64>) -> Self {
        let bar = output::on_terminal().then(|| {
            let (bar, template) = match total_bytes {
                Some(total) => (
                    ProgressBar::new(total),
                    "{bar:30} {bytes}/{total_bytes} {msg} records acknowledged, {eta} left",
                ),
                None => (ProgressBar::no_length(), "{spinner} {bytes} {msg} records acknowledged, {elapsed}"),
            };
            bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
            bar.set_message("0");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { read_bytes, bar }
    }

    /// More was read.
    pub(crate) fn read(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.read_bytes.load(Ordering::Relaxed));
        }
    }

    /// So many records are acknowledged by now.
    pub(crate) fn acked(&self, records: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(output::count(records));
        }
    }

    /// Takes the bar away: what follows is text.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
