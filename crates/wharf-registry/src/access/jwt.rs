//! JSON Web Tokens: signed with one key, checked with several.
//!
//! Sources: RFC 7515, 7518, 7519; the claims are those of Docker's "Token Authentication
//! Implementation". The algorithm comes from the key, never from the token alone: one that its header
//! names counts only for keys that are made for it, so `none` and keyed hashes count for none.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, VerificationAlgorithm};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Deserializer, Serialize};

use super::der;

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// How far the clocks of issuer and registry may be apart, in seconds.
const LEEWAY: i64 = 60;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    #[serde(default)]
    pub(crate) sub: String,
    #[serde(deserialize_with = "one_or_more")]
    pub(crate) aud: Vec<String>,
    #[serde(deserialize_with = "seconds")]
    pub(crate) exp: i64,
    #[serde(
        default,
        deserialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) nbf: Option<i64>,
    #[serde(
        default,
        deserialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) iat: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) jti: String,
    #[serde(default)]
    pub(crate) access: Vec<Grant>,
}

/// What a token lets its bearer do to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token's signature is not that of a trusted key")]
    Signature,
    #[error("the token's issuer {0:?} is not trusted")]
    Issuer(String),
    #[error("the token is for another service")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// There is none.
    #[error("there is neither a certificate nor a public key in it")]
    None,
    /// Of a kind that is not served.
    #[error("keys must be P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits")]
    Kind,
    /// A private key that cannot sign.
    #[error("the private key must be P-256 in PKCS#8: make it with openssl genpkey")]
    Private,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A key that tokens are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Key {
    /// Reads every certificate and public key of a PEM file.
    pub(crate) fn read_all(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| KeyError::Pem(error.to_string()))?;
            let info = der::certificate_key(&certificate).ok_or(KeyError::Kind)?;
            keys.push(Self::from_info(info)?);
        }
        for info in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let info = info.map_err(|error| KeyError::Pem(error.to_string()))?;
            keys.push(Self::from_info(&info)?);
        }
        if keys.is_empty() {
            return Err(KeyError::None);
        }
        Ok(keys)
    }

    fn from_info(info: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, bits) = der::public_key(info).ok_or(KeyError::Kind)?;
        let kind = match algorithm {
            der::P256 => Kind::P256,
            der::P384 => Kind::P384,
            der::ED25519 => Kind::Ed25519,
            der::RSA => Kind::Rsa,
            _ => return Err(KeyError::Kind),
        };
        Ok(Self {
            kind,
            bytes: bits.to_vec(),
        })
    }

    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match (self.kind, algorithm) {
            (Kind::P256, "ES256") => &signature::ECDSA_P256_SHA256_FIXED,
            (Kind::P384, "ES384") => &signature::ECDSA_P384_SHA384_FIXED,
            (Kind::Ed25519, "EdDSA") => &signature::ED25519,
            (Kind::Rsa, "RS256") => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa, "RS384") => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa, "RS512") => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Kind::Rsa, "PS256") => &signature::RSA_PSS_2048_8192_SHA256,
            (Kind::Rsa, "PS384") => &signature::RSA_PSS_2048_8192_SHA384,
            (Kind::Rsa, "PS512") => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return false,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.bytes)
            .verify(message, signature)
            .is_ok()
    }
}

/// A key that tokens are signed with, ES256.
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key that lives as long as the process.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(|_| KeyError::Private)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a private key, PEM.
    pub(crate) fn read(pem: &[u8]) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|error| KeyError::Pem(error.to_string()))?;
        Self::from_pkcs8(key.secret_pkcs8_der())
    }

    fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document, &random)
            .map_err(|_| KeyError::Private)?;
        let id = thumbprint(pair.public_key().as_ref());
        Ok(Self { pair, random, id })
    }

    /// Returns the key that checks what this one signs.
    pub(crate) fn public(&self) -> Key {
        Key {
            kind: Kind::P256,
            bytes: self.pair.public_key().as_ref().to_vec(),
        }
    }

    /// Signs; `None` when the system gives no random numbers.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        let header = serde_json::json!({"typ": "JWT", "alg": "ES256", "kid": self.id}).to_string();
        let claims = serde_json::to_vec(claims).ok()?;
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.pair.sign(&self.random, message.as_bytes()).ok()?;
        Some(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
    }
}

