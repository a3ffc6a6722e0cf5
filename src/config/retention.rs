//! How long studies are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;

const DAY_S: u64 = 24 * 3600;
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub enabled: bool,
    run_every_s: u64,
    pub studies_per_run_max: u32,
    settled_days: u64,
    pub rules: Vec<RetentionRule>,
}

/// Studies that are deleted by and by; every condition that is given must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    pub name: String,
    keep_days: u64,
    #[serde(default)]
    pub age_by: AgeBy,
    #[serde(default)]
    pub modality: Vec<String>,
    #[serde(default)]
    pub source_aet: Vec<String>,
    #[serde(default)]
    pub status: Vec<WorkStatus>,
}

/// Since when a study is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgeBy {
    /// Since its last instance came.
    #[default]
    Arrival,
    /// Since its Study Date (0008,0020); one without any is kept.
    StudyDate,
}

/// How far the work on a study is, as the list of studies has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkStatus {
    Received,
    Analysing,
    Draft,
    Edited,
    Signed,
}

impl WorkStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Analysing => "analysing",
            Self::Draft => "draft",
            Self::Edited => "edited",
            Self::Signed => "signed",
        }
    }
}

impl RetentionRule {
    /// What is older has been kept for long enough.
    pub fn before(&self, now: Timestamp) -> Timestamp {
        now.minus(days(self.keep_days))
    }
}

impl Retention {
    pub fn run_every(&self) -> Duration {
        Duration::from_secs(self.run_every_s)
    }

    /// A study that something came into later is kept whatever the rules say.
    pub fn settled_before(&self, now: Timestamp) -> Timestamp {
        now.minus(days(self.settled_days))
    }

    pub(super) fn check(&self, deletion_enabled: bool) -> Result<(), String> {
        let names: BTreeSet<&str> = self.rules.iter().map(|rule| rule.name.as_str()).collect();
        let is_name = |name: &&str| !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX;
        if self.run_every_s == 0 || self.studies_per_run_max == 0 {
            return Err("retention: run_every_s and studies_per_run_max must be 1 at least".to_owned());
        }
        if names.len() < self.rules.len() || !names.iter().all(is_name) {
            return Err(format!(
                "retention.rules: each has a name of its own, of 1 to {NAME_BYTES_MAX} bytes"
            ));
        }
        if self.rules.iter().any(|rule| rule.keep_days == 0) {
            return Err("retention.rules: keep_days must be 1 at least".to_owned());
        }
        match self.enabled && !deletion_enabled {
            true => Err("retention.enabled needs deletion.enabled, by which it is taken back".to_owned()),
            false => Ok(()),
        }
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY_S))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn loaded(rules: &str, more: &[(&'static str, &str)]) -> Result<Config, String> {
        let keys = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let keys = keys.chain([("retention.rules", rules.to_owned())]).collect();
        Config::load(&Overrides { file: None, keys }).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_off_until_somebody_turns_them_on() {
        let config = loaded(r#"[{ name = "old", keep_days = 1 }]"#, &[]).unwrap();
        assert!(!config.retention.enabled);
        assert_eq!(config.retention.rules.len(), 1);
    }

    #[test]
    fn what_would_delete_too_much_or_for_no_reason_is_refused() {
        for (rules, why) in [
            (r#"[{ name = "old", keep_days = 0 }]"#, "keep_days"),
            (r#"[{ name = "", keep_days = 1 }]"#, "a name of its own"),
            (r#"[{ name = "a", keep_days = 1 }, { name = "a", keep_days = 2 }]"#, "a name of its own"),
            (r#"[{ name = "a", keep_days = 1, modalty = ["CT"] }]"#, "modalty"),
            (r#"[{ name = "a", keep_days = 1, status = ["lost"] }]"#, "lost"),
        ] {
            let error = loaded(rules, &[]).unwrap_err();
            assert!(error.contains(why), "{rules}: {error}");
        }
        let error = loaded("[]", &[("retention.enabled", "true")]).unwrap_err();
        assert!(error.contains("deletion.enabled"), "{error}");
    }
}
