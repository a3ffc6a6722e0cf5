//! Where the bytes of instances lie: a folder, or a bucket behind a URL.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::access::check_url;
use super::remote::is_near;
use super::tls::path_or_none;

/// What S3 takes as a part, but for the last (and Azure as a block, with more room).
const PART_BYTES_MIN: u64 = 5 << 20;
const PART_BYTES_MAX: u64 = 1 << 30;
/// Parts of one object, of S3; Azure takes more.
const PARTS_MAX: u64 = 10_000;
const BLOCK_BYTES_MIN: u64 = 64 << 10;
const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Longer, and an address is as good as the object.
const REDIRECT_LIFE_S_MAX: u64 = 3600;
/// Some pictures; fewer would only push one another out.
const PICTURES_BYTES_MIN: u64 = 1 << 20;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    url: String,
    pub endpoint: String,
    allow_http: bool,
    #[serde(deserialize_with = "path_or_none")]
    pub ca_file: Option<PathBuf>,
    pub proxy: String,
    connect_timeout_s: f64,
    silence_timeout_s: f64,
    pub retries_max: usize,
    retry_first_s: f64,
    retry_max_s: f64,
    retry_time_s: f64,
    pub failures_max: u32,
    pause_first_s: f64,
    pause_max_s: f64,
    pub part_bytes: u64,
    pub parts_at_once: usize,
    pub upload_bytes_max: u64,
    pub requests_max: usize,
    pub block_bytes: u64,
    pub blocks_ahead: usize,
    pub read_back: bool,
    orphan_age_h: u64,
    ready_every_s: u64,
    /// Clients may be sent to the bucket.
    pub redirect: bool,
    redirect_life_s: u64,
    pub redirect_endpoint: String,
    pub s3: S3,
    pub azure: Azure,
    pub cache: Cache,
    pub pictures: Cache,
}

/// On the local disk: of a bucket, or of what was made of objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// 0: none.
    pub bytes_max: u64,
    #[serde(deserialize_with = "path_or_none")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub region: String,
    pub path_style: bool,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub secret_access_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub session_token_file: Option<PathBuf>,
    pub role_arn: String,
    #[serde(deserialize_with = "path_or_none")]
    pub web_identity_token_file: Option<PathBuf>,
    pub checksums: bool,
    pub encryption: S3Encryption,
    pub kms_key_id: String,
    pub bucket_key: bool,
    #[serde(deserialize_with = "path_or_none")]
    pub customer_key_file: Option<PathBuf>,
}

/// Who encrypts what lies in the bucket, and with which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum S3Encryption {
    /// As the bucket does by itself.
    #[serde(rename = "")]
    OfBucket,
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
    #[serde(rename = "aws:kms:dsse")]
    KmsTwice,
    /// By a key that goes along with every request.
    #[serde(rename = "customer-key")]
    CustomerKey,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    pub account: String,
    pub access_key: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub access_key_file: Option<PathBuf>,
    pub sas: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub sas_file: Option<PathBuf>,
    pub tenant_id: String,
    pub client_id: String,
    #[serde(deserialize_with = "path_or_none")]
    pub client_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub customer_key_file: Option<PathBuf>,
}

/// Where `storage.url` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Beside the index, unless it is named.
    Folder(Option<PathBuf>),
    Bucket(Bucket),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub service: Service,
    /// Of Azure: the container.
    pub name: String,
    /// Without slashes at its ends.
    pub prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    S3,
    Azure,
}

impl Storage {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn place(&self) -> Result<Place, String> {
        let bad = |why: &str| format!("storage.url = {:?}: {why}", self.url);
        if self.url.is_empty() {
            return Ok(Place::Folder(None));
        }
        match self.url.split_once(':') {
            Some(("file", path)) => folder(path).ok_or_else(|| bad("a folder is file: and an absolute path")),
            Some(("s3", rest)) => bucket(Service::S3, rest).map_err(|why| bad(&why)),
            Some(("az", rest)) => bucket(Service::Azure, rest).map_err(|why| bad(&why)),
            _ => Err(bad("it begins with file:, s3:// or az://")),
        }
    }

    pub fn connect_timeout(&self) -> Duration {
        seconds(self.connect_timeout_s)
    }

    /// Silence of the store, and the time of one part on its way to it.
    pub fn silence_timeout(&self) -> Duration {
        seconds(self.silence_timeout_s)
    }

    pub fn retry_first(&self) -> Duration {
        seconds(self.retry_first_s)
    }

