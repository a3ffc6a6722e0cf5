//! The engine as its callers see it, with the tiny random model inside.

mod serving;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use candle_core::quantized::GgmlDType;

use super::config::ModelConfig;
use super::tokens::Tokens;
use super::*;
use crate::ai::{Cancel, Cut, Form, Part, Priority, RgbImage, Settings, Turn};

/// A schema that even a random model fills within a few dozen tokens.
const SMALL: &str = r#"{"type":"object","additionalProperties":false,"required":["side","count"],
    "properties":{"side":{"enum":["left","right","none"]},"count":{"type":"integer","minimum":0,"maximum":99},"note":{"type":"string","maxLength":6}}}"#;
/// Forces the model to go on for longer than any budget here.
const ENDLESS: &str = r#"{"type":"string","minLength":3000}"#;

static ENGINE: LazyLock<LocalEngine> = LazyLock::new(|| engine(Clock::System));

fn engine(clock: Clock) -> LocalEngine {
    LocalEngine::start(
        fixture::files(),
        LocalOptions { clock, prefill_tokens_max: 24, ..LocalOptions::default() },
    )
    .unwrap()
}

fn request(schema: &str, settings: Settings) -> Request {
    let picture = Arc::new(fixture::golden().picture(2));
    let parts = vec![Part::Image(picture), Part::Text("Report the findings.".to_owned())];
    let turns = vec![Turn::User(parts), Turn::Open(Form::Json(schema.into()))];
    Request { system: None, turns, settings, priority: Priority::default() }
}

fn sampled(seed: u64) -> Settings {
    Settings { tokens_max: 400, temperature: 1.0, seed, ..Settings::default() }
}

fn call(cancel: &Cancel) -> Call {
    Call { cancel: cancel.clone(), progress: Arc::new(|_| ()), time_limit: Duration::from_secs(600) }
}

/// Waits on a test thread: the engine's own thread does the work.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn ask(request: Request) -> Result<Reply, EngineError> {
    wait(ENGINE.answer(request, call(&Cancel::default())))
}

fn only_answer(reply: Result<Reply, EngineError>) -> String {
    reply.unwrap().answers.concat()
}

#[test]
fn every_open_turn_gets_an_answer() {
    let mut asked = request(SMALL, sampled(7));
    let question = Turn::User(vec![Part::Text("And the other side?".to_owned())]);
    asked.turns.extend([question, Turn::Open(Form::Json(SMALL.into()))]);
    let reply = ask(asked).unwrap();
    assert_eq!(reply.answers.len(), 2);
    assert!(reply.answers.iter().all(|text| serde_json::from_str::<Value>(text).is_ok()));
}

