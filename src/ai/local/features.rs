//! The projected features of pictures on disk: what was encoded once is read the next time.
//!
//! A file is complete or is none: it is written aside and renamed, and ends with a digest of all
//! before it. The least recently used go when there are too many bytes of them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use metrics::{counter, gauge};
use sha2::{Digest as _, Sha256};

use crate::ai::{EngineError, PictureDigest};
use crate::clock::Clock;
use crate::ids::hex;
use crate::telemetry::metrics::model as metric;

/// Changes with whatever else decides about features: preparation of pictures, form of the files.
const FORM: &[u8] = b"radiant features 1\n";
const ENDING: &str = "features";
const DIGEST_BYTES: usize = 32;

#[derive(Debug, Clone)]
pub struct FeatureOptions {
    pub folder: PathBuf,
    /// Of all files.
    pub bytes_max: u64,
}

pub(super) struct Features {
    folder: PathBuf,
    bytes_max: u64,
    /// What is encoded by this model and no other.
    salt: Sha256,
    /// Rows and their width.
    shape: (usize, usize),
    /// Least recently used first.
    files: VecDeque<Entry>,
    bytes: u64,
    clock: Clock,
}

struct Entry {
    name: String,
    bytes: u64,
}

impl Features {
    /// `model` is whatever else the features depend on: its digest and precision.
    pub(super) fn open(
        options: &FeatureOptions,
        model: &str,
        shape: (usize, usize),
        clock: Clock,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&options.folder)?;
        let salt = Sha256::new().chain_update(FORM).chain_update(model).chain_update("\n");
        let files = listed(&options.folder)?;
        let bytes = files.iter().map(|entry| entry.bytes).sum();
        let (folder, bytes_max) = (options.folder.clone(), options.bytes_max);
        let mut features = Self { folder, bytes_max, salt, shape, files, bytes, clock };
        features.make_room(0);
        Ok(features)
    }

    /// A file that is not whole is removed and none.
    pub(super) fn get(&mut self, picture: &PictureDigest, device: &Device) -> Option<Tensor> {
        let name = self.name(picture);
        let read = self.read(&name, device);
        let outcome = match &read {
            Ok(Some(_)) => "hit",
            Ok(None) => "miss",
            Err(problem) => {
                tracing::warn!(file = name, problem, "kept features cannot be used and are removed");
                self.remove(&name);
                "damaged"
            }
        };
        counter!(metric::CACHE, "cache" => "features", "outcome" => outcome).increment(1);
        let features = read.ok().flatten()?;
        self.touch(&name);
        Some(features)
    }

    /// What cannot be kept is encoded again the next time.
    pub(super) fn put(&mut self, picture: &PictureDigest, features: &Tensor) {
        let name = self.name(picture);
        let kept = contents(features).map_err(|error| error.to_string()).and_then(|contents| {
            let bytes = contents.len() as u64;
            self.make_room(bytes);
            if bytes > self.bytes_max {
                return Ok(());
            }
            write(&self.folder, &name, &contents).map_err(|error| error.to_string())?;
            self.forget(&name);
            self.bytes += bytes;
            self.files.push_back(Entry { name: name.clone(), bytes });
            Ok(())
        });
        if let Err(problem) = kept {
            tracing::warn!(file = name, problem, "features cannot be kept");
        }
        gauge!(metric::CACHE_BYTES, "cache" => "features").set(self.bytes as f64);
    }

    fn name(&self, picture: &PictureDigest) -> String {
        let digest = self.salt.clone().chain_update(picture).finalize();
        format!("{}.{ENDING}", hex(&digest))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Option<Tensor>, String> {
        let contents = match std::fs::read(self.folder.join(name)) {
            Ok(contents) => contents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let body = whole(&contents).ok_or("its digest is not that of its content")?;
        let (rows, width) = self.shape;
        if body.len() != rows * width * size_of::<f32>() {
            return Err(format!("it holds {} bytes for {rows} x {width} numbers", body.len()));
        }
        let numbers: Vec<f32> = body.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let tensor = Tensor::from_vec(numbers, self.shape, &Device::Cpu);
        tensor.and_then(|tensor| tensor.to_device(device)).map(Some).map_err(|error| error.to_string())
    }

    /// As the one used last, also for the next start.
    fn touch(&mut self, name: &str) {
        if let Some(at) = self.files.iter().position(|entry| entry.name == name) {
            let used = self.files.remove(at);
            self.files.extend(used);
        }
        let file = std::fs::File::options().append(true).open(self.folder.join(name));
        if let Err(error) = file.and_then(|file| file.set_modified(self.clock.now().into())) {
            tracing::debug!(file = name, %error, "the use of kept features could not be noted");
        }
    }

    fn make_room(&mut self, for_bytes: u64) {
        while self.bytes + for_bytes > self.bytes_max {
            let Some(oldest) = self.files.front().map(|entry| entry.name.clone()) else { return };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.folder.join(name)) {
            tracing::warn!(file = name, %error, "kept features could not be removed");
        }
        self.forget(name);
    }

    fn forget(&mut self, name: &str) {
        if let Some(at) = self.files.iter().position(|entry| entry.name == name) {
            self.bytes -= self.files.remove(at).map_or(0, |entry| entry.bytes);
        }
    }
}

/// Whole files, least recently used first. What a killed process left half written goes.
fn listed(folder: &Path) -> io::Result<VecDeque<Entry>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let (name, about) = (file.file_name().to_string_lossy().into_owned(), file.metadata()?);
        if name.starts_with(ASIDE) {
            std::fs::remove_file(file.path())?;
        } else if name.ends_with(ENDING) && about.is_file() {
            files.push((about.modified()?, Entry { name, bytes: about.len() }));
        }
    }
    files.sort_by_key(|(used, _)| *used);
    Ok(files.into_iter().map(|(_, entry)| entry).collect())
}

