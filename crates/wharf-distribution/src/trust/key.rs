//! Public keys: ECDSA on P-256 with SHA-256, as cosign makes them, and Ed25519.

use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::signatures::Signature;

/// `SubjectPublicKeyInfo` of an uncompressed point on P-256, up to the point (RFC 5480, section 2).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P256_POINT: usize = 65;
/// The same for Ed25519 (RFC 8410, section 4).
const EDWARDS: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const EDWARDS_KEY: usize = 32;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl Key {
    /// Reads a `PUBLIC KEY` in PEM. There are only two encodings it can have, which are compared
    /// whole: no parser, and no key that is half understood.
    pub(super) fn parse(pem: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "it is no PUBLIC KEY in PEM".to_owned())?;
        let key = |kind, bytes: &[u8]| {
            Ok(Self {
                kind,
                bytes: bytes.to_vec(),
            })
        };
        match (der.strip_prefix(&P256), der.strip_prefix(&EDWARDS)) {
            (Some(point), _) if point.len() == P256_POINT => key(Kind::P256, point),
            (_, Some(bytes)) if bytes.len() == EDWARDS_KEY => key(Kind::Ed25519, bytes),
            _ => Err("only keys of ECDSA on P-256 and of Ed25519 are supported".to_owned()),
        }
    }

    /// Returns whether a signature is by this key.
    pub(super) fn verifies(&self, signature: &Signature) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes)
            .verify(&signature.payload, &signature.bytes)
            .is_ok()
    }
}
