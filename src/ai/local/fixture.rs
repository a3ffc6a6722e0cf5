//! The tiny random model of `conformance/model/make_tiny_golden.py`, and what the reference
//! computed with it.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::config::ModelConfig;
use super::files::ModelFiles;
use super::tokens::Tokens;
use crate::ai::RgbImage;

pub(super) const PROMPT: &str = include_str!("../../../tests/it/golden/tiny-gemma3/prompt.txt");

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/tiny-gemma3")
}

pub(super) fn files() -> ModelFiles {
    ModelFiles::Folder(folder())
}

pub(super) fn config() -> ModelConfig {
    ModelConfig::parse(&std::fs::read(folder().join("config.json")).unwrap()).unwrap()
}

pub(super) fn tokens() -> Tokens {
    Tokens::load(&files(), &config()).unwrap()
}

pub(super) struct Golden(HashMap<String, Tensor>);

pub(super) fn golden() -> Golden {
    Golden(candle_core::safetensors::load(folder().join("golden.safetensors"), &Device::Cpu).unwrap())
}

impl Golden {
    pub(super) fn tensor(&self, name: &str) -> Tensor {
        self.0[name].to_dtype(DType::F32).unwrap()
    }

    pub(super) fn ids(&self, name: &str) -> Vec<u32> {
        self.0[name].to_vec1::<i64>().unwrap().into_iter().map(|id| id as u32).collect()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        self.0[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    pub(super) fn picture(&self, n: usize) -> RgbImage {
        let (height, width, _) = self.0[&format!("picture_{n}")].dims3().unwrap();
        RgbImage { width: width as u32, height: height as u32, data: self.bytes(&format!("picture_{n}")) }
    }
}
