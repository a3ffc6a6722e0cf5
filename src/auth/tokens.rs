//! Access tokens: JWT (RFC 7519) in the profile of RFC 9068, signed with Ed25519 (RFC 8037).
//!
//! There is one algorithm and one form. What a token says about its own algorithm is compared,
//! never followed.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::Role;

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "at+jwt";
/// Ours have some hundred.
const TOKEN_BYTES_MAX: usize = 4096;
/// Servers that share a database may not agree on the time to the second.
const CLOCKS_DIFFER_S: i64 = 60;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TokenError {
    #[error("the token is none")]
    Form,
    #[error("the header of the token is not one of ours")]
    Header,
    #[error("the token names a key that there is not")]
    UnknownKey,
    #[error("the signature is not that of the key")]
    Signature,
    #[error("the claims of the token are not ours")]
    Claims,
    #[error("the token is of another issuer, or for somebody else")]
    Party,
    #[error("the token is not good yet")]
    Early,
    #[error("the token has expired")]
    Expired,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    /// Id of the account.
    pub(super) sub: String,
    pub(super) exp: i64,
    pub(super) nbf: i64,
    pub(super) iat: i64,
    pub(super) jti: String,
    /// The session, which can end before the token.
    pub(super) sid: String,
    pub(super) roles: BTreeSet<Role>,
    /// When a secret was last shown.
    pub(super) auth_time: i64,
}

/// Whose tokens, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parties<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
}

/// `None` where the claims cannot be written, which they always can.
pub(super) fn sign(claims: &Claims, kid: &str, pair: &Ed25519KeyPair) -> Option<String> {
    let header = Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: kid.to_owned() };
    let encode = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let header = serde_json::to_vec(&header).ok().map(encode)?;
    let claims = serde_json::to_vec(claims).ok().map(encode)?;
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
    Some(format!("{signed}.{signature}"))
}

/// A token taken apart, nothing of it believed.
pub(super) struct Unverified<'a> {
    kid: String,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(TokenError::Header);
        }
        Ok(Self { kid: header.kid, signed, claims, signature: decode(signature)? })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The signature first, the claims after: nothing is read that nobody has signed.
    pub(super) fn verify(
        self,
        public: &[u8],
        parties: Parties<'_>,
        now_s: i64,
    ) -> Result<Claims, TokenError> {
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| TokenError::Signature)?;
        let claims = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| TokenError::Claims)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Claims)?;
        if claims.iss != parties.issuer || claims.aud != parties.audience {
            return Err(TokenError::Party);
        }
        if claims.nbf.max(claims.iat) > now_s.saturating_add(CLOCKS_DIFFER_S) {
            return Err(TokenError::Early);
        }
        if claims.exp <= now_s {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
