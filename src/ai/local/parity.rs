//! The forward pass, held against the reference implementation layer by layer, and proof that
//! the comparison notices the mistakes such code usually has.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};

use super::Precision;
use super::blocks::ImageBlocks;
use super::cache::{Cache, Forgotten};
use super::config::{Activation, ModelConfig};
use super::decoder::{Decoder, Stretch};
use super::files::ModelFiles;
use super::fixture::{self, Golden};
use super::gguf;
use super::projector::Projector;
use super::vision::{VisionOptions, VisionTower};
use super::weights::Weights;
use crate::ai::EngineError;

const TOLERANCE: f32 = 1e-4;
/// What a mutated pass must differ by at least.
const VISIBLE: f32 = 1e-3;

struct Subject {
    config: ModelConfig,
    vision: VisionTower,
    projector: Projector,
    decoder: Decoder,
}

/// What one pass over prompt and answer gave.
struct Run {
    /// Per layer `[prompt + answer, hidden]`.
    layers: Vec<Tensor>,
    /// `[1 + answer, vocabulary]`: after the prompt and after each token of the answer.
    logits: Tensor,
}

impl Subject {
    fn new(mutate: impl FnOnce(&mut ModelConfig)) -> Self {
        Self::load(&fixture::files(), Precision::Exact, mutate)
    }

    fn load(files: &ModelFiles, precision: Precision, mutate: impl FnOnce(&mut ModelConfig)) -> Self {
        let mut config = ModelConfig::load(files).unwrap();
        mutate(&mut config);
        let weights = Weights::open(files, &config, &Device::Cpu, precision).unwrap();
        Self {
            vision: VisionTower::load(&weights, &config, &VisionOptions::default()).unwrap(),
            projector: Projector::load(&weights, &config).unwrap(),
            decoder: Decoder::load(&weights, &config.text).unwrap(),
            config,
        }
    }

    fn vision(&self, golden: &Golden) -> Tensor {
        let pixels = golden.tensor("pixel_values");
        let encode = |n: usize| self.vision.encode(&pixels.get(n).unwrap(), &mut || Ok(())).unwrap();
        Tensor::stack(&[encode(0), encode(1)], 0).unwrap()
    }

    fn projected(&self, features: &Tensor) -> Tensor {
        let project = |n: usize| self.projector.forward(&features.get(n).unwrap()).unwrap();
        Tensor::stack(&[project(0), project(1)], 0).unwrap()
    }

    /// The prompt in `chunks`, then the answer token by token.
    fn run(&self, golden: &Golden, chunks: &[Range<usize>], images: &ImageBlocks) -> Run {
        let features = self.projected(&self.vision(golden)).flatten_to(1).unwrap();
        self.run_with(golden, chunks, images, &features)
    }

    fn run_with(
        &self,
        golden: &Golden,
        chunks: &[Range<usize>],
        images: &ImageBlocks,
        features: &Tensor,
    ) -> Run {
        let (ids, runs) = (golden.ids("ids"), prompt(golden).0);
        let embedded = self.decoder.splice(&ids, &runs, Some(features), 0..ids.len()).unwrap();
        let prompt = chunks.iter().map(|chunk| embedded.narrow(0, chunk.start, chunk.len()).unwrap());
        let answer = golden.ids("answer").into_iter().map(|id| self.decoder.embed(&[id]).unwrap());
        let (mut cache, mut layers, mut logits) =
            (self.decoder.new_cache(), vec![Vec::new(); self.config.text.layers.len()], Vec::new());
        for (n, chunk) in prompt.chain(answer).enumerate() {
            let hidden = self
                .decoder
                .forward(&chunk, images, &mut cache, &mut |layer, x| {
                    layers[layer].push(x.clone());
                    Ok(())
                })
                .unwrap();
            if n + 1 >= chunks.len() {
                logits.push(self.decoder.logits(&hidden).unwrap());
            }
        }
        Run {
            layers: layers.iter().map(|rows| Tensor::cat(rows, 0).unwrap()).collect(),
            logits: Tensor::stack(&logits, 0).unwrap(),
        }
    }

    /// The distance of the logits to the reference, whole prompt in one chunk.
    fn distance(&self, golden: &Golden) -> f32 {
        let (images, whole) = prompt(golden);
        distance(&self.run(golden, &[whole], &images).logits, &golden.tensor("logits"))
    }
}