/// The name of a P-256 key by its content (RFC 7638): its point is `4 || x || y`.
fn thumbprint(point: &[u8]) -> String {
    let half = |range: std::ops::Range<usize>| {
        URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default())
    };
    let members = format!(
        r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
        half(1..33),
        half(33..65)
    );
    let digest = ring::digest::digest(&ring::digest::SHA256, members.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_ref())
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    /// Extensions the reader must know: we know none.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// Returns what a token claims if one of the keys has signed it. Nothing else of it is checked yet.
pub(crate) fn open(token: &str, keys: &[Key]) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    let signature = decode(signature)?;
    if !keys
        .iter()
        .any(|key| key.verifies(&header.alg, signed, &signature))
    {
        return Err(TokenError::Signature);
    }
    serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)
}

impl Claims {
    /// Checks for whom and when the token is.
    pub(crate) fn check(&self, issuer: &str, service: &str, now: i64) -> Result<(), TokenError> {
        if self.iss != issuer {
            return Err(TokenError::Issuer(self.iss.clone()));
        }
        if !self.aud.iter().any(|audience| audience == service) {
            return Err(TokenError::Audience);
        }
        if now >= self.exp.saturating_add(LEEWAY) {
            return Err(TokenError::Expired);
        }
        match self.nbf {
            Some(from) if now.saturating_add(LEEWAY) < from => Err(TokenError::NotYet),
            _ => Ok(()),
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    // Some issuers pad, which the standard forbids and nobody is hurt by.
    let decoded = if text.ends_with('=') {
        URL_SAFE.decode(text)
    } else {
        URL_SAFE_NO_PAD.decode(text)
    };
    decoded.map_err(|_| TokenError::Malformed)
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        More(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::More(more) => more,
    })
}

/// A time, which may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    if let Some(whole) = number.as_i64() {
        return Ok(whole);
    }
    let float = number.as_f64().filter(|float| float.abs() < 1e15);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction is dropped, the range is checked above"
    )]
    float
        .map(|float| float as i64)
        .ok_or_else(|| serde::de::Error::custom("a time out of range"))
}

fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    seconds(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims {
            iss: "issuer".to_owned(),
            sub: "anna".to_owned(),
            aud: vec!["registry".to_owned()],
            exp: NOW + 300,
            nbf: Some(NOW),
            iat: Some(NOW),
            jti: "1".to_owned(),
            access: vec![Grant {
                kind: "repository".to_owned(),
                name: "a/b".to_owned(),
                actions: vec!["pull".to_owned()],
            }],
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("a key")
    }

    #[test]
    fn what_was_signed_is_opened_by_its_key_only() {
        let key = key();
        let token = key.sign(&claims()).expect("signed");
        assert_eq!(open(&token, &[key.public()]), Ok(claims()));
        assert_eq!(
            open(&token, &[super::tests::key().public(), key.public()]),
            Ok(claims())
        );
        assert_eq!(
            open(&token, &[super::tests::key().public()]),
            Err(TokenError::Signature)
        );
        assert_eq!(open(&token, &[]), Err(TokenError::Signature));
    }

    #[test]
    fn other_algorithms_than_the_keys_open_nothing() {
        let key = key();
        let token = key.sign(&claims()).expect("signed");
        let (_, rest) = token.split_once('.').expect("a dot");
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "es256"}),
            json!({"alg": "RS256"}),
            json!({"alg": "ES256", "crit": ["b64"]}),
            json!({}),
        ] {
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
            assert!(open(&forged, &[key.public()]).is_err(), "{header}");
        }
        let unsigned = format!("{}.", token.rsplit_once('.').expect("a dot").0);
        assert!(open(&unsigned, &[key.public()]).is_err());
    }

    #[test]
    fn who_when_and_for_whom_is_checked() {
        let check = |change: &dyn Fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            claims.check("issuer", "registry", NOW)
        };
        assert_eq!(check(&|_| ()), Ok(()));
        assert_eq!(
            check(&|claims| claims.iss = "other".to_owned()),
            Err(TokenError::Issuer("other".to_owned()))
        );
        assert_eq!(
            check(&|claims| claims.aud = vec!["else".to_owned()]),
            Err(TokenError::Audience)
        );
        assert_eq!(check(&|claims| claims.exp = NOW - 59), Ok(()));
        assert_eq!(
            check(&|claims| claims.exp = NOW - 60),
            Err(TokenError::Expired)
        );
        assert_eq!(check(&|claims| claims.exp = i64::MAX), Ok(()));
        assert_eq!(check(&|claims| claims.nbf = Some(NOW + 60)), Ok(()));
        assert_eq!(
            check(&|claims| claims.nbf = Some(NOW + 61)),
            Err(TokenError::NotYet)
        );
        assert_eq!(check(&|claims| claims.nbf = None), Ok(()));
    }

    #[test]
    fn claims_are_read_as_issuers_write_them() {
        let read = |value: serde_json::Value| serde_json::from_value::<Claims>(value);
        let short = read(json!({"iss": "i", "aud": "a", "exp": 12.5})).expect("claims");
        assert_eq!(
            (short.aud, short.exp, short.nbf),
            (vec!["a".to_owned()], 12, None)
        );
        assert!(
            read(json!({"iss": "i", "aud": "a"})).is_err(),
            "without an end"
        );
        assert!(read(json!({"iss": "i", "aud": "a", "exp": 1e300})).is_err());
        assert!(read(json!({"iss": "i", "exp": 1})).is_err());
    }

    /// Keys and tokens that openssl has made.
    const FOREIGN_KEYS: &[u8] = include_bytes!("../../testdata/keys.pem");
    const FOREIGN_TOKENS: &str = include_str!("../../testdata/tokens.txt");

    #[test]
    fn tokens_of_others_are_opened_by_their_certificates_and_keys() {
        let keys = Key::read_all(FOREIGN_KEYS).expect("keys");
        let kinds: Vec<Kind> = keys.iter().map(|key| key.kind).collect();
        assert_eq!(kinds, [Kind::P256, Kind::Rsa, Kind::P384, Kind::Ed25519]);
        for line in FOREIGN_TOKENS.lines() {
            let (algorithm, token) = line.split_once(' ').expect("two words");
            let claims = open(token, &keys).expect(algorithm);
            assert_eq!(claims.sub, "anna", "{algorithm}");
            assert_eq!(claims.aud, ["registry.example"]);
            let opening = keys
                .iter()
                .filter(|key| open(token, std::slice::from_ref(*key)).is_ok());
            assert_eq!(opening.count(), 1, "{algorithm}");
            // The same claims under another header.
            let (_, rest) = token.split_once('.').expect("a dot");
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm}).to_string());
            assert!(
                open(&format!("{header}.{rest}"), &keys).is_err(),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn a_file_without_a_key_is_refused() {
        assert!(matches!(Key::read_all(b""), Err(KeyError::None)));
        assert!(matches!(Key::read_all(b"nothing"), Err(KeyError::None)));
        let cut = &FOREIGN_KEYS[..FOREIGN_KEYS.len() / 3];
        assert!(
            Key::read_all(cut).is_err() || Key::read_all(cut).is_ok_and(|keys| keys.len() == 1)
        );
        assert!(SigningKey::read(FOREIGN_KEYS).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in ".{0,200}") {
            prop_assert!(open(&text, &[]).is_err());
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0_usize..10_000, bit in 0_u32..6) {
            let key = key();
            let token = key.sign(&claims()).expect("signed");
            let at = at % token.len();
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // The last digit of the signature has two bits that count for nothing; what has them set is refused too.
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(changed == token || open(&changed, &[key.public()]).is_err());
            }
        }
    }
}
