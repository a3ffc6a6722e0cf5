//! From the configuration to the store that it speaks of.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum};
use object_store::azure::{
    AzureAccessKey, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder, split_sas,
};
use object_store::client::{HttpClient, HttpConnector};
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig};
use reqwest::redirect;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::BlobError;
use crate::config::{Azure, Bucket, ClientCertificates, S3, S3Encryption, Secret, Storage, StorageService};
use crate::tls::{self, Files};

const CA_FILE: &str = "storage.ca_file";

/// A store that answers for the whole bucket, and where it is asked, for people.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: String,
    pub(super) url: String,
    pub(super) endpoint: String,
    pub(super) signer: Option<Arc<dyn Signer>>,
}

pub(super) fn store(bucket: &Bucket, storage: &Storage) -> Result<Connected, BlobError> {
    let failed = |reason: String| BlobError::Connect { url: storage.url().to_owned(), reason };
    let connector = Connector { client: client(storage)? };
    let signer = storage.redirect.then(|| signer(bucket, storage, connector.clone()));
    let store: Result<Arc<dyn ObjectStore>, String> = match bucket.service {
        StorageService::S3 => s3(bucket, storage, connector).map(|store| Arc::new(store) as _),
        StorageService::Azure => azure(bucket, storage, connector).map(|store| Arc::new(store) as _),
    };
    Ok(Connected {
        store: store.map_err(failed)?,
        signer: signer.transpose().map_err(failed)?,
        prefix: bucket.prefix.clone(),
        url: storage.url().to_owned(),
        endpoint: endpoint(bucket, storage),
    })
}

/// Signs addresses for clients, who may reach the bucket elsewhere.
fn signer(bucket: &Bucket, storage: &Storage, connector: Connector) -> Result<Arc<dyn Signer>, String> {
    let mut reached = storage.clone();
    if !storage.redirect_endpoint.is_empty() {
        reached.endpoint.clone_from(&storage.redirect_endpoint);
    }
    Ok(match bucket.service {
        StorageService::S3 => Arc::new(s3(bucket, &reached, connector)?),
        StorageService::Azure => Arc::new(azure(bucket, &reached, connector)?),
    })
}

fn endpoint(bucket: &Bucket, storage: &Storage) -> String {
    match (storage.endpoint.is_empty(), bucket.service) {
        (false, _) => storage.endpoint.clone(),
        (true, StorageService::S3) => format!("https://s3.{}.amazonaws.com", storage.s3.region),
        (true, StorageService::Azure) => format!("https://{}.blob.core.windows.net", storage.azure.account),
    }
}

/// Our own client in place of the one that the store would make: its trust is what the
/// configuration says, its cryptography ring.
#[derive(Debug, Clone)]
struct Connector {
    client: reqwest::Client,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.client.clone()))
    }
}

/// Redirects are followed nowhere: credentials go where the configuration says.
fn client(storage: &Storage) -> Result<reqwest::Client, BlobError> {
    let failed = |error: reqwest::Error| BlobError::Connect {
        url: storage.url().to_owned(),
        reason: error.without_url().to_string(),
    };
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(trust(storage)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(storage.connect_timeout())
        .read_timeout(storage.silence_timeout())
        .pool_max_idle_per_host(storage.requests_max)
        .user_agent(concat!("radiant/", env!("CARGO_PKG_VERSION")));
    if !storage.proxy.is_empty() {
        builder = builder.proxy(reqwest::Proxy::all(&storage.proxy).map_err(failed)?);
    }
    builder.build().map_err(failed)
}

fn trust(storage: &Storage) -> Result<ClientConfig, BlobError> {
    let authorities = match &storage.ca_file {
        Some(path) => tls::authorities(CA_FILE, path)?,
        // What is asked in the clear needs none, and a small system may have none.
        None if storage.endpoint.starts_with("http://") => RootCertStore::empty(),
        None => tls::system_authorities(CA_FILE)?,
    };
    let nothing_of_ours = Files {
        certificate: (CA_FILE, None),
        key: (CA_FILE, None),
        client_ca: (CA_FILE, None),
        client_certificates: ClientCertificates::Request,
    };
    Ok(nothing_of_ours.client(authorities)?)
}

fn retries(storage: &Storage) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: storage.retry_first(),
            max_backoff: storage.retry_max(),
            base: 2.0,
        },
        max_retries: storage.retries_max,
        retry_timeout: storage.retry_time(),
    }
}

