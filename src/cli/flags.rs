//! Flags that several commands take, as overrides of configuration keys.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::Overrides;

/// Where the configuration and the data are.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DataFlags {
    /// Configuration file; every key can also be set as RADIANT__SECTION__KEY.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Data folder, server.data_dir.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// What is logged, log.filter, as in "info,radiant=debug".
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
}

/// What a server needs to know.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServerFlags {
    #[command(flatten)]
    pub(super) data: DataFlags,
    /// What this instance does, server.role: all, serve or worker.
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<String>,
    /// Address of the HTTP listener, http.listen.
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<SocketAddr>,
    /// Address of the DIMSE listener, dimse.listen.
    #[arg(long, value_name = "ADDR")]
    pub(super) dimse: Option<SocketAddr>,
}

impl DataFlags {
    pub(super) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides { file: self.config.clone(), keys: Vec::new() };
        let data_dir = self.data_dir.as_ref().map(|dir| dir.display().to_string());
        overrides.set("server.data_dir", data_dir);
        overrides.set("log.filter", self.log.clone());
        overrides
    }
}

impl ServerFlags {
    pub(super) fn overrides(&self) -> Overrides {
        let mut overrides = self.data.overrides();
        overrides.set("server.role", self.role.clone());
        overrides.set("http.listen", text(self.http));
        overrides.set("dimse.listen", text(self.dimse));
        overrides
    }
}

fn text(address: Option<SocketAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

impl Overrides {
    fn set(&mut self, key: &'static str, value: Option<String>) {
        self.keys.extend(value.map(|value| (key, value)));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Config;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ServerFlags,
    }

    fn overrides(arguments: &[&str]) -> Overrides {
        let line = [&["radiant"], arguments].concat();
        Line::try_parse_from(line).unwrap().flags.overrides()
    }

    #[test]
    fn each_flag_overrides_its_key() {
        let overrides =
            overrides(&["--http", "127.0.0.1:1", "--dimse", "[::1]:2", "--data-dir", "d", "--log", "warn"]);
        let config = Config::load(&overrides).unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:1");
        assert_eq!(config.dimse.listen.to_string(), "[::1]:2");
        assert_eq!((config.server.data_dir.to_str(), config.log.filter.as_str()), (Some("d"), "warn"));
    }

    #[test]
    fn flags_that_are_not_given_override_nothing() {
        let overrides = overrides(&["--config", "radiant.toml"]);
        assert!(overrides.keys.is_empty());
        assert_eq!(overrides.file, Some("radiant.toml".into()));
    }
}