#[test]
fn an_answer_satisfies_its_schema_and_counts_its_tokens() {
    let reply = ask(request(SMALL, sampled(1))).unwrap();
    let [text] = reply.answers.as_slice() else { panic!("{reply:?}") };
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(["left", "right", "none"].contains(&value["side"].as_str().unwrap()));
    assert!(text.starts_with(r#"{"side":""#));
    assert_eq!(reply.usage.image_tokens, 16);
    assert!(reply.usage.prompt_tokens > 16);
    assert!(0 < reply.usage.forced_tokens && reply.usage.forced_tokens < reply.usage.answer_tokens);
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let answers: Vec<String> = (0..8).map(|n| only_answer(ask(request(SMALL, sampled(n % 4))))).collect();
    assert_eq!(answers[..4], answers[4..]);
    assert!(answers[..4].iter().any(|answer| *answer != answers[0]));
}

#[test]
fn findings_schema_answers_parse_as_findings() {
    let settings = Settings { tokens_max: 3000, ..sampled(5) };
    let reply = ask(request(crate::report::findings::SCHEMA, settings)).unwrap();
    let answer: crate::report::findings::Answer = serde_json::from_str(&reply.answers[0]).unwrap();
    assert!(answer.findings.len() <= 12);
}

#[test]
fn progress_goes_from_queue_to_images_to_prompt_to_answer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let call = Call {
        progress: Arc::new(move |progress| sink.lock().unwrap().push(progress)),
        ..call(&Cancel::default())
    };
    let reply = wait(ENGINE.answer(request(SMALL, sampled(2)), call)).unwrap();
    let waited = |progress: &Progress| matches!(progress, Progress::Waiting { .. });
    let seen: Vec<Progress> = seen.lock().unwrap().iter().copied().filter(|stage| !waited(stage)).collect();
    assert_eq!(seen[..2], [Progress::Queued, Progress::EncodedImages { done: 1, of: 1 }]);
    assert!(seen.contains(&Progress::Prefilled { tokens: reply.usage.prompt_tokens }));
    assert!(matches!(seen.last(), Some(Progress::Decoded { .. })));
}

#[test]
fn cancelling_between_tokens_ends_the_answer() {
    let cancel = Cancel::default();
    let trigger = cancel.clone();
    let progress = move |progress| {
        if matches!(progress, Progress::Decoded { .. }) {
            trigger.cancel()
        }
    };
    let call = Call { progress: Arc::new(progress), ..call(&cancel) };
    assert!(matches!(wait(ENGINE.answer(request(SMALL, sampled(3)), call)), Err(EngineError::Cancelled)));
}

#[test]
fn a_request_cancelled_while_it_waits_is_not_run() {
    let cancel = Cancel::default();
    cancel.cancel();
    let call =
        Call { progress: Arc::new(|progress| assert_eq!(progress, Progress::Queued)), ..call(&cancel) };
    assert!(matches!(wait(ENGINE.answer(request(SMALL, sampled(3)), call)), Err(EngineError::Cancelled)));
}

#[test]
fn the_time_limit_is_the_clocks() {
    let clock = Clock::manual(crate::clock::Timestamp(0));
    let (engine, hand) = (engine(clock.clone()), clock);
    let progress = move |_| hand.advance(Duration::from_secs(2));
    let call =
        Call { progress: Arc::new(progress), time_limit: Duration::from_secs(3), ..call(&Cancel::default()) };
    let outcome = wait(engine.answer(request(SMALL, sampled(3)), call));
    assert!(matches!(outcome, Err(EngineError::TimedOut(limit)) if limit == Duration::from_secs(3)));
}

#[test]
fn an_answer_that_does_not_end_is_an_error() {
    let short = Settings { tokens_max: 20, ..Settings::default() };
    assert!(matches!(ask(request(ENDLESS, short)), Err(EngineError::TokenBudgetSpent(20))));
    let long = Settings { tokens_max: 2000, ..Settings::default() };
    assert!(matches!(ask(request(ENDLESS, long)), Err(EngineError::Repeating)));
}

#[test]
fn words_that_do_not_end_are_cut_and_the_next_turn_follows() {
    let mut asked = request(SMALL, Settings { text_tokens_max: 12, tokens_max: 400, ..Settings::default() });
    let question = Turn::User(vec![Part::Text("As JSON.".to_owned())]);
    asked.turns.splice(1..1, [Turn::Open(Form::Text), question]);
    let reply = ask(asked).unwrap();
    assert_eq!((reply.answers.len(), reply.usage.cut), (2, Some(Cut::Tokens)));
    assert!(serde_json::from_str::<Value>(&reply.answers[1]).is_ok());
}

#[test]
fn what_cannot_be_run_is_refused_and_the_next_request_is_answered() {
    let too_long = Settings { tokens_max: 5000, ..Settings::default() };
    assert!(matches!(ask(request(SMALL, too_long)), Err(EngineError::PromptTooLong { limit: 4096, .. })));
    assert!(matches!(ask(request("[]", sampled(0))), Err(EngineError::Constraint(_))));
    let mut broken = request(SMALL, sampled(0));
    let torn = Part::Image(Arc::new(RgbImage { width: 9, height: 9, data: vec![] }));
    broken.turns.insert(0, Turn::User(vec![torn]));
    assert!(matches!(ask(broken), Err(EngineError::Forward(_))));
    let panicking = Call {
        progress: Arc::new(|progress| assert_eq!(progress, Progress::Queued)),
        ..call(&Cancel::default())
    };
    let outcome = wait(ENGINE.answer(request(SMALL, sampled(0)), panicking));
    assert!(matches!(outcome, Err(EngineError::Forward(reason)) if reason.starts_with("panicked")));
    assert!(ask(request(SMALL, sampled(0))).is_ok());
}

#[test]
fn a_folder_that_is_no_model_is_refused_by_file() {
    let empty = tempfile::tempdir().unwrap();
    let error = |folder: &std::path::Path| {
        LocalEngine::start(ModelFiles::Folder(folder.to_owned()), LocalOptions::default()).err().unwrap()
    };
    assert!(matches!(error(empty.path()), LoadError::ReadFile { path, .. } if path.ends_with("config.json")));
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(fixture::folder().join(file), empty.path().join(file)).unwrap();
    }
    assert!(matches!(error(empty.path()), LoadError::NoWeights(_)));
    std::fs::write(empty.path().join("model.safetensors"), b"not tensors").unwrap();
    assert!(matches!(error(empty.path()), LoadError::Safetensors { .. }));
}

