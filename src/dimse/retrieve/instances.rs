//! The instances of a selection, a page at a time.

use std::collections::VecDeque;

use crate::auth::Reach;
use crate::db::{self, Db, DbError};
use crate::query::retrieve::{Portion, Selection, StoredInstance, Wanted};

pub(super) struct Instances {
    db: Db,
    reach: Reach,
    portions: VecDeque<Portion>,
    /// The row that the next page of the first portion goes on behind.
    after: i64,
    page: VecDeque<StoredInstance>,
}

impl Instances {
    pub(super) async fn of(db: Db, selection: &Selection, reach: Reach) -> Result<Self, DbError> {
        let mut selection = selection.clone();
        if let (Wanted::Patient, Some(patient)) = (&selection.wanted, &selection.patient) {
            selection.wanted = Wanted::Studies(db::retrieve::studies_of(&db, patient, &reach).await?);
        }
        let portions = selection.portions().into();
        Ok(Self { db, reach, portions, after: 0, page: VecDeque::new() })
    }

    /// How many there are now; more may come and some may go before their turn.
    pub(super) async fn count(&self) -> Result<u64, DbError> {
        let mut count = 0;
        for portion in &self.portions {
            count += db::retrieve::count(&self.db, portion, &self.reach).await?;
        }
        Ok(count)
    }

    pub(super) async fn next(&mut self) -> Result<Option<StoredInstance>, DbError> {
        while self.page.is_empty() {
            let Some(portion) = self.portions.front() else { return Ok(None) };
            self.page = db::retrieve::portion(&self.db, portion, &self.reach, self.after).await?.into();
            match self.page.back() {
                Some(last) => self.after = last.row,
                None => {
                    self.portions.pop_front();
                    self.after = 0;
                }
            }
        }
        Ok(self.page.pop_front())
    }

    /// Some of those that follow.
    pub(super) fn ahead(&mut self) -> &[StoredInstance] {
        self.page.make_contiguous()
    }
}
