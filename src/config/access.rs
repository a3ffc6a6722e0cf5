//! How an HTTP server is asked, and by what URL.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

/// How an HTTP server is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    pub headers: BTreeMap<String, Secret>,
    pub bearer: Option<Secret>,
    pub bearer_file: Option<PathBuf>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

impl Access {
    /// From keys of a section: lines of headers, and a bearer that may be empty.
    pub(super) fn asking_with(headers: &[Secret], bearer: &Secret) -> Self {
        Self {
            headers: headers.iter().filter_map(header).collect(),
            bearer: (!bearer.reveal().is_empty()).then(|| bearer.clone()),
            ..Self::default()
        }
    }

    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        let both = |a: bool, b: bool, what: &str| match a && b {
            true => Err(format!("{name}: {what} is given twice, itself and as a file")),
            false => Ok(()),
        };
        both(self.bearer.is_some(), self.bearer_file.is_some(), "bearer")?;
        both(self.password.is_some(), self.password_file.is_some(), "password")?;
        let has_bearer = self.bearer.is_some() || self.bearer_file.is_some();
        if has_bearer && self.username.is_some() {
            return Err(format!("{name}: give bearer or username, one of them"));
        }
        match self.certificate_file.is_some() == self.key_file.is_some() {
            true => Ok(()),
            false => Err(format!("{name}: certificate_file and key_file go together")),
        }
    }
}

pub(super) fn check_url(name: &str, url: &str) -> Result<(), String> {
    let host = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let is_plain = |host: &str| !host.is_empty() && !host.starts_with('/') && !host.contains(['#', '@', ' ']);
    match host.is_some_and(is_plain) {
        true => Ok(()),
        false => Err(format!("{name}: the url must begin with http:// or https:// and a host")),
    }
}

/// A line `Name: value`.
pub(super) fn header(line: &Secret) -> Option<(String, Secret)> {
    let (name, value) = line.reveal().split_once(':')?;
    Some((name.trim().to_owned(), Secret::new(value.trim())))
}