#[test]
fn a_model_inside_the_program_answers_like_its_folder() {
    static FILES: [(&str, &[u8]); 3] = [
        ("config.json", include_bytes!("../../../tests/it/golden/tiny-gemma3/config.json")),
        ("tokenizer.json", include_bytes!("../../../tests/it/golden/tiny-gemma3/tokenizer.json")),
        ("model.safetensors", include_bytes!("../../../tests/it/golden/tiny-gemma3/model.safetensors")),
    ];
    let embedded = LocalEngine::start(ModelFiles::Embedded(&FILES), LocalOptions::default()).unwrap();
    assert_eq!(embedded.identity().weights_sha256, ENGINE.identity().weights_sha256);
    let answer = wait(embedded.answer(request(SMALL, sampled(4)), call(&Cancel::default())));
    assert_eq!(only_answer(answer), only_answer(ask(request(SMALL, sampled(4)))));
}

#[test]
fn inspection_lists_what_a_folder_holds() {
    let inspection = inspect(&fixture::folder()).unwrap();
    assert!(inspection.is_loadable(), "{inspection:?}");
    assert_eq!(inspection.identity, *ENGINE.identity());
    assert_eq!((inspection.shape.layers, inspection.shape.global_layers), (7, 1));
    assert_eq!(inspection.dtypes["F32"], 148);
    assert!(inspection.unused.is_empty());
}

#[test]
fn the_demonstration_model_is_whole_and_says_what_it_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let inspection = inspect(&folder).unwrap();
    assert!(inspection.is_loadable() && inspection.unused.is_empty(), "{inspection:?}");
    assert!(inspection.files.iter().map(|file| file.bytes).sum::<u64>() <= 10_000_000);
    assert!(inspection.identity.notice.is_some());
    assert!(!inspection.identity.name.to_lowercase().contains("medgemma"));
}

#[test]
fn inspection_names_missing_misshapen_and_unused_tensors() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(fixture::folder().join(file), folder.path().join(file)).unwrap();
    }
    let mut tensors =
        candle_core::safetensors::load(fixture::folder().join("model.safetensors"), &Device::Cpu).unwrap();
    let norm = tensors.remove("language_model.model.norm.weight").unwrap();
    tensors.insert("vision_tower.post_layernorm.weight".to_owned(), norm.clone());
    tensors.insert("vision_tower.head.probe".to_owned(), norm);
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
    let inspection = inspect(folder.path()).unwrap();
    assert_eq!(inspection.missing, ["language_model.model.norm.weight"]);
    assert_eq!(inspection.unused, ["vision_tower.head.probe"]);
    assert!(inspection.faults[0].starts_with("vision_tower.post_layernorm.weight has shape [64]"));
    assert!(!inspection.is_loadable());
}

/// Schemas a random model can fill in a bounded number of tokens.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(serde_json::json!({ "type": "boolean" })),
        (0..50_i64, 51..999_i64).prop_map(
            |(low, high)| serde_json::json!({ "type": "integer", "minimum": low, "maximum": high })
        ),
        (0..3_u32, 3..8_u32).prop_map(
            |(min, max)| serde_json::json!({ "type": "string", "minLength": min, "maxLength": max })
        ),
        prop::collection::btree_set("[a-zé \"\\\\]{1,6}", 1..4)
            .prop_map(|words| serde_json::json!({ "enum": words })),
    ];
    let items = leaf
        .clone()
        .prop_map(|item| serde_json::json!({ "type": "array", "items": item, "minItems": 1, "maxItems": 3 }));
    let properties = prop::collection::btree_map("[a-z]{1,8}", prop_oneof![leaf, items], 1..4);
    properties.prop_map(|properties| {
        let required: Vec<&String> = properties.keys().collect();
        serde_json::json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
    })
}

