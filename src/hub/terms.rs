//! On what terms a model is had, and who has accepted them.

use serde::{Deserialize, Serialize};

use super::listing::Licence;
use super::{Listing, RepoId};

/// The sentence that has to stand wherever these models go.
const HEALTH_AI_NOTICE: &str =
    "HAI-DEF is provided under and subject to the Health AI Developer Foundations Terms of Use";
const HEALTH_AI_NAME: &str = "Health AI Developer Foundations Terms of Use";
const HEALTH_AI_VERSION: &str = "2024-11-15";
const HEALTH_AI_LINK: &str = "https://developers.google.com/health-ai-developer-foundations/terms";
/// What cards call them.
const HEALTH_AI_CARD: &str = "health-ai-developer-foundations";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// To be accepted before anything is fetched; they bind copies in other forms, too.
    HealthAi,
    /// To be read; accepting them, where that is needed, is between the hub and its account.
    Licence(Licence),
    /// The card says nothing.
    None,
}

/// Kept beside the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    pub repository: RepoId,
    pub terms: String,
    pub version: String,
    pub link: String,
    /// The account of the operating system.
    pub accepted_by: String,
    /// RFC 3339.
    pub accepted_at: String,
    pub means: Means,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    Typed,
    /// `--accept-terms`.
    Flag,
}

impl Terms {
    pub fn of(listing: &Listing) -> Self {
        let of_licence = |licence: &Licence| {
            let link = licence.link.as_deref().unwrap_or_default();
            licence.name == HEALTH_AI_CARD || link.contains(HEALTH_AI_CARD)
        };
        let is_health_ai = is_medgemma(listing.repo.as_str())
            || listing.made_of.iter().any(|model| is_medgemma(model))
            || listing.licence.as_ref().is_some_and(of_licence);
        match (&listing.licence, is_health_ai) {
            (_, true) => Self::HealthAi,
            (Some(licence), false) => Self::Licence(licence.clone()),
            (None, false) => Self::None,
        }
    }

    pub fn must_be_accepted(&self) -> bool {
        *self == Self::HealthAi
    }

    /// What people are shown.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::HealthAi => vec![
                format!("{HEALTH_AI_NOTICE} found at"),
                format!("{HEALTH_AI_LINK} (version of {HEALTH_AI_VERSION})."),
            ],
            Self::Licence(Licence { name, link: Some(link) }) => vec![format!("licence {name}, {link}")],
            Self::Licence(Licence { name, link: None }) => vec![format!("licence {name}")],
            Self::None => vec!["the card of the model names no licence".to_owned()],
        }
    }

    /// What every result of the model carries.
    pub(super) fn notice(&self) -> Option<String> {
        self.must_be_accepted().then(|| format!("{HEALTH_AI_NOTICE} found at {HEALTH_AI_LINK}"))
    }

    pub fn accepted(&self, repository: &RepoId, by: &str, at: &str, means: Means) -> Acceptance {
        Acceptance {
            repository: repository.clone(),
            terms: HEALTH_AI_NAME.to_owned(),
            version: HEALTH_AI_VERSION.to_owned(),
            link: HEALTH_AI_LINK.to_owned(),
            accepted_by: by.to_owned(),
            accepted_at: at.to_owned(),
            means,
        }
    }
}

impl Acceptance {
    /// Whether these are the terms that hold today, for this model.
    pub fn covers(&self, repository: &RepoId) -> bool {
        self.repository == *repository && self.link == HEALTH_AI_LINK && self.version == HEALTH_AI_VERSION
    }
}

fn is_medgemma(repo: &str) -> bool {
    repo.to_lowercase().contains("medgemma")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(repo: &str, licence: Option<(&str, Option<&str>)>, made_of: &[&str]) -> Terms {
        let own = |text: &str| text.to_owned();
        Terms::of(&Listing {
            repo: repo.parse().unwrap(),
            revision: "main".parse().unwrap(),
            commit: "0".repeat(40),
            files: vec![],
            licence: licence.map(|(name, link)| Licence { name: own(name), link: link.map(own) }),
            made_of: made_of.iter().map(|model| own(model)).collect(),
        })
    }

    #[test]
    fn medgemma_and_what_is_made_of_it_has_terms_to_accept() {
        assert!(terms("google/medgemma-1.5-4b-it", None, &[]).must_be_accepted());
        assert!(terms("else/mg-gguf", None, &["google/medgemma-4b-it"]).must_be_accepted());
        assert!(terms("else/mg", Some((HEALTH_AI_CARD, None)), &[]).must_be_accepted());
        assert!(terms("else/mg", Some(("other", Some(HEALTH_AI_LINK))), &[]).must_be_accepted());
    }

    #[test]
    fn other_models_show_the_licence_of_their_card() {
        let terms = terms("else/model", Some(("mit", None)), &[]);
        assert!(!terms.must_be_accepted() && terms.lines() == ["licence mit"]);
    }

    #[test]
    fn an_acceptance_is_for_one_model() {
        let repo: RepoId = "google/medgemma-4b-it".parse().unwrap();
        let accepted = Terms::HealthAi.accepted(&repo, "ann", "2026-01-01T00:00:00.000Z", Means::Typed);
        assert!(accepted.covers(&repo) && !accepted.covers(&"google/medgemma-27b-it".parse().unwrap()));
    }
}