fn prompt(golden: &Golden) -> (ImageBlocks, Range<usize>) {
    let ids = golden.ids("ids");
    (ImageBlocks::find(&ids, 8), 0..ids.len())
}

#[track_caller]
fn distance(ours: &Tensor, theirs: &Tensor) -> f32 {
    assert_eq!(ours.dims(), theirs.dims());
    (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[track_caller]
fn close(ours: &Tensor, theirs: &Tensor, what: &str) {
    let distance = distance(ours, theirs);
    println!("{what}: {distance:e}");
    assert!(distance <= TOLERANCE, "{what} differs by {distance:e}");
}

#[track_caller]
fn noticed(distance: f32) {
    println!("noticed: {distance:e}");
    assert!(distance > VISIBLE, "differs by {distance:e} only");
}

#[test]
fn the_fixture_is_as_awkward_as_it_must_be() {
    let (golden, config) = (fixture::golden(), fixture::config());
    let ids = golden.ids("ids");
    assert!(ids.len() > 4 * config.text.window);
    assert_eq!(ids.iter().filter(|&&id| id == config.image_token).count(), 2 * config.image_tokens);
    assert!(golden.ids("answer").len() >= 16);
    assert_ne!(config.text.score_scale, (config.text.head_dim as f64).powf(-0.5));
    assert_ne!(config.text.hidden, config.text.heads * config.text.head_dim);
}

#[test]
fn vision_features_and_projected_tokens_are_the_references() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let features = subject.vision(&golden);
    close(&features, &golden.tensor("vision"), "vision");
    close(&subject.projected(&features), &golden.tensor("projected"), "projector");
}

#[test]
fn the_vision_tower_stops_between_layers_when_told() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let mut layers = 0;
    let pixels = golden.tensor("pixel_values").get(0).unwrap();
    let outcome = subject.vision.encode(&pixels, &mut || {
        layers += 1;
        if layers == 2 { Err(EngineError::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(outcome, Err(EngineError::Cancelled)));
    assert_eq!(layers, 2);
}

#[test]
fn every_layer_and_all_logits_are_the_references() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (images, whole) = prompt(&golden);
    let run = subject.run(&golden, &[whole], &images);
    for (n, layer) in run.layers.iter().enumerate() {
        close(layer, &golden.tensor(&format!("layer_{n}")), &format!("layer {n}"));
    }
    close(&run.logits, &golden.tensor("logits"), "logits");
}

#[test]
fn reading_the_prompt_in_chunks_changes_nothing() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (images, _) = prompt(&golden);
    for tokens_max in [1, 7, 20, 33, 64] {
        let run = subject.run(&golden, &images.chunks(0..golden.ids("ids").len(), tokens_max), &images);
        close(&run.logits, &golden.tensor("logits"), &format!("logits with chunks of {tokens_max}"));
        close(&run.layers[6], &golden.tensor("layer_6"), "last layer");
    }
}

#[test]
fn sliding_layers_hold_their_window_and_no_more() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let window = subject.config.text.window;
    let text = ImageBlocks::find(&[], 8);
    let mut cache = subject.decoder.new_cache();
    for _ in 0..10 {
        let chunk = subject.decoder.embed(&golden.ids("ids")[..30]).unwrap();
        subject.decoder.forward(&chunk, &text, &mut cache, &mut |_, _| Ok(())).unwrap();
    }
    assert!(cache.rows_held(0) <= 2 * window + 30, "{} rows", cache.rows_held(0));
    assert!((300..=600).contains(&cache.rows_held(5)), "{} rows", cache.rows_held(5));
}