/// Whether `value` is what `schema` describes; only what [`schemas`] makes.
fn satisfies(value: &Value, schema: &Value) -> bool {
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    let within = |n: u64, least: &str, most: &str| {
        schema[least].as_u64().unwrap() <= n && n <= schema[most].as_u64().unwrap()
    };
    match schema["type"].as_str().unwrap() {
        "boolean" => value.is_boolean(),
        "integer" => value.as_u64().is_some_and(|n| within(n, "minimum", "maximum")),
        "string" => {
            value.as_str().is_some_and(|s| within(s.chars().count() as u64, "minLength", "maxLength"))
        }
        "array" => value.as_array().is_some_and(|list| {
            within(list.len() as u64, "minItems", "maxItems")
                && list.iter().all(|item| satisfies(item, &schema["items"]))
        }),
        _ => {
            let (object, properties) =
                (value.as_object().unwrap(), schema["properties"].as_object().unwrap());
            object.keys().eq(properties.keys())
                && object.iter().all(|(key, value)| satisfies(value, &properties[key]))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_schema_the_answer_satisfies_it(schema in schemas(), seed: u64) {
        let text = only_answer(ask(request(&schema.to_string(), sampled(seed))));
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(satisfies(&value, &schema), "{} is not {}", text, schema);
        prop_assert_eq!(value.to_string(), text, "not compact, or not in the order of the keys");
    }
}

fn gguf_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    gguf::writing::save(folder.path(), GgmlDType::F32);
    folder
}

/// Without a `tokenizer.json`: the vocabulary is that of the metadata.
#[test]
fn a_model_in_gguf_answers_like_the_same_in_safetensors() {
    let folder = gguf_folder();
    let engine =
        LocalEngine::start(ModelFiles::Folder(folder.path().to_owned()), LocalOptions::default()).unwrap();
    assert_eq!(engine.identity().name, "tiny");
    assert!(engine.identity().version.starts_with(&engine.identity().weights_sha256[..12]));
    let answer = wait(engine.answer(request(SMALL, sampled(4)), call(&Cancel::default())));
    assert_eq!(only_answer(answer), only_answer(ask(request(SMALL, sampled(4)))));
}

#[test]
fn the_vocabulary_of_gguf_cuts_texts_as_tokenizer_json_does() {
    let folder = gguf_folder();
    let files = ModelFiles::Folder(folder.path().to_owned());
    let ours = Tokens::load(&files, &ModelConfig::load(&files).unwrap()).unwrap();
    let theirs = fixture::tokens();
    assert_eq!(ours.entries(), theirs.entries());
    for text in [fixture::PROMPT, "Pleural effusion,  12.5 mm\n\n\nä€ <start_of_turn>", "", "   "] {
        assert_eq!(ours.encode(text).unwrap(), theirs.encode(text).unwrap(), "{text}");
    }
}

#[test]
fn inspection_of_gguf_names_both_files_and_what_is_wrong_by_tensor() {
    let folder = gguf_folder();
    let whole = inspect(folder.path()).unwrap();
    assert!(whole.is_loadable() && whole.unused.is_empty(), "{whole:?}");
    assert_eq!(
        whole.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        ["text.gguf", "mmproj.gguf"]
    );
    let mut decoder = gguf::writing::decoder(GgmlDType::Q5_0);
    decoder.tensors.retain(|tensor| tensor.name != "output_norm.weight");
    for tensor in decoder.tensors.iter_mut().filter(|tensor| tensor.name == "blk.2.ffn_up.weight") {
        tensor.kind = 20;
    }
    decoder.save(&folder.path().join("text.gguf"));
    let broken = inspect(folder.path()).unwrap();
    assert_eq!(broken.missing, ["language_model.model.norm.weight"]);
    assert_eq!(broken.faults, ["blk.2.ffn_up.weight holds IQ4_NL, which the engine does not compute with"]);
    assert_eq!(broken.warnings, ["42 tensors of Q5_0, which has no fast kernel"]);
}

#[test]
fn a_gguf_folder_lacks_and_doubles_nothing_silently() {
    let folder = gguf_folder();
    let refusal = || inspect(folder.path()).unwrap_err().to_string();
    std::fs::copy(folder.path().join("text.gguf"), folder.path().join("other.gguf")).unwrap();
    assert!(refusal().ends_with("several GGUF files of one part of a model: other.gguf, text.gguf"));
    assert!(inspect(&folder.path().join("other.gguf")).is_ok());
    std::fs::remove_file(folder.path().join("other.gguf")).unwrap();
    std::fs::remove_file(folder.path().join("mmproj.gguf")).unwrap();
    assert!(refusal().starts_with("beside text.gguf is no GGUF file of the vision tower"));
}
