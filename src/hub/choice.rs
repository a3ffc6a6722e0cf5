//! Which files of a repository are fetched.

use super::{HubError, Listing, RemoteFile};
use crate::query::request::pattern::Pattern;

/// What the engine reads beside the weights.
const BESIDE: [&str; 4] = ["config.json", "tokenizer.json", "generation_config.json", "radiant.json"];
const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "model.safetensors";
/// Of several quantisations one is fetched: the first that is there.
const PACKED: [&str; 7] = ["q4_k_m", "q5_k_m", "q6_k", "q8_0", "bf16", "f16", "f32"];
/// Of the vision tower.
const PROJECTORS: [&str; 4] = ["f16", "bf16", "q8_0", "f32"];

/// What the patterns name, or without any what the engine needs.
pub fn choose<'a>(listing: &'a Listing, patterns: &[String]) -> Result<Vec<&'a RemoteFile>, HubError> {
    if patterns.is_empty() { needed(listing) } else { named(listing, patterns) }
}

fn named<'a>(listing: &'a Listing, patterns: &[String]) -> Result<Vec<&'a RemoteFile>, HubError> {
    for pattern in patterns {
        if !listing.files.iter().any(|file| Pattern::of(pattern).matches(&file.name)) {
            return Err(HubError::NoMatch { repo: listing.repo.clone(), pattern: pattern.clone() });
        }
    }
    let patterns: Vec<Pattern> = patterns.iter().map(|pattern| Pattern::of(pattern)).collect();
    let is_named = |file: &&RemoteFile| patterns.iter().any(|pattern| pattern.matches(&file.name));
    Ok(listing.files.iter().filter(is_named).collect())
}

fn needed(listing: &Listing) -> Result<Vec<&RemoteFile>, HubError> {
    let weights = safetensors(&listing.files).or_else(|| gguf(&listing.files));
    let weights = weights.ok_or_else(|| HubError::NoWeights(listing.repo.clone()))?;
    let beside = listing.files.iter().filter(|file| BESIDE.contains(&file.name.as_str()));
    Ok(beside.chain(weights).collect())
}

/// One file, or the shards with their index.
fn safetensors(files: &[RemoteFile]) -> Option<Vec<&RemoteFile>> {
    let whole = |file: &&RemoteFile| file.name == WHOLE;
    if let Some(index) = files.iter().find(|file| file.name == INDEX) {
        let shards = files.iter().filter(|file| is_shard(&file.name));
        return Some(std::iter::once(index).chain(shards).collect());
    }
    files.iter().find(whole).map(|file| vec![file])
}

/// `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let middle = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    middle.and_then(|middle| middle.split_once("-of-")).is_some_and(|(n, of)| is_number(n) && is_number(of))
}

/// The text model in one quantisation, with its vision tower where there is one.
fn gguf(files: &[RemoteFile]) -> Option<Vec<&RemoteFile>> {
    let all = files.iter().filter(|file| file.name.ends_with(".gguf") && !file.name.contains('/'));
    let (towers, texts): (Vec<&RemoteFile>, Vec<&RemoteFile>) =
        all.partition(|file| file.name.to_lowercase().contains("mmproj"));
    let text = preferred(&texts, &PACKED)?;
    Some(std::iter::once(text).chain(preferred(&towers, &PROJECTORS)).collect())
}

fn preferred<'a>(files: &[&'a RemoteFile], kinds: &[&str]) -> Option<&'a RemoteFile> {
    let is_kind = |file: &RemoteFile, kind: &str| {
        let name = file.name.to_lowercase();
        let stem = name.trim_end_matches(".gguf");
        stem.strip_suffix(kind).is_some_and(|rest| rest.ends_with(['-', '.', '_']))
            || stem.starts_with(&format!("{kind}-"))
    };
    let of_kind = |kind: &&str| files.iter().find(|file| is_kind(file, kind));
    kinds.iter().find_map(of_kind).or_else(|| files.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let file = |name: &&str| RemoteFile {
            name: (*name).to_owned(),
            bytes: 1,
            digest: Digest::GitSha1("0".repeat(40)),
        };
        Listing {
            repo: "a/b".parse().unwrap(),
            revision: "main".parse().unwrap(),
            commit: "0".repeat(40),
            files: names.iter().map(file).collect(),
            licence: None,
            made_of: vec![],
        }
    }

    fn chosen(names: &[&str], patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        choose(&listing(names), &patterns).unwrap().iter().map(|file| file.name.clone()).collect()
    }

    #[test]
    fn shards_come_with_their_index_and_nothing_else() {
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let others = ["README.md", "config.json", "consolidated.safetensors", "tokenizer.model", INDEX];
        let all = [&others[..], &shards[..]].concat();
        assert_eq!(chosen(&all, &[]), ["config.json", INDEX, shards[0], shards[1]]);
    }

    #[test]
    fn of_many_quantisations_one_is_taken_with_its_tower() {
        let all = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-BF16.gguf", "mmproj-m-F16.gguf", "mmproj-BF16.gguf"];
        assert_eq!(chosen(&all, &[]), ["m-Q4_K_M.gguf", "mmproj-m-F16.gguf"]);
        assert_eq!(
            chosen(&["m-f16.gguf", "m-bf16.gguf", "mmproj-BF16.gguf"], &[]),
            ["m-bf16.gguf", "mmproj-BF16.gguf"]
        );
        assert_eq!(chosen(&["only.gguf"], &[]), ["only.gguf"]);
    }

    #[test]
    fn patterns_name_files_by_hand() {
        let all = ["README.md", "config.json", "m-Q8_0.gguf", "m-Q4_K_M.gguf"];
        assert_eq!(chosen(&all, &["*Q8_0*", "config.json"]), ["config.json", "m-Q8_0.gguf"]);
        let all = listing(&all);
        let none = choose(&all, &["*.bin".to_owned()]);
        assert!(matches!(none, Err(HubError::NoMatch { pattern, .. }) if pattern == "*.bin"));
    }

    #[test]
    fn a_repository_without_weights_is_refused() {
        assert!(matches!(choose(&listing(&["config.json"]), &[]), Err(HubError::NoWeights(_))));
    }
}
