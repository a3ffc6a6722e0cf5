//! What the model keeps of conversations that are over, so that the next one that begins the same
//! way reads only what is new. In memory alone, and no more than there is room for.

use std::collections::VecDeque;

use metrics::{counter, gauge};

use super::cache::Cache;
use crate::ai::{EngineError, PictureDigest};
use crate::telemetry::metrics::model as metric;

#[derive(Default)]
pub(super) struct Beginnings {
    /// Least recently used first.
    kept: VecDeque<Beginning>,
    /// For all of them.
    room: usize,
    bytes: usize,
}

/// Tokens, the pictures among them, and what the model keeps once it has read these.
struct Beginning {
    ids: Vec<u32>,
    pictures: Vec<PictureDigest>,
    cache: Cache,
    bytes: usize,
}

impl Beginning {
    fn begins(&self, ids: &[u32], pictures: &[PictureDigest]) -> bool {
        ids.starts_with(&self.ids) && pictures.starts_with(&self.pictures)
    }
}

impl Beginnings {
    /// The longest beginning of this prompt that leaves at least one token to be read.
    pub(super) fn find(
        &mut self,
        ids: &[u32],
        pictures: &[PictureDigest],
    ) -> Result<Option<Cache>, EngineError> {
        let fits = |kept: &Beginning| kept.ids.len() < ids.len() && kept.begins(ids, pictures);
        let places = self.kept.iter().enumerate().filter(|(_, kept)| fits(kept));
        let longest = places.max_by_key(|(_, kept)| kept.ids.len()).map(|(place, _)| place);
        let outcome = if longest.is_some() { "hit" } else { "miss" };
        counter!(metric::CACHE, "cache" => "beginnings", "outcome" => outcome).increment(1);
        let Some(found) = longest.and_then(|place| self.kept.remove(place)) else { return Ok(None) };
        let cache = found.cache.fork();
        self.kept.push_back(found);
        Ok(Some(cache?))
    }

    /// Whether this very beginning is kept, or there would be no room for it.
    pub(super) fn spares(&self, ids: &[u32], pictures: &[PictureDigest], bytes: usize) -> bool {
        let same = |kept: &Beginning| kept.ids.len() == ids.len() && kept.begins(ids, pictures);
        bytes > self.room || self.kept.iter().any(same)
    }

    pub(super) fn keep(&mut self, ids: Vec<u32>, pictures: Vec<PictureDigest>, cache: Cache) {
        let bytes = cache.bytes();
        if self.spares(&ids, &pictures, bytes) {
            return;
        }
        self.shrink(self.room - bytes);
        self.bytes += bytes;
        self.kept.push_back(Beginning { ids, pictures, cache, bytes });
        self.told();
    }

    /// What the conversations under way leave.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.shrink(room);
        self.told();
    }

    fn shrink(&mut self, to: usize) {
        while self.bytes > to {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    fn told(&self) {
        gauge!(metric::CACHE_BYTES, "cache" => "beginnings").set(self.bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::{LocalOptions, fixture, model::Model};
    use super::*;

    fn model() -> Model {
        Model::load(&fixture::files(), &Device::Cpu, &LocalOptions::default()).unwrap()
    }

    fn read(model: &Model, ids: &[u32]) -> Cache {
        let mut cache = model.decoder.new_cache();
        let embedded = model.decoder.embed(ids).unwrap();
        model.decoder.forward(&embedded, &model.blocks(&[]), &mut cache, &mut |_, _| Ok(())).unwrap();
        cache
    }

    fn found(beginnings: &mut Beginnings, ids: &[u32], pictures: &[PictureDigest]) -> usize {
        beginnings.find(ids, pictures).unwrap().map_or(0, |cache| cache.positions())
    }

    #[test]
    fn the_longest_beginning_with_the_same_pictures_is_found() {
        let (model, mut beginnings) = (model(), Beginnings::default());
        beginnings.set_room(1 << 30);
        beginnings.keep(vec![2, 50], vec![], read(&model, &[2, 50]));
        beginnings.keep(vec![2, 50, 51, 52], vec![[1; 32]], read(&model, &[2, 50, 51, 52]));
        assert_eq!(found(&mut beginnings, &[2, 50, 51, 52, 53], &[[1; 32]]), 4);
        assert_eq!(found(&mut beginnings, &[2, 50, 51, 52, 53], &[[2; 32]]), 2);
        assert_eq!(found(&mut beginnings, &[2, 50, 51, 52], &[[1; 32]]), 2);
        assert_eq!(found(&mut beginnings, &[3, 50, 51], &[]), 0);
    }

    #[test]
    fn the_least_recently_used_gives_way_to_what_is_under_way() {
        let (model, mut beginnings) = (model(), Beginnings::default());
        let (one, two) = (read(&model, &[2, 50]), read(&model, &[2, 60]));
        let each = one.bytes();
        beginnings.set_room(2 * each);
        beginnings.keep(vec![2, 50], vec![], one);
        beginnings.keep(vec![2, 60], vec![], two);
        assert_eq!(found(&mut beginnings, &[2, 50, 1], &[]), 2);
        beginnings.set_room(each);
        assert_eq!(found(&mut beginnings, &[2, 60, 1], &[]), 0);
        assert_eq!(found(&mut beginnings, &[2, 50, 1], &[]), 2);
        assert!(beginnings.spares(&[9], &[], each + 1));
    }
}
