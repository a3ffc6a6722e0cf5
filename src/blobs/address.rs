//! Addresses of objects in a bucket for clients that fetch them there themselves, good for a moment.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};

use super::connect::Connected;
use crate::config::{Place, Storage, StorageService};

/// What objects are stored as, where the store keeps that.
pub(super) const CONTENT_TYPE: &str = "application/dicom";

pub(super) struct Addresses {
    signer: Arc<dyn Signer>,
    prefix: Path,
    life: Duration,
    /// The answer of the store can be given another type by the address.
    types: bool,
}

impl Addresses {
    /// `None` where clients are not sent to the bucket.
    pub(super) fn of(connected: &Connected, storage: &Storage) -> Option<Self> {
        let signer = Arc::clone(connected.signer.as_ref()?);
        let types =
            matches!(storage.place(), Ok(Place::Bucket(bucket)) if bucket.service == StorageService::S3);
        let prefix = Path::from(connected.prefix.as_str());
        Some(Self { signer, prefix, life: storage.redirect_life(), types })
    }

    /// To be shown to the client alone: whoever has it can read the object.
    pub(super) async fn sign(&self, path: &Path, content_type: &str) -> object_store::Result<String> {
        let whole: Path = self.prefix.parts().chain(path.parts()).collect();
        let options = match self.types {
            true => SignedUrlOptions::default().with_query([("response-content-type", content_type)]),
            false => SignedUrlOptions::default(),
        };
        let signed = self.signer.signed_url_opts(Method::GET, &whole, self.life, &options).await?;
        Ok(signed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect;
    use super::*;
    use crate::config::{Config, Overrides};

    fn addresses(redirect: &str) -> Option<Addresses> {
        let keys = [
            ("storage.url", "s3://images/a/prefix"),
            ("storage.endpoint", "http://127.0.0.1:1"),
            ("storage.redirect_endpoint", "http://127.0.0.1:2"),
            ("storage.s3.access_key_id", "clinic"),
            ("storage.s3.secret_access_key", "a secret"),
            ("storage.redirect", redirect),
        ];
        let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let storage = Config::load(&Overrides { file: None, keys }).unwrap().storage;
        let Place::Bucket(bucket) = storage.place().unwrap() else { panic!("a folder") };
        Addresses::of(&connect::store(&bucket, &storage).unwrap(), &storage)
    }

    #[tokio::test]
    async fn an_address_names_the_object_its_type_and_its_end() {
        let signed = addresses("true").unwrap().sign(&Path::from("objects/1.2"), "application/dicom").await;
        let signed = signed.unwrap();
        assert!(signed.starts_with("http://127.0.0.1:2/images/a/prefix/objects/1.2?"), "{signed}");
        for part in ["response-content-type=application%2Fdicom", "X-Amz-Expires=60", "X-Amz-Signature="] {
            assert!(signed.contains(part), "{part} is not in {signed}");
        }
    }

    #[test]
    fn nobody_is_sent_to_a_bucket_unless_that_is_said() {
        assert!(addresses("false").is_none());
    }
}
