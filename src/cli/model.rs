//! `radiant model check DIR`: what a model folder holds and whether the engine would load it;
//! `radiant model bench DIR`: what this machine does with it.
//! `radiant model fetch REPO` makes such a folder.

use std::path::PathBuf;

use clap::Subcommand;

use super::CliError;

#[cfg(feature = "local-model")]
mod bench;
mod fetch;

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Say what a model folder holds, whether it is complete and loadable, and its digests.
    Check { dir: PathBuf },
    /// Say how fast this machine loads a model, reads, writes and looks with it, and in what memory.
    #[cfg(feature = "local-model")]
    Bench(bench::BenchArgs),
    /// Fetch a model from a Hugging Face hub, or from a server that speaks as one (model.hub).
    Fetch(fetch::FetchArgs),
    /// Answer a question in JSON on standard input by tokens and logits, for comparison with other
    /// programs that compute the same files.
    #[command(hide = true)]
    Probe { dir: PathBuf },
}

pub(super) fn run(command: &ModelCommand) -> Result<(), CliError> {
    match command {
        ModelCommand::Check { dir } => check(dir),
        #[cfg(feature = "local-model")]
        ModelCommand::Bench(args) => bench::run(args),
        ModelCommand::Fetch(args) => super::block_on(fetch::run(args)),
        ModelCommand::Probe { dir } => probe(dir),
    }
}

#[cfg(not(feature = "local-model"))]
fn check(_dir: &std::path::Path) -> Result<(), CliError> {
    Err(CliError::Model("this build lacks the feature local-model".to_owned()))
}

#[cfg(not(feature = "local-model"))]
fn probe(dir: &std::path::Path) -> Result<(), CliError> {
    check(dir)
}

#[cfg(feature = "local-model")]
use local::{check, probe};

#[cfg(feature = "local-model")]
mod local {
    use std::io::{self, Write};
    use std::path::Path;

    use super::CliError;
    use crate::ai::local::{self, Inspection, inspect};
    use crate::cli::sentence;
    use crate::hub;

    /// Of a long list, so many names are printed.
    const NAMES_MAX: usize = 20;

    pub(super) fn check(dir: &Path) -> Result<(), CliError> {
        let refused = |error| CliError::Model(format!("{}: {}", dir.display(), sentence(&error)));
        let inspection = inspect(dir).map_err(refused)?;
        let out = &mut io::stdout().lock();
        print(&inspection, out)?;
        let changed = changed(dir, &inspection, out)?;
        match (inspection.is_loadable(), changed) {
            (true, 0) => Ok(()),
            (false, _) => Err(CliError::Model(format!("{}: {}", dir.display(), verdict(&inspection)))),
            (true, changed) => {
                let what = format!("{changed} files are not what was fetched");
                Err(CliError::Model(format!("{}: {what}", dir.display())))
            }
        }
    }

    /// How many files are not what was fetched; none where nothing was.
    fn changed(dir: &Path, inspection: &Inspection, out: &mut impl Write) -> Result<usize, CliError> {
        let Some(manifest) = hub::manifest(dir)? else { return Ok(0) };
        let digested = |name: &str| inspection.files.iter().find(|file| file.name == name);
        let known = |name: &str| digested(name).map(|file| file.sha256.clone());
        writeln!(out, "fetched     {} at {}", manifest.repository, manifest.commit)?;
        let differences = manifest.differences(dir, known)?;
        print_list("changed", &differences, out)?;
        Ok(differences.len())
    }

    pub(super) fn probe(dir: &Path) -> Result<(), CliError> {
        let question = serde_json::from_reader(io::stdin().lock())
            .map_err(|error| CliError::Model(format!("standard input: {error}")))?;
        let refused = |error| CliError::Model(format!("{}: {}", dir.display(), sentence(&error)));
        let findings = local::probe(dir, &question).map_err(refused)?;
        let json = serde_json::to_string(&findings).map_err(io::Error::from)?;
        Ok(writeln!(io::stdout().lock(), "{json}")?)
    }

    fn verdict(inspection: &Inspection) -> String {
        let (missing, faults) = (inspection.missing.len(), inspection.faults.len());
        match missing + faults {
            0 => "complete and loadable".to_owned(),
            _ => format!("cannot be loaded: {missing} tensors are missing, {faults} are wrong"),
        }
    }

    pub(super) fn print(inspection: &Inspection, out: &mut impl Write) -> io::Result<()> {
        let Inspection { identity, shape, .. } = inspection;
        writeln!(out, "model       {} {}", identity.name, identity.version)?;
        if let Some(notice) = &identity.notice {
            writeln!(out, "notice      {notice}")?;
        }
        writeln!(out, "parameters  {}", inspection.parameters)?;
        writeln!(
            out,
            "decoder     {} layers ({} global), {} wide",
            shape.layers, shape.global_layers, shape.hidden
        )?;
        writeln!(out, "vocabulary  {}, stop tokens {:?}", shape.vocabulary, shape.stop_tokens)?;
        writeln!(out, "context     {} tokens", shape.context)?;
        writeln!(out, "images      {0} x {0} pixels, {1} tokens", shape.image_size, shape.image_tokens)?;
        writeln!(out, "kernels     {}", inspection.kernels)?;
        for (dtype, tensors) in &inspection.dtypes {
            writeln!(out, "tensors     {tensors} of {dtype}")?;
        }
        print_files(inspection, out)?;
        writeln!(out, "verdict     {}", verdict(inspection))
    }

    fn print_files(inspection: &Inspection, out: &mut impl Write) -> io::Result<()> {
        for file in &inspection.files {
            writeln!(out, "file        {} ({} bytes) sha256:{}", file.name, file.bytes, file.sha256)?;
        }
        writeln!(out, "weights     sha256:{}", inspection.identity.weights_sha256)?;
        print_list("missing", &inspection.missing, out)?;
        print_list("slow", &inspection.warnings, out)?;
        print_list("wrong", &inspection.faults, out)?;
        print_list("unused", &inspection.unused, out)
    }

    fn print_list(what: &str, entries: &[String], out: &mut impl Write) -> io::Result<()> {
        for entry in entries.iter().take(NAMES_MAX) {
            writeln!(out, "{what:<11} {entry}")?;
        }
        match entries.len().checked_sub(NAMES_MAX) {
            Some(more @ 1..) => writeln!(out, "{what:<11} … and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "local-model")]
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ai::local::inspect;

    #[test]
    fn a_whole_model_is_described_with_its_digests() {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/tiny-gemma3"));
        let mut out = Vec::new();
        local::print(&inspect(dir).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("verdict     complete and loadable"), "{text}");
        assert!(text.contains("file        model.safetensors ("), "{text}");
        assert!(text.contains("kernels     products "), "{text}");
    }

    #[test]
    fn an_empty_folder_is_named_with_the_file_that_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let error = check(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&dir.path().display().to_string()) && error.contains("config.json"),
            "{error}"
        );
    }
}