    pub fn retry_max(&self) -> Duration {
        seconds(self.retry_max_s.max(self.retry_first_s))
    }

    /// From the first attempt of a request.
    pub fn retry_time(&self) -> Duration {
        seconds(self.retry_time_s)
    }

    pub fn pause_first(&self) -> Duration {
        seconds(self.pause_first_s)
    }

    pub fn pause_max(&self) -> Duration {
        seconds(self.pause_max_s.max(self.pause_first_s))
    }

    /// Objects of a bucket that no row refers to are younger while their row may be on its way.
    pub fn orphan_age(&self) -> Duration {
        Duration::from_secs(self.orphan_age_h.saturating_mul(3600))
    }

    /// How long an address is good that a client is sent to.
    pub fn redirect_life(&self) -> Duration {
        Duration::from_secs(self.redirect_life_s)
    }

    pub fn ready_every(&self) -> Duration {
        Duration::from_secs(self.ready_every_s)
    }

    /// What is wrong, if anything.
    pub(super) fn check(&self, instance_bytes_max: u64) -> Result<(), String> {
        let place = self.place()?;
        self.check_sizes(instance_bytes_max)?;
        self.check_times()?;
        match place {
            Place::Folder(_) => said(!self.redirect, "redirect needs a bucket"),
            Place::Bucket(bucket) => self.check_bucket(&bucket),
        }
    }

    fn check_sizes(&self, instance_bytes_max: u64) -> Result<(), String> {
        within("part_bytes", self.part_bytes, PART_BYTES_MIN, PART_BYTES_MAX)?;
        within("block_bytes", self.block_bytes, BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)?;
        within("parts_at_once", self.parts_at_once as u64, 1, 64)?;
        within("requests_max", self.requests_max as u64, 1, 10_000)?;
        within("blocks_ahead", self.blocks_ahead as u64, 0, 64)?;
        within("upload_bytes_max", self.upload_bytes_max, self.part_bytes, 1 << 40)?;
        within("redirect_life_s", self.redirect_life_s, 1, REDIRECT_LIFE_S_MAX)?;
        within("orphan_age_h", self.orphan_age_h, 1, 24 * 365)?;
        if self.cache.bytes_max != 0 {
            within("cache.bytes_max", self.cache.bytes_max, 64 * self.block_bytes, 1 << 50)?;
        }
        if self.pictures.bytes_max != 0 {
            within("pictures.bytes_max", self.pictures.bytes_max, PICTURES_BYTES_MIN, 1 << 50)?;
        }
        match self.part_bytes.saturating_mul(PARTS_MAX) < instance_bytes_max {
            true => Err(format!(
                "storage.part_bytes = {}: ingest.instance_bytes_max would be more than {PARTS_MAX} parts of it",
                self.part_bytes
            )),
            false => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), String> {
        let times = [
            ("connect_timeout_s", self.connect_timeout()),
            ("silence_timeout_s", self.silence_timeout()),
            ("retry_first_s", self.retry_first()),
            ("retry_time_s", self.retry_time()),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((key, _)) => Err(format!("storage.{key} must be more than 0")),
            None => Ok(()),
        }
    }

    fn check_bucket(&self, bucket: &Bucket) -> Result<(), String> {
        self.check_endpoint("endpoint", &self.endpoint)?;
        self.check_endpoint("redirect_endpoint", &self.redirect_endpoint)?;
        match bucket.service {
            Service::S3 => self.s3.check()?,
            Service::Azure => self.azure.check()?,
        }
        if self.redirect { self.check_redirect() } else { Ok(()) }
    }

    fn check_endpoint(&self, name: &str, endpoint: &str) -> Result<(), String> {
        if !endpoint.is_empty() {
            check_url(&format!("storage.{name}"), endpoint)?;
        }
        match endpoint.starts_with("http://") && !self.allow_http && !is_near(endpoint) {
            true => Err(format!(
                "storage.{name} = {endpoint} would take images in the clear: use https://, or say storage.allow_http = true"
            )),
            false => Ok(()),
        }
    }

    /// An address cannot carry a key of ours, and a signature that was given to us signs nothing.
    fn check_redirect(&self) -> Result<(), String> {
        let has_own_key = self.s3.customer_key_file.is_some() || self.azure.customer_key_file.is_some();
        said(
            !has_own_key,
            "redirect and a customer_key_file exclude each other: clients would need the key",
        )?;
        let has_sas = !self.azure.sas.reveal().is_empty() || self.azure.sas_file.is_some();
        said(
            !has_sas,
            "redirect needs azure.access_key or an identity: a shared access signature signs nothing",
        )
    }
}

impl S3 {
    fn check(&self) -> Result<(), String> {
        once("s3.secret_access_key", &self.secret_access_key, &self.secret_access_key_file)?;
        let has_secret = !self.secret_access_key.reveal().is_empty() || self.secret_access_key_file.is_some();
        said(
            has_secret != self.access_key_id.is_empty(),
            "s3.access_key_id and s3.secret_access_key (or its file) go together",
        )?;
        said(
            self.session_token_file.is_none() || has_secret,
            "s3.session_token_file needs s3.access_key_id",
        )?;
        said(
            self.role_arn.is_empty() == self.web_identity_token_file.is_none(),
            "s3.role_arn and s3.web_identity_token_file go together",
        )?;
        said(!self.region.is_empty(), "s3.region is not empty; servers without regions take any")?;
        let is_kms = matches!(self.encryption, S3Encryption::Kms | S3Encryption::KmsTwice);
        said(is_kms || self.kms_key_id.is_empty(), "s3.kms_key_id needs s3.encryption = \"aws:kms\"")?;
        said(is_kms || !self.bucket_key, "s3.bucket_key needs s3.encryption = \"aws:kms\"")?;
        said(
            (self.encryption == S3Encryption::CustomerKey) == self.customer_key_file.is_some(),
            "s3.encryption = \"customer-key\" and s3.customer_key_file go together",
        )
    }
}

impl Azure {
    fn check(&self) -> Result<(), String> {
        said(!self.account.is_empty(), "azure.account is needed for az://")?;
        once("azure.access_key", &self.access_key, &self.access_key_file)?;
        once("azure.sas", &self.sas, &self.sas_file)?;
        let has_key = !self.access_key.reveal().is_empty() || self.access_key_file.is_some();
        let has_sas = !self.sas.reveal().is_empty() || self.sas_file.is_some();
        let has_client = self.client_secret_file.is_some();
        let ways = [has_key, has_sas, has_client].into_iter().filter(|given| *given).count();
        said(ways <= 1, "give azure.access_key, azure.sas or azure.client_secret_file, one of them")?;
        said(
            !has_client || !(self.tenant_id.is_empty() || self.client_id.is_empty()),
            "azure.client_secret_file needs azure.tenant_id and azure.client_id",
        )
    }
}

fn said(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("storage.{rule}")) }
}