/// Three conversations of different length, stepped together and each alone.
#[test]
fn a_batched_step_is_the_single_steps() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (decoder, ids) = (&subject.decoder, golden.ids("ids"));
    let begin = |length: usize| {
        let mut cache = decoder.new_cache();
        decoder
            .step_each(&mut [Stretch { ids: &ids[..length], cache: &mut cache }], &mut |_, _| Ok(()))
            .unwrap();
        cache
    };
    let (mut alone, mut together) = ([begin(3), begin(60), begin(31)], [begin(3), begin(60), begin(31)]);
    for runs in [[&ids[5..6], &ids[6..7], &ids[7..8]], [&ids[9..10], &ids[10..14], &ids[20..21]]] {
        let single: Vec<Tensor> = alone
            .iter_mut()
            .zip(runs)
            .map(|(cache, ids)| {
                decoder.step_each(&mut [Stretch { ids, cache }], &mut |_, _| Ok(())).unwrap().remove(0)
            })
            .collect();
        let mut stretches: Vec<Stretch<'_>> =
            together.iter_mut().zip(runs).map(|(cache, ids)| Stretch { ids, cache }).collect();
        let batched = decoder.step_each(&mut stretches, &mut |_, _| Ok(())).unwrap();
        for (one, other) in batched.iter().zip(&single) {
            assert!(distance(one, other) < 1e-5);
        }
        assert!(distance(&batched[0], &batched[1]) > VISIBLE);
    }
}

#[test]
fn a_fork_goes_its_own_way_and_a_cut_goes_back() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (decoder, ids) = (&subject.decoder, golden.ids("ids"));
    let step = |ids: &[u32], cache: &mut Cache| {
        decoder.step_each(&mut [Stretch { ids, cache }], &mut |_, _| Ok(())).unwrap().remove(0)
    };
    let mut trunk = decoder.new_cache();
    step(&ids[..40], &mut trunk);
    let mut fork = trunk.fork().unwrap();
    step(&ids[50..55], &mut fork);
    let expected = step(&ids[40..44], &mut trunk);
    fork.truncate(40).unwrap();
    assert_eq!(fork.positions(), 40);
    assert!(distance(&step(&ids[40..44], &mut fork), &expected) < 1e-5);
}

#[test]
fn a_cut_that_a_sliding_layer_cannot_follow_changes_nothing() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (decoder, ids) = (&subject.decoder, golden.ids("ids"));
    let mut cache = decoder.new_cache();
    for id in ids.iter().chain(&ids) {
        decoder.step_each(&mut [Stretch { ids: &[*id], cache: &mut cache }], &mut |_, _| Ok(())).unwrap();
    }
    assert_eq!(cache.truncate(5), Err(Forgotten(5)));
    assert_eq!(cache.truncate(2 * ids.len() + 1), Err(Forgotten(2 * ids.len() + 1)));
    assert_eq!(cache.positions(), 2 * ids.len());
    cache.truncate(2 * ids.len() - 1).unwrap();
}

#[test]
fn exchanging_the_images_changes_the_answer() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (images, whole) = prompt(&golden);
    let projected = golden.tensor("projected");
    let exchanged = Tensor::cat(&[projected.get(1).unwrap(), projected.get(0).unwrap()], 0).unwrap();
    let run = subject.run_with(&golden, &[whole], &images, &exchanged);
    noticed(distance(&run.logits, &golden.tensor("logits")));
}

#[test]
fn a_causal_only_mask_is_noticed() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (_, whole) = prompt(&golden);
    let run = subject.run(&golden, &[whole], &ImageBlocks::find(&[], 8));
    noticed(distance(&run.logits, &golden.tensor("logits")));
}

#[test]
fn a_split_image_block_is_noticed() {
    let (subject, golden) = (Subject::new(|_| ()), fixture::golden());
    let (images, whole) = prompt(&golden);
    let inside = whole.clone().find(|&position| images.same(position, position + 8)).unwrap() + 8;
    let run = subject.run(&golden, &[0..inside, inside..whole.end], &images);
    noticed(distance(&run.logits, &golden.tensor("logits")));
}

#[test]
fn usual_mistakes_of_the_decoder_are_noticed() {
    let golden = fixture::golden();
    let mistakes: [fn(&mut ModelConfig); 6] = [
        |config| config.text.activation = Activation::Silu,
        |config| config.text.global_rope.factor = 1.0,
        |config| config.text.sliding_rope.factor = 8.0,
        |config| config.text.score_scale = (config.text.head_dim as f64).powf(-0.5),
        |config| config.text.window += 1,
        |config| config.text.window -= 1,
    ];
    for mistake in mistakes {
        noticed(Subject::new(mistake).distance(&golden));
    }
}

