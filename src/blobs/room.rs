//! Whether the disk has room for more: asked of the file system at most once a second, so that
//! objects are refused while what is on its way can still be finished.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::limits;
use crate::telemetry::metrics::disk as metric;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Above the mark of the warning by this part of it, the warning is over.
const WARNING_MARGIN: u64 = 20;

/// Free bytes at which something changes; 0 is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub warn_below: u64,
    pub refuse_below: u64,
    /// What was refused is taken again from here on.
    pub accept_above: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    Plenty,
    /// Somebody should look after it.
    Low,
    /// New objects are refused.
    Out,
}

/// What a look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub space: Space,
    pub free_bytes: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Watched>);

struct Watched {
    folders: Vec<PathBuf>,
    marks: Marks,
    last: Mutex<Option<(Instant, Seen)>>,
}

impl Room {
    /// The fullest of the file systems of these folders counts.
    pub(super) fn of(folders: Vec<PathBuf>, marks: Marks) -> Self {
        Self(Arc::new(Watched { folders, marks, last: Mutex::default() }))
    }

    pub(super) fn marked(&self, marks: Marks) -> Self {
        Self::of(self.0.folders.clone(), marks)
    }

    pub fn marks(&self) -> Marks {
        self.0.marks
    }

    /// As it is now, or was less than a second ago. Blocks for a system call at most.
    pub fn look(&self) -> Seen {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, seen)) if at.elapsed() < LOOK_EVERY => seen,
            before => {
                let seen = self.seen(before.map(|(_, seen)| seen.space));
                *last = Some((Instant::now(), seen));
                seen
            }
        }
    }

    /// Whether a new object may be written. What follows from objects that are there, as a report,
    /// is not asked about: the rest of the disk is kept for it.
    pub fn admits(&self) -> bool {
        let admits = self.look().space != Space::Out;
        if !admits {
            limits::hit("disk.refuse_below_mb");
        }
        admits
    }

    /// A file system that cannot be asked is left to say itself that it is full.
    fn seen(&self, before: Option<Space>) -> Seen {
        let free = self.0.folders.iter().filter_map(|folder| free_bytes(folder)).min();
        let free_bytes = free.unwrap_or(u64::MAX);
        let space = self.0.marks.space(before.unwrap_or(Space::Plenty), free_bytes);
        if before != Some(space) {
            tell(before, space, free_bytes);
        }
        metrics::gauge!(metric::FREE_BYTES).set(free_bytes as f64);
        metrics::gauge!(metric::SPACE).set(f64::from(space as u8));
        Seen { space, free_bytes }
    }
}

impl Marks {
    /// A disk that wavers around a mark does not change its mind at every object.
    fn space(self, before: Space, free: u64) -> Space {
        let stays_low = before != Space::Plenty && free < self.warn_below + self.warn_below / WARNING_MARGIN;
        if free < self.refuse_below || (before == Space::Out && free < self.accept_above) {
            Space::Out
        } else if free < self.warn_below || stays_low {
            Space::Low
        } else {
            Space::Plenty
        }
    }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let of = rustix::fs::statvfs(folder).ok()?;
    Some(of.f_bavail.saturating_mul(of.f_frsize))
}

fn tell(before: Option<Space>, space: Space, free_bytes: u64) {
    match space {
        Space::Out => tracing::error!(free_bytes, "the disk is nearly full: new objects are refused"),
        Space::Low => tracing::warn!(free_bytes, "the disk is filling up"),
        Space::Plenty if before.is_some() => tracing::info!(free_bytes, "the disk has room again"),
        Space::Plenty => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { warn_below: 200, refuse_below: 50, accept_above: 80 };

    #[test]
    fn a_disk_that_wavers_does_not_change_its_mind() {
        let mut space = Space::Plenty;
        let mut at = |free| {
            space = MARKS.space(space, free);
            space
        };
        assert_eq!([at(200), at(199), at(205), at(211)].map(|one| one as u8), [0, 1, 1, 0]);
        assert_eq!([at(49), at(79), at(80), at(49)].map(|one| one as u8), [2, 2, 1, 2]);
    }

    #[test]
    fn without_marks_there_is_always_room() {
        assert_eq!(Marks::default().space(Space::Plenty, 0), Space::Plenty);
    }

    #[test]
    fn the_file_system_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let marks = Marks { refuse_below: u64::MAX, ..MARKS };
        let room = Room::of(vec![dir.path().to_owned()], marks);
        assert!(!room.admits() && room.marked(Marks::default()).admits());
        assert!(room.look().free_bytes < u64::MAX);
    }
}