fn once(key: &str, secret: &Secret, file: &Option<PathBuf>) -> Result<(), String> {
    let twice = !secret.reveal().is_empty() && file.is_some();
    if twice { Err(format!("storage.{key} is given twice, itself and as a file")) } else { Ok(()) }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("storage.{key} = {value} must be {least} to {most}")),
    }
}

/// `file:/path` and `file:///path` are the same.
fn folder(path: &str) -> Option<Place> {
    let path = path.strip_prefix("//").unwrap_or(path);
    path.starts_with('/').then(|| Place::Folder(Some(PathBuf::from(path))))
}

fn bucket(service: Service, rest: &str) -> Result<Place, String> {
    let rest = rest.strip_prefix("//").ok_or("two slashes stand before the name of the bucket")?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
    if !is_name {
        return Err("a bucket has 3 to 63 small letters, digits, points and hyphens".to_owned());
    }
    let prefix = prefix.trim_matches('/');
    let is_plain = |part: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(known)
    };
    match prefix.is_empty() || prefix.split('/').all(is_plain) {
        true => Ok(Place::Bucket(Bucket { service, name: name.to_owned(), prefix: prefix.to_owned() })),
        false => Err("a prefix has letters, digits, points, hyphens and single slashes".to_owned()),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};
    use super::*;

    fn with(keys: &[(&'static str, &str)]) -> Result<Storage, String> {
        let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = Config::load(&Overrides { file: None, keys });
        config.map(|config| config.storage).map_err(|error| error.to_string())
    }

    fn place(url: &str) -> Result<Place, String> {
        with(&[("storage.url", url), ("storage.azure.account", "clinic")]).and_then(|storage| storage.place())
    }

    #[test]
    fn a_url_is_a_folder_or_a_bucket_with_a_prefix() {
        assert_eq!(place("").unwrap(), Place::Folder(None));
        for url in ["file:/srv/objects", "file:///srv/objects"] {
            assert_eq!(place(url).unwrap(), Place::Folder(Some("/srv/objects".into())));
        }
        let of = |service, name: &str, prefix: &str| {
            Place::Bucket(Bucket { service, name: name.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(place("s3://images").unwrap(), of(Service::S3, "images", ""));
        assert_eq!(place("s3://images/a/b/").unwrap(), of(Service::S3, "images", "a/b"));
        assert_eq!(place("az://images/a").unwrap(), of(Service::Azure, "images", "a"));
    }

    #[test]
    fn a_url_that_leads_nowhere_is_refused_by_its_key() {
        let bad =
            ["ftp://a", "s3:images", "s3://", "s3://UP", "s3://images/a//b", "s3://images/../a", "file:a"];
        for url in bad {
            let error = place(url).unwrap_err();
            assert!(error.contains("storage.url") && error.contains(url), "{error}");
        }
    }

    #[test]
    fn half_of_a_credential_is_refused() {
        let s3 = ("storage.url", "s3://images");
        assert!(with(&[s3, ("storage.s3.access_key_id", "a")]).unwrap_err().contains("s3.secret_access_key"));
        let both = [s3, ("storage.s3.access_key_id", "a"), ("storage.s3.secret_access_key", "b")];
        let storage = with(&both).unwrap();
        assert!(!format!("{storage:?}").contains("\"b\""), "a secret is not shown");
        let twice = [both[0], both[1], both[2], ("storage.s3.secret_access_key_file", "/f")];
        assert!(with(&twice).unwrap_err().contains("given twice"));
        assert!(with(&[("storage.url", "az://images")]).unwrap_err().contains("storage.azure.account"));
    }

    #[test]
    fn nothing_goes_in_the_clear_unless_that_is_said() {
        let s3 = ("storage.url", "s3://images");
        assert!(with(&[s3, ("storage.endpoint", "http://127.0.0.1:9000")]).is_ok());
        let far = ("storage.endpoint", "http://store.example:9000");
        assert!(with(&[s3, far]).unwrap_err().contains("storage.allow_http"));
        assert!(with(&[s3, far, ("storage.allow_http", "true")]).is_ok());
        assert!(with(&[s3, ("storage.endpoint", "store.example")]).unwrap_err().contains("storage.endpoint"));
    }

    #[test]
    fn sizes_that_no_store_takes_are_refused() {
        for (key, value) in [
            ("storage.part_bytes", "1000"),
            ("storage.part_bytes", "6000000000"),
            ("storage.block_bytes", "0"),
            ("storage.requests_max", "0"),
            ("storage.cache.bytes_max", "1000"),
            ("storage.pictures.bytes_max", "1000"),
            ("storage.orphan_age_h", "0"),
            ("storage.silence_timeout_s", "0.0"),
        ] {
            let error = with(&[(key, value)]).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        let huge = with(&[("ingest.instance_bytes_max", "999999999999999")]).unwrap_err();
        assert!(huge.contains("storage.part_bytes"), "{huge}");
    }

    #[test]
    fn clients_are_sent_to_a_bucket_that_can_be_read_with_an_address_alone() {
        let (s3, redirect) = (("storage.url", "s3://images"), ("storage.redirect", "true"));
        assert!(with(&[s3, redirect]).is_ok());
        assert!(with(&[redirect]).unwrap_err().contains("storage.redirect"));
        let keys = [("storage.s3.encryption", "customer-key"), ("storage.s3.customer_key_file", "/k")];
        assert!(with(&[s3, redirect, keys[0], keys[1]]).unwrap_err().contains("customer_key_file"));
        assert!(with(&[s3, ("storage.redirect_life_s", "86400")]).unwrap_err().contains("redirect_life_s"));
        let far = ("storage.redirect_endpoint", "http://store.example");
        assert!(with(&[s3, far]).unwrap_err().contains("storage.redirect_endpoint"));
    }

    #[test]
    fn encryption_and_its_key_go_together() {
        let s3 = ("storage.url", "s3://images");
        assert!(with(&[s3, ("storage.s3.encryption", "aws:kms"), ("storage.s3.kms_key_id", "k")]).is_ok());
        assert!(with(&[s3, ("storage.s3.kms_key_id", "k")]).unwrap_err().contains("kms_key_id"));
        assert!(with(&[s3, ("storage.s3.encryption", "customer-key")]).is_err());
        assert!(with(&[s3, ("storage.s3.encryption", "rot13")]).unwrap_err().contains("encryption"));
    }
}
