//! Just enough of DER to find the public key in a certificate.
//!
//! Sources: RFC 5280 (`Certificate`, `SubjectPublicKeyInfo`), RFC 5480 and 8410 for the names of the
//! kinds of keys. Nothing of a certificate but its key is read: who configures one trusts the key.

/// The algorithm of a P-256 key: `id-ecPublicKey`, `prime256v1`.
pub(crate) const P256: &[u8] =
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// The algorithm of a P-384 key: `id-ecPublicKey`, `secp384r1`.
pub(crate) const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
/// The algorithm of an Ed25519 key.
pub(crate) const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
/// The algorithm of an RSA key: `rsaEncryption`, `NULL`.
pub(crate) const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// The version of a certificate, `[0]`, which the oldest do not have.
const VERSION: u8 = 0xa0;

/// Reads elements one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next element: its tag, its content, and the whole of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits
                    .iter()
                    .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
                (length, rest)
            }
            // Without a length, or longer than anything that fits a key.
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((tag, content, whole))
    }

    fn expect(&mut self, wanted: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (tag, content, whole) = self.next()?;
        (tag == wanted).then_some((content, whole))
    }
}

/// Returns the `SubjectPublicKeyInfo` of a certificate.
pub(crate) fn certificate_key(certificate: &[u8]) -> Option<&[u8]> {
    let (content, _) = Reader(certificate).expect(SEQUENCE)?;
    let (signed, _) = Reader(content).expect(SEQUENCE)?;
    let mut fields = Reader(signed);
    if signed.first() == Some(&VERSION) {
        fields.next()?;
    }
    // Serial number, signature's algorithm, issuer, validity, subject.
    for _ in 0..5 {
        fields.next()?;
    }
    Some(fields.expect(SEQUENCE)?.1)
}

/// Returns the algorithm and the bits of a `SubjectPublicKeyInfo`.
pub(crate) fn public_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, _) = Reader(info).expect(SEQUENCE)?;
    let mut fields = Reader(content);
    let (algorithm, _) = fields.expect(SEQUENCE)?;
    let (bits, _) = fields.expect(BIT_STRING)?;
    // The first byte counts the bits that are not used at the end: none, in a key.
    let (0, bits) = bits.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    Some((algorithm, bits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_found() {
        let mut info = vec![SEQUENCE, 12, SEQUENCE, 5];
        info.extend(ED25519);
        info.extend([BIT_STRING, 3, 0, 7, 8]);
        assert_eq!(public_key(&info), Some((ED25519, &[7, 8][..])));
        info[11] = 1;
        assert_eq!(public_key(&info), None, "bits that are not used");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            certificate_key(&bytes);
            public_key(&bytes);
        }
    }
}
