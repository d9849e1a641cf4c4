//! How a WebSocket begins (RFC 6455, section 4.2).

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};

use crate::answer::Failure;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

/// What is appended to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The request's part of it, found good.
#[derive(Debug)]
pub(crate) struct Handshake {
    key: HeaderValue,
}

impl Handshake {
    /// Reads the request's headers.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let has = |name: &HeaderName, word: &str| {
            headers.get_all(name).iter().any(|value| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                let mut words = value.split(',').map(str::trim);
                words.any(|found| found.eq_ignore_ascii_case(word))
            })
        };
        if !has(&UPGRADE, "websocket") || !has(&CONNECTION, "upgrade") {
            return Err(Failure::invalid("not a websocket request"));
        }
        if !has(&VERSION, "13") {
            return Err(Failure::invalid("websocket version 13 is required"));
        }
        let key = headers.get(KEY).filter(|key| key.len() == 24).cloned();
        let key = key.ok_or_else(|| Failure::invalid("the websocket key is missing or no key"))?;
        Ok(Self { key })
    }

    /// Returns what proves that the key was read.
    pub(super) fn accept(&self) -> HeaderValue {
        let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(self.key.as_bytes());
        context.update(GUID);
        let text = base64(context.finish().as_ref());
        HeaderValue::try_from(text).expect("letters, digits and three signs are a header's value")
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0u32, |sum, at| {
            sum << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let letter = LETTERS[(value >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<String, String> {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let headers: HeaderMap = pairs.collect();
        let handshake =
            Handshake::read(&headers).map_err(|failure| failure.message().to_owned())?;
        Ok(handshake.accept().to_str().expect("text").to_owned())
    }

    #[test]
    fn the_example_of_the_specification() {
        let accepted = read(&[
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        assert_eq!(accepted, Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(read(&[]), Err("not a websocket request".to_owned()));
        let upgrade = [("upgrade", "websocket"), ("connection", "upgrade")];
        assert_eq!(
            read(&upgrade),
            Err("websocket version 13 is required".to_owned())
        );
    }

    #[test]
    fn groups_of_three_bytes_are_four_letters() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
