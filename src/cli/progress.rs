//! How far something has come: a line that moves where somebody looks at it, a plain line now and then
//! where it is read later.

use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Of bytes. Hidden by itself when stderr is no terminal.
pub(super) fn bytes(total: u64) -> ProgressBar {
    styled(total, "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

fn styled(total: u64, template: &str) -> ProgressBar {
    ProgressBar::new(total).with_style(style(template))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Things and their bytes, told on a terminal or in lines.
pub(super) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    things: [u64; 2],
    /// Before this began.
    earlier: u64,
    begun: Instant,
    told: Instant,
}

impl Progress {
    pub(super) fn of(what: &'static str) -> Self {
        let bar = styled(0, "{bar:40} {msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        let begun = Instant::now();
        Self { bar, what, things: [0, 0], earlier: 0, begun, told: begun }
    }

    /// How much there is.
    pub(super) fn extent(&mut self, things: u64, bytes: u64) {
        self.things = [0, things];
        self.bar.set_length(bytes);
    }

    /// What was done before.
    pub(super) fn earlier(&mut self, things: u64, bytes: u64) {
        (self.things[0], self.earlier) = (things, bytes);
        self.bar.set_position(bytes);
        self.bar.reset_eta();
    }

    pub(super) fn one(&mut self, bytes: u64) {
        self.things[0] += 1;
        self.bar.inc(bytes);
        self.bar.set_message(format!("{}/{} {}", self.things[0], self.things[1], self.what));
        if self.is_time_for_a_line() {
            eprintln!("radiant: {}", self.line(self.begun.elapsed()));
        }
    }

    /// From here on it is about the rows of a table.
    pub(super) fn table(&mut self, name: String, rows: u64) {
        self.bar.set_style(style("{bar:40} {msg} {pos}/{len} rows {eta}"));
        self.bar.set_length(rows);
        self.bar.set_position(0);
        self.bar.reset_eta();
        self.bar.set_message(name);
    }

    pub(super) fn rows(&mut self, rows: u64) {
        self.bar.inc(rows);
        if self.is_time_for_a_line() {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("radiant: {} {done}/{total} rows", self.bar.message());
        }
    }

    fn is_time_for_a_line(&mut self) -> bool {
        let is_time = self.bar.is_hidden() && self.told.elapsed() >= LINE_EVERY;
        if is_time {
            self.told = Instant::now();
        }
        is_time
    }

    /// In a line of its own.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("radiant: {line}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, elapsed: Duration) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let rate = (done - self.earlier.min(done)) as f64 / elapsed.as_secs_f64().max(0.001);
        let left = match rate > 0.0 {
            true => {
                HumanDuration(Duration::from_secs_f64(total.saturating_sub(done) as f64 / rate)).to_string()
            }
            false => "an unknown time".to_owned(),
        };
        let [things, of] = self.things;
        let (done, total, rate) = (HumanBytes(done), HumanBytes(total), HumanBytes(rate as u64));
        format!("{things}/{of} {}, {done} of {total}, {rate}/s, {left} left", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_done_how_fast_and_what_is_left() {
        let mut progress = Progress::of("objects");
        progress.extent(4, 4096);
        progress.earlier(1, 1024);
        progress.one(1024);
        let line = progress.line(Duration::from_secs(1));
        assert_eq!(line, "2/4 objects, 2.00 KiB of 4.00 KiB, 1.00 KiB/s, 2 seconds left");
    }
}
