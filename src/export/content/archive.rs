//! Studies as one ZIP: every object as a file of a file-set, the DICOMDIR last.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::Serialize;

use super::Parts;
use super::opened::{Form, Opened, Outcome};
use crate::db::retrieve;
use crate::dicom::uid::StudyUid;
use crate::media::FileSet;
use crate::media::file_set::DICOMDIR;
use crate::media::zip::{self, BoxError, Content, Entry};
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;

/// As many are told one by one.
const LEFT_OUT_MAX: usize = 1000;

/// What has gone into an archive so far.
#[derive(Clone, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    instances: AtomicU64,
    left_out: Mutex<Vec<LeftOut>>,
    left_out_count: AtomicU64,
}

/// An object that is not in a copy.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    pub sop_instance_uid: String,
    pub reason: &'static str,
}

impl Tally {
    pub fn instances(&self) -> u64 {
        self.0.instances.load(Ordering::Relaxed)
    }

    pub fn left_out_count(&self) -> u64 {
        self.0.left_out_count.load(Ordering::Relaxed)
    }

    /// The first of them.
    pub fn left_out(&self) -> Vec<LeftOut> {
        // Each change is one push: what a panicking thread left is whole.
        self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn leave_out(&self, instance: &StoredInstance, reason: &'static str) {
        self.0.left_out_count.fetch_add(1, Ordering::Relaxed);
        let mut told = self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < LEFT_OUT_MAX {
            told.push(LeftOut { sop_instance_uid: instance.sop_instance.to_string(), reason });
        }
    }
}

pub(super) fn of(
    parts: Parts,
    form: Form,
    studies: Vec<StudyUid>,
    keep_burned_in: bool,
    tally: Tally,
) -> Content {
    let filling = Filling {
        parts,
        form,
        keep_burned_in,
        tally,
        studies: studies.into(),
        after: 0,
        page: VecDeque::new(),
        file_set: FileSet::default(),
    };
    let entries = stream::try_unfold(Some(filling), |filling| async move {
        match filling {
            Some(filling) => filling.next().await,
            None => Ok(None),
        }
    });
    zip::archive(entries)
}

/// Gives the permit back when the content is gone.
pub(super) fn holding(content: Content, permit: tokio::sync::OwnedSemaphorePermit) -> Content {
    content
        .map(move |chunk| {
            let _ = &permit;
            chunk
        })
        .boxed()
}

/// A file-set that is not full yet.
struct Filling {
    parts: Parts,
    form: Form,
    keep_burned_in: bool,
    tally: Tally,
    /// The one under way first.
    studies: VecDeque<StudyUid>,
    after: i64,
    page: VecDeque<StoredInstance>,
    file_set: FileSet,
}

impl Filling {
    /// The next file; the directory when there is none any more.
    async fn next(mut self) -> Result<Option<(Entry, Option<Self>)>, BoxError> {
        while let Some(instance) = self.instance().await? {
            let opened = self.parts.open(&instance, &self.form, self.keep_burned_in).await;
            let opened = opened.inspect_err(|error| {
                let error = crate::causes::chain(error);
                tracing::error!(instance = %instance.sop_instance, error, "a download broke off");
            })?;
            self.tally.0.instances.fetch_add(1, Ordering::Relaxed);
            match opened {
                Outcome::LeftOut(reason) => self.tally.leave_out(&instance, reason),
                Outcome::Opened(opened) => {
                    let Opened { object, length, content } = *opened;
                    let entry = Entry { name: self.file_set.add(&object), length, content };
                    return Ok(Some((entry, Some(self))));
                }
            }
        }
        let directory = Bytes::from(self.file_set.directory()?);
        let length = Some(directory.len() as u64);
        let content = stream::iter([Ok(directory)]).boxed();
        Ok(Some((Entry { name: DICOMDIR.to_owned(), length, content }, None)))
    }

    async fn instance(&mut self) -> Result<Option<StoredInstance>, BoxError> {
        loop {
            if let Some(instance) = self.page.pop_front() {
                return Ok(Some(instance));
            }
            let Some(study) = self.studies.front().cloned() else { return Ok(None) };
            let page = retrieve::instances(&self.parts.db, &Scope::Study(study), self.after).await?;
            match page.last() {
                Some(last) => self.after = last.row,
                None => {
                    self.after = 0;
                    self.studies.pop_front();
                }
            }
            self.page = page.into();
        }
    }
}
