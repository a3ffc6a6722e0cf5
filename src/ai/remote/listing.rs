//! What a service says of the models it has. Pure.

use serde_json::{Value, json};

/// One model of `GET /models`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub(super) id: String,
    /// Where the service says: llama.cpp's does.
    pub(super) sees_images: Option<bool>,
    /// What it says beside the name and does not change from answer to answer.
    pub(super) said: Value,
}

/// What tells one model from another: not the time of the answer, and no random ids.
const STABLE: [&str; 5] = ["id", "meta", "max_model_len", "owned_by", "root"];

pub(super) fn read(body: &[u8]) -> Option<Vec<Listed>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let capabilities = body.get("models").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let listed = body.get("data")?.as_array()?.iter().filter_map(|entry| {
        let id = entry.get("id")?.as_str()?.to_owned();
        let stable = STABLE.iter().filter_map(|key| Some(((*key).to_owned(), entry.get(*key)?.clone())));
        let said = Value::Object(stable.collect());
        Some(Listed { sees_images: sees_images(capabilities, &id), id, said })
    });
    Some(listed.collect())
}

fn sees_images(capabilities: &[Value], id: &str) -> Option<bool> {
    let is_it = |entry: &&Value| ["name", "model"].iter().any(|key| entry.get(*key) == Some(&json!(id)));
    let entry = capabilities.iter().find(is_it)?;
    let all = entry.get("capabilities")?.as_array()?;
    Some(all.iter().any(|one| one == "multimodal" || one == "vision"))
}

/// The model that is asked for, or the only one; or what is wrong.
pub(super) fn choose(listed: &[Listed], wanted: &str) -> Result<Listed, String> {
    let names = || listed.iter().map(|one| one.id.as_str()).take(20).collect::<Vec<_>>().join(", ");
    match (listed, wanted) {
        ([], "") => Err("it has no model".to_owned()),
        ([only], "") => Ok(only.clone()),
        (_, "") => Err(format!("model.remote.model has to name one of its models: {}", names())),
        (listed, wanted) => {
            let found = listed.iter().find(|one| one.id == wanted);
            found.cloned().ok_or_else(|| format!("it has no model {wanted:?}, but {}", names()))
        }
    }
}

/// How results name a model whose service names it by a file.
pub(super) fn short_name(id: &str) -> &str {
    if id.starts_with(['/', '.']) { id.rsplit('/').next().unwrap_or(id) } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: &str = r#"{"models":[{"name":"/m/a.gguf","model":"/m/a.gguf","capabilities":["completion","multimodal"]}],
        "object":"list","data":[{"id":"/m/a.gguf","object":"model","created":1764,"owned_by":"llamacpp",
        "meta":{"n_params":3280000}}]}"#;
    const VLLM: &str = r#"{"object":"list","data":[{"id":"medgemma","created":1,"owned_by":"vllm","root":"google/medgemma-4b-it",
        "max_model_len":8192,"permission":[{"id":"modelperm-1"}]},{"id":"other"}]}"#;

    #[test]
    fn what_changes_from_answer_to_answer_is_left_out() {
        let [llama] = &read(LLAMA.as_bytes()).unwrap()[..] else { panic!("one model") };
        assert_eq!(llama.sees_images, Some(true));
        assert!(llama.said.get("created").is_none() && llama.said.get("meta").is_some());
        assert_eq!(short_name(&llama.id), "a.gguf");
        let vllm = &read(VLLM.as_bytes()).unwrap()[0];
        assert_eq!((vllm.sees_images, vllm.said.get("permission")), (None, None));
        assert_eq!(short_name("google/medgemma"), "google/medgemma");
    }

    #[test]
    fn a_model_is_the_one_that_is_named_or_the_only_one() {
        let (llama, vllm) = (read(LLAMA.as_bytes()).unwrap(), read(VLLM.as_bytes()).unwrap());
        assert_eq!(choose(&llama, "").unwrap().id, "/m/a.gguf");
        assert_eq!(choose(&vllm, "medgemma").unwrap().id, "medgemma");
        assert!(choose(&vllm, "").unwrap_err().contains("medgemma, other"));
        assert!(choose(&vllm, "x").unwrap_err().contains("no model \"x\""));
        assert!(choose(&[], "").is_err() && read(b"<html>").is_none());
    }
}
