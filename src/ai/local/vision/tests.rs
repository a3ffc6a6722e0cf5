//! The same tower in all its forms: held against the reference where it is f32, and against f32
//! where it is not.

use candle_core::Tensor;

use super::super::Precision;
use super::super::fixture::{self, Golden};
use super::super::projector::Projector;
use super::*;

/// Of features whose deviation is about one.
const TOLERANCE: f32 = 1e-4;
/// bf16 has eight bits: a relative distance of a few thousandths after all layers.
const ROUNDED: f32 = 2e-2;

fn tower(plan: Plan) -> VisionTower {
    let config = fixture::config();
    let weights = Weights::open(&fixture::files(), &config, &Device::Cpu, Precision::Exact).unwrap();
    VisionTower::with(plan, &weights, &config.vision, 2).unwrap()
}

fn features(tower: &VisionTower, golden: &Golden) -> Tensor {
    let pixels = golden.tensor("pixel_values");
    let encode = |n: usize| tower.encode(&pixels.get(n).unwrap(), &mut || Ok(())).unwrap();
    Tensor::stack(&[encode(0), encode(1)], 0).unwrap()
}

fn projected(features: &Tensor) -> Tensor {
    let config = fixture::config();
    let weights = Weights::open(&fixture::files(), &config, &Device::Cpu, Precision::Exact).unwrap();
    Projector::load(&weights, &config).unwrap().forward(&features.get(0).unwrap()).unwrap()
}

fn farthest(ours: &Tensor, theirs: &Tensor) -> f32 {
    (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Of the difference to the whole, both as root mean squares.
fn relative(ours: &Tensor, theirs: &Tensor) -> f32 {
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    norm(&(ours - theirs).unwrap()) / norm(theirs)
}

#[test]
fn blocks_of_rows_give_the_features_of_the_reference_on_any_processor() {
    let golden = fixture::golden();
    for lanes in [Lanes::BASELINE, Lanes::detect()] {
        let distance =
            farthest(&features(&tower(Plan::Exact(Exact(lanes))), &golden), &golden.tensor("vision"));
        println!("{}: {distance:e}", lanes.name());
        assert!(distance <= TOLERANCE, "{} differs by {distance:e}", lanes.name());
    }
}

#[test]
fn bf16_stays_near_f32_and_says_what_it_is() {
    let Some(rounded) = Rounded::new(Lanes::detect()) else { return eprintln!("no tiles here") };
    let (tower, golden) = (tower(Plan::Rounded(rounded)), fixture::golden());
    let features = features(&tower, &golden);
    let of_features = relative(&features, &golden.tensor("vision"));
    let of_tokens = relative(&projected(&features), &golden.tensor("projected").get(0).unwrap());
    println!("features {of_features:e}, projected {of_tokens:e}");
    assert!(1e-5 < of_features && of_features < ROUNDED && of_tokens < ROUNDED);
    assert!(tower.is_rounded() && tower.kernels.contains("amx-bf16"));
}

#[test]
fn blocks_stop_between_layers_too() {
    let (tower, golden) = (tower(Plan::Exact(Exact(Lanes::BASELINE))), fixture::golden());
    let mut layers = 0;
    let outcome = tower.encode(&golden.tensor("pixel_values").get(0).unwrap(), &mut || {
        layers += 1;
        if layers == 2 { Err(EngineError::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(outcome, Err(EngineError::Cancelled)) && layers == 2);
}

#[test]
fn a_small_tower_is_exact_and_plain_unless_told_otherwise() {
    let config = fixture::config().vision;
    let choose = |precision, kernels| {
        Plan::choose(&VisionOptions { precision, kernels, threads: 1 }, &config, &Device::Cpu)
    };
    for precision in [VisionPrecision::Auto, VisionPrecision::F32] {
        assert!(matches!(choose(precision, KernelChoice::Auto), Ok(Plan::Plain)));
    }
    let refused = choose(VisionPrecision::Bf16, KernelChoice::Baseline);
    assert!(matches!(refused, Err(LoadError::NoTiles)));
}

#[test]
fn a_tower_of_full_size_gets_the_best_that_is_there() {
    let config = VisionConfig {
        hidden: 1152,
        intermediate: 4304,
        image_size: 896,
        patch_size: 14,
        ..fixture::config().vision
    };
    let choose = |precision, kernels| {
        Plan::choose(&VisionOptions { precision, kernels, threads: 1 }, &config, &Device::Cpu).unwrap()
    };
    let tiles = Rounded::new(Lanes::detect()).is_some();
    assert_eq!(matches!(choose(VisionPrecision::Auto, KernelChoice::Auto), Plan::Rounded(_)), tiles);
    assert!(matches!(choose(VisionPrecision::F32, KernelChoice::Auto), Plan::Exact(_)));
    assert!(matches!(
        choose(VisionPrecision::Auto, KernelChoice::Baseline),
        Plan::Exact(Exact(Lanes::BASELINE))
    ));
}