/// The fixture's folder with tensors renamed and converted, and the hub's `config.json`.
fn other_dialect(rename: impl Fn(&str) -> String, dtype: DType, shards: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tensors =
        candle_core::safetensors::load(fixture::folder().join("model.safetensors"), &Device::Cpu).unwrap();
    let renamed: Vec<(String, Tensor)> =
        tensors.into_iter().map(|(name, t)| (rename(&name), t.to_dtype(dtype).unwrap())).collect();
    let mut index = serde_json::Map::new();
    for shard in 0..shards {
        let file = format!("model-{shard}.safetensors");
        let part: std::collections::HashMap<_, _> =
            renamed.iter().skip(shard).step_by(shards).cloned().collect();
        index.extend(part.keys().map(|name| (name.clone(), file.clone().into())));
        candle_core::safetensors::save(&part, folder.path().join(&file)).unwrap();
    }
    let index = serde_json::json!({ "weight_map": index });
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::copy(fixture::folder().join("config.hub.json"), folder.path().join("config.json")).unwrap();
    folder
}

fn hub_name(name: &str) -> String {
    name.replace("vision_tower.", "vision_tower.vision_model.")
}

#[test]
fn the_hub_dialect_in_two_shards_is_the_same_model() {
    let folder = other_dialect(hub_name, DType::F32, 2);
    let subject = Subject::load(&ModelFiles::Folder(folder.path().to_owned()), Precision::Exact, |_| ());
    assert!(subject.distance(&fixture::golden()) <= TOLERANCE);
}

/// Rounding errors of a random model of this width are a quarter of the logits' spread, 0.66.
#[test]
fn eight_bit_matrices_stay_near_the_exact_ones() {
    let eight_bit = Subject::load(&fixture::files(), Precision::EightBit, |_| ());
    let distance = eight_bit.distance(&fixture::golden());
    assert!(VISIBLE < distance && distance < 0.25, "differs by {distance:e}");
}

#[test]
fn half_precision_files_give_nearly_the_same_logits() {
    for (dtype, tolerance) in [(DType::BF16, 5e-2), (DType::F16, 1e-2)] {
        let folder = other_dialect(str::to_owned, dtype, 1);
        let distance = Subject::load(&ModelFiles::Folder(folder.path().to_owned()), Precision::Exact, |_| ())
            .distance(&fixture::golden());
        assert!(distance <= tolerance, "{dtype:?} differs by {distance:e}");
    }
}

/// The tiny model as GGUF, its matrices in one type.
fn as_gguf(kind: GgmlDType) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    gguf::writing::save(folder.path(), kind);
    folder
}

fn of_folder(folder: &std::path::Path) -> Subject {
    Subject::load(&ModelFiles::Folder(folder.to_owned()), Precision::Exact, |_| ())
}

#[test]
fn the_model_as_gguf_is_the_same_model() {
    let (folder, golden) = (as_gguf(GgmlDType::F32), fixture::golden());
    for subject in [of_folder(folder.path()), of_folder(&folder.path().join("text.gguf"))] {
        let features = subject.vision(&golden);
        close(&features, &golden.tensor("vision"), "vision");
        close(&subject.projected(&features), &golden.tensor("projected"), "projector");
        assert!(subject.distance(&golden) <= TOLERANCE);
    }
}

#[test]
fn gguf_matrices_are_computed_as_they_lie_in_the_file() {
    let types = [(GgmlDType::F16, 1e-2), (GgmlDType::BF16, 5e-2), (GgmlDType::Q8_0, 0.25)];
    for (kind, tolerance) in types {
        let distance = of_folder(as_gguf(kind).path()).distance(&fixture::golden());
        println!("{kind:?}: {distance:e}");
        assert!(TOLERANCE < distance && distance <= tolerance, "{kind:?} differs by {distance:e}");
    }
}

#[test]
fn metadata_mean_what_the_other_form_says() {
    let folder = as_gguf(GgmlDType::F32);
    let config = ModelConfig::load(&ModelFiles::Folder(folder.path().to_owned())).unwrap();
    let mut expected = fixture::config();
    // the scale of the scores is in the norm of the queries there
    expected.text.score_scale = (expected.text.head_dim as f64).powf(-0.5);
    expected.text.norm_eps = config.text.norm_eps;
    expected.vision.norm_eps = config.vision.norm_eps;
    (expected.name, expected.stops) = (Some("tiny".to_owned()), vec![1]);
    assert_eq!(config, expected);
}
