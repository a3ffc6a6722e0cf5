//! Who a model says it is.

use serde::Deserialize;

use super::Precision;
use super::config::ModelConfig;
use super::error::LoadError;
use super::files::{self, CARD, FileDigest, ModelFiles};
use crate::ai::{ModelIdentity, PromptSet, Runs};

/// `radiant.json` beside the weights: how a model of ours names itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    name: String,
    version: String,
    notice: Option<String>,
    #[serde(default)]
    prompts: PromptSet,
}

/// From `radiant.json`, or else from the configuration, or else from the name of the folder. A
/// model without a version of its own is told apart by its weights.
pub(super) fn identify(
    files: &ModelFiles,
    config: &ModelConfig,
    digests: &[FileDigest],
) -> Result<ModelIdentity, LoadError> {
    let weights_sha256 = files::combine(digests);
    if let Some(card) = card(files)? {
        return Ok(ModelIdentity {
            name: card.name,
            version: card.version,
            weights_sha256,
            notice: card.notice,
            prompts: card.prompts,
            runs: Runs::Here,
        });
    }
    let name = config.name.clone().or_else(|| files.folder_name());
    Ok(ModelIdentity {
        name: name.unwrap_or_else(|| "gemma3".to_owned()),
        version: weights_sha256.chars().take(12).collect(),
        weights_sha256,
        notice: None,
        prompts: PromptSet::default(),
        runs: Runs::Here,
    })
}

impl ModelIdentity {
    /// A packed model answers differently: its results must say that it was packed.
    pub(super) fn in_precision(mut self, precision: Precision) -> Self {
        if precision == Precision::EightBit {
            self.version.push_str(" (8 bit)");
        }
        self
    }

    /// Nor are image features of bf16 quite those of f32.
    pub(super) fn with_vision(mut self, rounded: bool) -> Self {
        if rounded {
            self.version.push_str(" (vision bf16)");
        }
        self
    }
}

fn card(files: &ModelFiles) -> Result<Option<Card>, LoadError> {
    let Some(json) = files.read_if_present(CARD)? else { return Ok(None) };
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|source| LoadError::ParseJson { file: CARD.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn identity(files: &'static [(&'static str, &'static [u8])]) -> ModelIdentity {
        let digests =
            [FileDigest { name: "model.safetensors".into(), bytes: 1, sha256: "0123456789abcdef".into() }];
        identify(&ModelFiles::Embedded(files), &fixture::config(), &digests).unwrap()
    }

    #[test]
    fn a_card_names_the_model_and_its_notice() {
        let identity =
            identity(&[("radiant.json", br#"{"name":"demo","version":"3","notice":"Synthetic."}"#)]);
        assert_eq!((identity.name.as_str(), identity.version.as_str()), ("demo", "3"));
        assert_eq!((identity.notice.as_deref(), identity.prompts), (Some("Synthetic."), PromptSet::Medgemma));
    }

    #[test]
    fn a_card_says_which_prompts_the_model_was_trained_on() {
        let identity =
            identity(&[("radiant.json", br#"{"name":"demo","version":"3","prompts":"demonstration"}"#)]);
        assert_eq!(identity.prompts, PromptSet::Demonstration);
    }

    #[test]
    fn without_a_card_the_weights_are_the_version() {
        assert_eq!(identity(&[]).version, "0123456789ab");
        assert_eq!(identity(&[]).in_precision(Precision::EightBit).version, "0123456789ab (8 bit)");
        assert_eq!(identity(&[]).with_vision(true).version, "0123456789ab (vision bf16)");
    }
}
