//! Reports and their signatures.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub organization: String,
    pub signer: String,
    pub language: String,
    pub text_characters_max: usize,
    pub findings_max: usize,
    pub images_max: usize,
    pub versions_max: i64,
    pub workers: usize,
    pub attempts_max: u32,
}