fn contents(features: &Tensor) -> Result<Vec<u8>, EngineError> {
    let numbers = features.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut contents: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    let digest = Sha256::digest(&contents);
    contents.extend_from_slice(&digest);
    Ok(contents)
}

/// What stands before the digest, if that is right.
fn whole(contents: &[u8]) -> Option<&[u8]> {
    let (body, digest) = contents.split_at_checked(contents.len().checked_sub(DIGEST_BYTES)?)?;
    (Sha256::digest(body).as_slice() == digest).then_some(body)
}

const ASIDE: &str = "part-";

fn write(folder: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!("{ASIDE}{name}"));
    let mut file = std::fs::File::create(&aside)?;
    file.write_all(contents)?;
    file.sync_data()?;
    std::fs::rename(aside, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const FILE_BYTES: u64 = 2 * 3 * 4 + DIGEST_BYTES as u64;

    struct Bench {
        folder: tempfile::TempDir,
        clock: Clock,
    }

    impl Bench {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(Timestamp(1_000_000)) }
        }

        fn open(&self, model: &str, files: u64) -> Features {
            let options =
                FeatureOptions { folder: self.folder.path().to_owned(), bytes_max: files * FILE_BYTES };
            Features::open(&options, model, (2, 3), self.clock.clone()).unwrap()
        }

        fn files(&self) -> Vec<PathBuf> {
            std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path()).collect()
        }
    }

    fn rows(first: f32) -> Tensor {
        Tensor::arange(first, first + 6.0, &Device::Cpu).unwrap().reshape((2, 3)).unwrap()
    }

    fn first(features: Option<Tensor>) -> Option<f32> {
        features.map(|rows| rows.get(0).unwrap().get(0).unwrap().to_scalar().unwrap())
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_for_the_same_model() {
        let bench = Bench::new();
        bench.open("a", 9).put(&[1; 32], &rows(5.0));
        let mut again = bench.open("a", 9);
        assert_eq!(first(again.get(&[1; 32], &Device::Cpu)), Some(5.0));
        assert_eq!(first(again.get(&[2; 32], &Device::Cpu)), None);
        assert_eq!(first(bench.open("b", 9).get(&[1; 32], &Device::Cpu)), None);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let bench = Bench::new();
        let mut features = bench.open("a", 2);
        features.put(&[1; 32], &rows(1.0));
        features.put(&[2; 32], &rows(2.0));
        bench.clock.advance(std::time::Duration::from_secs(1 << 33));
        assert_eq!(first(features.get(&[1; 32], &Device::Cpu)), Some(1.0));
        let mut restarted = bench.open("a", 2);
        restarted.put(&[3; 32], &rows(3.0));
        let held = [1, 2, 3].map(|n| first(restarted.get(&[n; 32], &Device::Cpu)));
        assert_eq!(held, [Some(1.0), None, Some(3.0)]);
        assert_eq!(bench.files().len(), 2);
    }

    #[test]
    fn a_torn_file_is_none_and_is_removed() {
        let bench = Bench::new();
        let mut features = bench.open("a", 9);
        for torn in [0, 40, FILE_BYTES - 1] {
            features.put(&[1; 32], &rows(1.0));
            let file = std::fs::File::options().write(true).open(&bench.files()[0]).unwrap();
            file.set_len(torn).unwrap();
            assert_eq!(first(features.get(&[1; 32], &Device::Cpu)), None);
            assert!(bench.files().is_empty());
        }
    }

    #[test]
    fn what_a_killed_process_was_writing_is_removed() {
        let bench = Bench::new();
        std::fs::write(bench.folder.path().join("part-x.features"), b"half").unwrap();
        bench.open("a", 9);
        assert!(bench.files().is_empty());
    }
}
