//! `radiant check-config`: every setting, its value, and where it comes from.

use std::io::{self, Write};

use super::CliError;
use super::flags::ServerFlags;
use crate::config::{Config, Setting};

pub(super) fn run(flags: &ServerFlags) -> Result<(), CliError> {
    let settings = Config::settings(&flags.overrides())?;
    Ok(print(&settings, &mut io::stdout().lock())?)
}

/// Each line is TOML, its origin a comment.
fn print(settings: &[Setting], out: &mut impl Write) -> io::Result<()> {
    for Setting { key, value, origin } in settings {
        writeln!(out, "{key} = {value}  # {origin}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn each_setting_is_printed_with_its_origin() {
        let overrides = Overrides { file: None, keys: vec![("dimse.ae_title", "PROBE".into())] };
        let mut out = Vec::new();
        print(&Config::settings(&overrides).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("dimse.ae_title = \"PROBE\"  # command line\n"), "{text}");
        assert!(text.contains("index.readers = 4  # built-in defaults\n"), "{text}");
    }
}