fn s3(bucket: &Bucket, storage: &Storage, connector: Connector) -> Result<AmazonS3, String> {
    let settings = &storage.s3;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_region(&settings.region)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_allow_http(true)
        .with_retry(retries(storage))
        .with_http_connector(connector);
    if !storage.endpoint.is_empty() {
        builder = builder.with_endpoint(&storage.endpoint);
    }
    if settings.checksums {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    let builder = encrypted(settings, identified(settings, builder))?;
    builder.build().map_err(|error| error.to_string())
}

/// A key of ours, a web identity, or whatever the machine has.
fn identified(settings: &S3, builder: AmazonS3Builder) -> AmazonS3Builder {
    if !settings.access_key_id.is_empty() {
        return builder.with_credentials(Arc::new(S3Keys(settings.clone())));
    }
    match &settings.web_identity_token_file {
        None => builder,
        Some(file) => builder
            .with_config(AmazonS3ConfigKey::RoleArn, &settings.role_arn)
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, file.display().to_string()),
    }
}

fn encrypted(settings: &S3, builder: AmazonS3Builder) -> Result<AmazonS3Builder, String> {
    Ok(match settings.encryption {
        S3Encryption::OfBucket => builder,
        S3Encryption::Aes256 => {
            let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
            builder.with_config(key.map_err(|error| error.to_string())?, "AES256")
        }
        S3Encryption::Kms => {
            builder.with_sse_kms_encryption(&settings.kms_key_id).with_bucket_key(settings.bucket_key)
        }
        S3Encryption::KmsTwice => {
            builder.with_dsse_kms_encryption(&settings.kms_key_id).with_bucket_key(settings.bucket_key)
        }
        S3Encryption::CustomerKey => {
            builder.with_ssec_encryption(customer_key("s3", &settings.customer_key_file)?)
        }
    })
}

fn azure(bucket: &Bucket, storage: &Storage, connector: Connector) -> Result<MicrosoftAzure, String> {
    let settings = &storage.azure;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&settings.account)
        .with_container_name(&bucket.name)
        .with_allow_http(true)
        .with_retry(retries(storage))
        .with_http_connector(connector);
    if !storage.endpoint.is_empty() {
        builder = builder.with_endpoint(storage.endpoint.clone());
    }
    if settings.customer_key_file.is_some() {
        builder = builder.with_encryption_key(customer_key("azure", &settings.customer_key_file)?);
    }
    authorized(settings, builder)?.build().map_err(|error| error.to_string())
}

/// A key or a signature of ours, a client of Entra ID, or the managed identity of the machine.
fn authorized(settings: &Azure, builder: MicrosoftAzureBuilder) -> Result<MicrosoftAzureBuilder, String> {
    let keys = AzureKeys(settings.clone());
    if keys.is_given() {
        return Ok(builder.with_credentials(Arc::new(keys)));
    }
    let Some(file) = &settings.client_secret_file else { return Ok(builder) };
    let secret = read("storage.azure.client_secret_file", file)?;
    Ok(builder.with_client_secret_authorization(&settings.client_id, secret, &settings.tenant_id))
}

fn customer_key(service: &str, file: &Option<PathBuf>) -> Result<String, String> {
    let key = format!("storage.{service}.customer_key_file");
    let file = file.as_ref().ok_or_else(|| format!("{key} is needed"))?;
    read(&key, file)
}

fn read(key: &str, file: &PathBuf) -> Result<String, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("{key} = {} cannot be read: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Files are read at every request: keys change while we run.
fn given(key: &str, secret: &Secret, file: &Option<PathBuf>) -> object_store::Result<Option<String>> {
    let failed =
        |reason: String| object_store::Error::Generic { store: "credentials", source: reason.into() };
    match file {
        Some(file) => read(key, file).map(Some).map_err(failed),
        None => Ok(Some(secret.reveal().to_owned()).filter(|text| !text.is_empty())),
    }
}

#[derive(Debug)]
struct S3Keys(S3);

impl S3Keys {
    fn credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let (settings, none) = (&self.0, Secret::default());
        let key = "storage.s3.secret_access_key_file";
        let secret = given(key, &settings.secret_access_key, &settings.secret_access_key_file)?;
        Ok(Arc::new(AwsCredential {
            key_id: settings.access_key_id.clone(),
            secret_key: secret.unwrap_or_default(),
            token: given("storage.s3.session_token_file", &none, &settings.session_token_file)?,
        }))
    }
}

