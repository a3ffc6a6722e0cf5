//! `radiant model check DIR`: what a model folder holds and whether the engine would load it.

use std::path::PathBuf;

use clap::Subcommand;

use super::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Say what a model folder holds, whether it is complete and loadable, and its digests.
    Check { dir: PathBuf },
}

pub(super) fn run(command: &ModelCommand) -> Result<(), CliError> {
    match command {
        ModelCommand::Check { dir } => check(dir),
    }
}

#[cfg(not(feature = "local-model"))]
fn check(_dir: &std::path::Path) -> Result<(), CliError> {
    Err(CliError::Model("this build lacks the feature local-model".to_owned()))
}

#[cfg(feature = "local-model")]
use local::check;

#[cfg(feature = "local-model")]
mod local {
    use std::io::{self, Write};
    use std::path::Path;

    use super::CliError;
    use crate::ai::local::{Inspection, inspect};
    use crate::cli::sentence;

    /// Of a long list, so many names are printed.
    const NAMES_MAX: usize = 20;

    pub(super) fn check(dir: &Path) -> Result<(), CliError> {
        let refused = |error| CliError::Model(format!("{}: {}", dir.display(), sentence(&error)));
        let inspection = inspect(dir).map_err(refused)?;
        print(&inspection, &mut io::stdout().lock())?;
        match inspection.is_loadable() {
            true => Ok(()),
            false => Err(CliError::Model(format!("{}: {}", dir.display(), verdict(&inspection)))),
        }
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
