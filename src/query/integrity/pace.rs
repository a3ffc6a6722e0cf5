//! How fast is read, so that whoever retrieves does not wait behind whoever looks after the disk.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub struct Pace {
    bytes_per_s: u64,
    /// When the next byte may be read.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub fn unbounded() -> Self {
        Self::of(0)
    }

    /// 0 is without a bound.
    pub fn of(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, next: Mutex::default() }
    }

    /// A reader that waits as long as its bytes take. Blocking.
    pub fn read<R: Read>(&self, reader: R) -> Paced<'_, R> {
        Paced { reader, pace: self }
    }

    fn pause(&self, bytes: usize, now: Instant) -> Duration {
        if self.bytes_per_s == 0 {
            return Duration::ZERO;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now)) + takes;
        *next = Some(at);
        at.saturating_duration_since(now)
    }
}

pub struct Paced<'a, R> {
    reader: R,
    pace: &'a Pace,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(room)?;
        thread::sleep(self.pace.pause(bytes, Instant::now()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_one_pace() {
        let (pace, now) = (Pace::of(100), Instant::now());
        assert_eq!(pace.pause(50, now), Duration::from_millis(500));
        assert_eq!(pace.pause(100, now), Duration::from_millis(1500));
        let later = now + Duration::from_secs(9);
        assert_eq!(pace.pause(10, later), Duration::from_millis(100), "an idle time is not made up for");
        assert!(Pace::unbounded().pause(1 << 30, now).is_zero());
    }
}
