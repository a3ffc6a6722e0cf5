//! One line per study: bars that change in place on a terminal, otherwise a line per change.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::cases::DemoStudy;

const TICK: Duration = Duration::from_millis(120);

pub(super) struct Board {
    lines: Vec<Line>,
}

struct Line {
    title: String,
    /// Absent where there is no terminal.
    bar: Option<ProgressBar>,
}

impl Board {
    pub(super) fn new(studies: &[DemoStudy]) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let line = |study: &DemoStudy| Line {
            title: study.title.clone(),
            bar: bars.as_ref().map(|bars| start(bars.add(bar(&study.title)))),
        };
        Self { lines: studies.iter().map(line).collect() }
    }

    /// Shown where it can be shown in place.
    pub(super) fn pass(&self, index: usize, text: &str) {
        if let Some(bar) = self.lines.get(index).and_then(|line| line.bar.as_ref()) {
            bar.set_message(text.to_owned());
        }
    }

    /// A milestone.
    pub(super) fn say(&self, index: usize, text: &str) {
        self.pass(index, text);
        if let Some(Line { title, bar: None }) = self.lines.get(index) {
            eprintln!("{title}: {text}");
        }
    }

    /// The last word about a study.
    pub(super) fn end(&self, index: usize, text: &str) {
        match self.lines.get(index).and_then(|line| line.bar.as_ref()) {
            Some(bar) => bar.finish_with_message(text.to_owned()),
            None => self.say(index, text),
        }
    }

    /// Leaves the last words on the screen.
    pub(super) fn finish(&self) {
        self.lines.iter().filter_map(|line| line.bar.as_ref()).for_each(ProgressBar::finish);
    }
}

fn bar(title: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix:32} {elapsed:>4} {msg}");
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(title.to_owned());
    bar
}

/// Only once the bar has its place among the others: before, it would draw itself alone.
fn start(bar: ProgressBar) -> ProgressBar {
    bar.enable_steady_tick(TICK);
    bar
}
