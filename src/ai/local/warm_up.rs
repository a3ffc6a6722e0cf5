//! The first pass through a loaded model: kernels pack their weights in it, and a model that cannot
//! count is found out before a study is shown to it.

use std::time::Duration;

use candle_core::Tensor;

use super::decoder::Stretch;
use super::model::Model;
use crate::ai::{EngineError, RgbImage};
use crate::clock::Clock;

/// An image of a large model takes a minute on a few cores: what is warm after this long is enough.
const IMAGE_TIME: Duration = Duration::from_secs(20);
/// As many tokens as make a pass over several rows, which is packed in another way than one row is.
const PROMPT: &str = "<bos><start_of_turn>user\nThe lungs are clear. The heart is not enlarged. \
    There is no pleural effusion and no pneumothorax. The bones are intact.<end_of_turn>\n";

pub(super) fn warm_up(model: &Model, clock: &Clock) -> Result<(), EngineError> {
    read_and_write(model)?;
    look(model, clock)
}

fn read_and_write(model: &Model) -> Result<(), EngineError> {
    let (ids, mut cache) = (model.tokens.encode(PROMPT)?, model.decoder.new_cache());
    for ids in [ids.as_slice(), &ids[..1]] {
        let logits = model.step_each(&mut [Stretch { ids, cache: &mut cache }])?;
        logits.iter().try_for_each(|logits| numbers(logits, "logits"))?;
    }
    Ok(())
}

fn look(model: &Model, clock: &Clock) -> Result<(), EngineError> {
    let (side, began) = (8, clock.now());
    let grey = RgbImage { width: side, height: side, data: vec![128; (side * side * 3) as usize] };
    let features = model.encode(&grey, &mut || match clock.now().since(began) > IMAGE_TIME {
        true => Err(EngineError::Cancelled),
        false => Ok(()),
    });
    match features {
        Err(EngineError::Cancelled) => Ok(()),
        features => numbers(&features?, "features of an image"),
    }
}

fn numbers(values: &Tensor, what: &str) -> Result<(), EngineError> {
    if values.sum_all()?.to_scalar::<f32>()?.is_finite() {
        return Ok(());
    }
    Err(EngineError::Forward(format!("the {what} are not numbers")))
}
