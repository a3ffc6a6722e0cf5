//! The choice of the next token among those the constraint allows.

use candle_core::{Device, Tensor};
use candle_transformers::generation::LogitsProcessor;
use toktrie::SimpleVob;

use crate::ai::{EngineError, Settings};

pub(super) struct Sampler(LogitsProcessor);

impl Sampler {
    pub(super) fn new(settings: &Settings) -> Self {
        Self(LogitsProcessor::new(settings.seed, Some(settings.temperature), settings.top_p))
    }

    /// `logits` has one value per row of the vocabulary.
    pub(super) fn choose(&mut self, logits: &Tensor, allowed: &SimpleVob) -> Result<u32, EngineError> {
        let mut values = logits.to_vec1::<f32>()?;
        if values.iter().any(|value| value.is_nan()) {
            return Err(EngineError::Forward("the logits are not numbers".to_owned()));
        }
        if allowed.is_zero() {
            return Err(EngineError::Constraint("no token can follow".to_owned()));
        }
        for (id, value) in values.iter_mut().enumerate() {
            if !allowed.is_allowed(id as u32) {
                *value = f32::NEG_INFINITY;
            }
        }
        let count = values.len();
        Ok(self.0.sample(&Tensor::from_vec(values, count, &Device::Cpu)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(temperature: f64, seed: u64, logits: &[f32], allowed: &[bool]) -> Result<u32, EngineError> {
        let settings = Settings { temperature, seed, ..Settings::default() };
        Sampler::new(&settings)
            .choose(&Tensor::new(logits, &Device::Cpu).unwrap(), &SimpleVob::from_slice(allowed))
    }

    #[test]
    fn greedy_takes_the_best_of_the_allowed() {
        assert_eq!(choose(0.0, 0, &[1.0, 9.0, 3.0], &[true, false, true]).unwrap(), 2);
    }

    #[test]
    fn sampling_never_leaves_the_allowed_and_repeats_with_its_seed() {
        for seed in 0..50 {
            let token = choose(5.0, seed, &[1.0, 9.0, 3.0], &[true, false, true]).unwrap();
            assert_ne!(token, 1);
            assert_eq!(token, choose(5.0, seed, &[1.0, 9.0, 3.0], &[true, false, true]).unwrap());
        }
    }

    #[test]
    fn broken_logits_and_an_empty_choice_are_errors() {
        assert!(matches!(choose(0.0, 0, &[f32::NAN, 1.0], &[true, true]), Err(EngineError::Forward(_))));
        assert!(matches!(choose(0.0, 0, &[1.0, 1.0], &[false, false]), Err(EngineError::Constraint(_))));
    }
}