impl CredentialProvider for S3Keys {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> BoxFuture<'b, object_store::Result<Arc<AwsCredential>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { self.credential() })
    }
}

#[derive(Debug)]
struct AzureKeys(Azure);

impl AzureKeys {
    fn is_given(&self) -> bool {
        let Azure { access_key, access_key_file, sas, sas_file, .. } = &self.0;
        let given = |secret: &Secret, file: &Option<PathBuf>| !secret.reveal().is_empty() || file.is_some();
        given(access_key, access_key_file) || given(sas, sas_file)
    }

    fn credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let settings = &self.0;
        let key = given("storage.azure.access_key_file", &settings.access_key, &settings.access_key_file)?;
        if let Some(key) = key {
            return Ok(Arc::new(AzureCredential::AccessKey(AzureAccessKey::try_new(&key)?)));
        }
        let sas = given("storage.azure.sas_file", &settings.sas, &settings.sas_file)?;
        Ok(Arc::new(AzureCredential::SASToken(split_sas(&sas.unwrap_or_default())?)))
    }
}

impl CredentialProvider for AzureKeys {
    type Credential = AzureCredential;

    fn get_credential<'a, 'b>(&'a self) -> BoxFuture<'b, object_store::Result<Arc<AzureCredential>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { self.credential() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn storage(keys: &[(&'static str, &str)]) -> Storage {
        let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Config::load(&Overrides { file: None, keys }).unwrap().storage
    }

    fn keys_of(file: &str) -> S3Keys {
        let keys = [
            ("storage.url", "s3://images"),
            ("storage.s3.access_key_id", "clinic"),
            ("storage.s3.secret_access_key_file", file),
        ];
        S3Keys(storage(&keys).s3)
    }

    #[test]
    fn a_secret_is_read_anew_and_its_absence_is_told_by_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let keys = keys_of(file.to_str().unwrap());
        assert!(keys.credential().unwrap_err().to_string().contains("storage.s3.secret_access_key_file"));
        for secret in ["first", "second"] {
            fs::write(&file, format!("{secret}\n")).unwrap();
            assert_eq!(keys.credential().unwrap().secret_key, secret);
        }
    }

    #[test]
    fn every_kind_of_store_can_be_built() {
        let account = ("storage.azure.account", "clinic");
        for keys in [
            &[("storage.url", "s3://images/a"), ("storage.s3.encryption", "AES256")][..],
            &[("storage.url", "s3://images"), ("storage.s3.encryption", "aws:kms")],
            &[("storage.url", "s3://images"), ("storage.endpoint", "http://127.0.0.1:1")],
            &[("storage.url", "az://images"), account, ("storage.azure.access_key", "a2V5")],
            &[("storage.url", "az://images"), account],
        ] {
            let storage = storage(keys);
            let crate::config::Place::Bucket(bucket) = storage.place().unwrap() else { panic!("a folder") };
            // A machine without authorities of its own cannot ask what is far.
            match store(&bucket, &storage) {
                Ok(_) | Err(BlobError::Tls(_)) => {}
                Err(error) => panic!("{keys:?}: {error}"),
            }
        }
    }

    #[test]
    fn a_customer_key_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let keys = [
            ("storage.url", "s3://images"),
            ("storage.endpoint", "http://127.0.0.1:1"),
            ("storage.s3.encryption", "customer-key"),
            ("storage.s3.customer_key_file", file.to_str().unwrap()),
        ];
        let storage = storage(&keys);
        let crate::config::Place::Bucket(bucket) = storage.place().unwrap() else { panic!("a folder") };
        let error = store(&bucket, &storage).err().unwrap().to_string();
        assert!(error.contains("storage.s3.customer_key_file"), "{error}");
    }
}
