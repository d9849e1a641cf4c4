//! Blobs that come as streams, over lines that break.
//!
//! What is asked for is named by its digest, so any endpoint can go on where another one stopped. A
//! stream asks for the bytes it lacks (`Range`), never for those it has; an endpoint that sends all the
//! same is read over. Source: OCI distribution specification 1.1, "Pulling blobs"; RFC 9110, section 14.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use wharf_types::{Digest, Hasher};

use crate::address;
use crate::auth::Scopes;
use crate::credentials::Credentials;
use crate::error::{AnswerFault, Error, RequestError};
use crate::exchange::{self, Answer, Ask, To};
use crate::hosts::{Capabilities, Endpoint};
use crate::repository::{Doing, Repository, note};
use crate::tls::Trusted;
use crate::transport;

/// A piece that is shorter is a line that drops all the time: the pauses grow as without progress.
const MUCH: u64 = 16 * 1024;
/// How often a line may drop after less than that.
const LITTLE_MAX: u32 = 64;
/// Most addresses of a foreign layer that are tried.
const FOREIGN_MAX: usize = 8;

/// A blob on its way.
///
/// A line that is cut, a server that stands still or errs are taken up where they left off, at the
/// same endpoint and then at the next; whoever reads does not notice. Nobody has hashed what comes: read
/// through [`BlobStream::verified`], or hash and tell [`Repository::distrust`].
#[derive(Debug)]
pub struct BlobStream {
    repository: Repository,
    digest: Digest,
    size: Option<u64>,
    /// Offset of the next byte to hand out.
    position: u64,
    places: Vec<Place>,
    /// Which of them is asked.
    at: usize,
    line: Option<Line>,
    /// Whoever gave a part.
    givers: HashSet<String>,
    /// Failures in a row without a byte, and with only a few.
    fruitless: u32,
    meagre: u32,
    /// Where the line was taken up last.
    taken_up: u64,
    /// What the place's answers were marked with.
    tag: Option<HeaderValue>,
}

/// Who is asked for the blob.
#[derive(Debug, Clone)]
struct Place {
    endpoint: Arc<Endpoint>,
    /// The address in the layer's descriptor, of a foreign one.
    address: Option<http::Uri>,
}

/// An answer's body.
#[derive(Debug)]
struct Line {
    body: Incoming,
    /// Bytes to read over: the endpoint began at the beginning.
    skip: u64,
}

/// A blob on its way, hashed as it passes.
#[derive(Debug)]
pub struct Verified {
    stream: BlobStream,
    hasher: Hasher,
    ended: bool,
}

impl BlobStream {
    pub(crate) async fn open(
        repository: &Repository,
        urls: &[String],
        digest: Digest,
        size: Option<u64>,
        from: u64,
    ) -> Result<Self, Error> {
        let endpoints = repository.endpoints().await?;
        let mut places: Vec<Place> = urls
            .iter()
            .take(FOREIGN_MAX)
            .filter_map(|url| foreign(url))
            .collect();
        places.extend(
            endpoints
                .for_pull()
                .filter(|endpoint| !repository.is_distrusted(&digest, endpoint))
                .map(|endpoint| Place {
                    endpoint: Arc::clone(endpoint),
                    address: None,
                }),
        );
        if places.is_empty() {
            places.push(Place {
                endpoint: Arc::clone(endpoints.registry()),
                address: None,
            });
        }
        let mut stream = Self {
            repository: repository.clone(),
            digest,
            size,
            position: from,
            places,
            at: 0,
            line: None,
            givers: HashSet::new(),
            fruitless: 0,
            meagre: 0,
            taken_up: from,
            tag: None,
        };
        if !stream.is_whole() {
            stream.connect().await?;
        }
        Ok(stream)
    }

    /// Returns the digest that was asked for.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the length of the whole blob, when it is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns host and port of who is giving it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.place().endpoint.name()
    }

    /// Returns the next bytes, nothing after the last. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// Every endpoint was tried as often as [`Limits::tries`](crate::Limits::tries) says without a
    /// byte of progress, or all refuse.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.is_whole() {
                return Ok(None);
            }
            let idle = self.repository.client.settings.limits.idle;
            let Some(line) = &mut self.line else {
                self.connect().await?;
                continue;
            };
            match transport::next_piece(&mut line.body, idle).await {
                Ok(Some(bytes)) => {
                    if let Some(bytes) = self.accept(bytes)? {
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) if self.size.is_none() => self.size = Some(self.position),
                // The head said less than the blob has, or nothing.
                Ok(None) => self.broke(RequestError::Cut).await?,
                Err(reason) => self.broke(reason).await?,
            }
        }
    }

    /// Returns the stream with its bytes hashed as they pass. It must begin at the first byte.
    #[must_use]
    pub fn verified(self) -> Verified {
        self.verified_after(Hasher::new())
    }

    /// The same for a stream that begins at an offset: with the hash of what comes before it.
    #[must_use]
    pub fn verified_after(self, hasher: Hasher) -> Verified {
        Verified {
            stream: self,
            hasher,
            ended: false,
        }
    }

    fn is_whole(&self) -> bool {
        self.size.is_some_and(|size| self.position >= size)
    }

    fn place(&self) -> &Place {
        &self.places[self.at.min(self.places.len() - 1)]
    }

    /// Takes what came, without what was there before; nothing when that was all.
    fn accept(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        let line = self.line.as_mut().expect("bytes come over a line");
        let skipped = line.skip.min(bytes.len() as u64);
        line.skip -= skipped;
        drop(bytes.split_to(usize::try_from(skipped).unwrap_or(bytes.len())));
        if bytes.is_empty() {
            return Ok(None);
        }
        let end = self.position + bytes.len() as u64;
        if let Some(size) = self.size
            && end > size
        {
            return Err(self.wrong_size(size, end));
        }
        self.position = end;
        self.fruitless = 0;
        if self.position - self.taken_up >= MUCH {
            self.meagre = 0;
        }
        let name = self.endpoint();
        if !self.givers.contains(&name) {
            self.givers.insert(name);
        }
        Ok(Some(bytes))
    }

    /// The line broke: waits a while, for the same place or, when it gave nothing too often, the next.
    async fn broke(&mut self, reason: RequestError) -> Result<(), Error> {
        self.line = None;
        let limits = &self.repository.client.settings.limits;
        tracing::debug!(
            endpoint = self.endpoint(),
            digest = %self.digest,
            position = self.position,
            %reason,
            "a line broke"
        );
        self.fruitless += 1;
        self.meagre += 1;
        if self.fruitless >= limits.tries || self.meagre > LITTLE_MAX {
            let Place { endpoint, address } = self.place();
            let asked = address
                .clone()
                .unwrap_or_else(|| endpoint.uri(&endpoint.origin, &self.path()));
            let error = Error::Request {
                method: Method::GET,
                url: address::shown(&asked),
                reason,
            };
            return self.next_place(error);
        }
        // A line that broke after it gave much is taken up at once.
        if self.meagre > 1 {
            let pause = exchange::pause(&self.repository.client, self.meagre - 1);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn next_place(&mut self, error: Error) -> Result<(), Error> {
        let error = note(&self.place().endpoint, error);
        self.line = None;
        self.tag = None;
        self.fruitless = 0;
        self.meagre = 0;
        if self.at + 1 >= self.places.len() {
            return Err(error);
        }
        self.at += 1;
        Ok(())
    }

    /// Opens a line that begins at the position, at the first place that gives one.
    async fn connect(&mut self) -> Result<(), Error> {
        loop {
            match self.ask().await {
                Ok(line) => {
                    self.taken_up = self.position;
                    self.line = Some(line);
                    return Ok(());
                }
                Err(Error::Request { reason, .. })
                    if self.position > 0 && reason.is_about_connection() =>
                {
                    // It was there a moment ago.
                    self.broke(reason).await?;
                }
                Err(error) => self.next_place(error)?,
            }
        }
    }

    fn path(&self) -> String {
        self.repository.path(&format!("blobs/{}", self.digest))
    }

    async fn ask(&mut self) -> Result<Line, Error> {
        let place = self.place().clone();
        let path = self.path();
        let scopes = match place.address {
            None => self.repository.scopes("pull"),
            Some(_) => Scopes::new(),
        };
        let mut ask = Ask::new(Method::GET, &path, &scopes);
        if let Some(address) = &place.address {
            ask.to = To::Address(address);
        }
        if self.position > 0 {
            let range = format!("bytes={}-", self.position);
            ask = ask.with(RANGE, HeaderValue::from_str(&range).expect("digits"));
            if let Some(tag) = &self.tag {
                ask = ask.with(IF_RANGE, tag.clone());
            }
        }
        let mut answer = exchange::send(&self.repository.client, &place.endpoint, &ask).await?;
        let skip = match answer.status {
            StatusCode::OK => {
                self.check_size(answer.length())?;
                self.position
            }
            StatusCode::PARTIAL_CONTENT => {
                let total = self.range_total(&answer)?;
                self.check_size(total)?;
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.fault(AnswerFault::Range)),
            _ => return Err(self.repository.refused(&mut answer, Doing::Reading).await),
        };
        if answer
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity")
        {
            return Err(self.fault(AnswerFault::Encoding));
        }
        self.tag = strong_tag(&answer.headers);
        Ok(Line {
            body: answer.body,
            skip,
        })
    }

    /// Checks that a part begins where it should, and returns the length of the whole.
    fn range_total(&self, answer: &Answer) -> Result<Option<u64>, Error> {
        let range = answer
            .header(CONTENT_RANGE.as_str())
            .and_then(content_range)
            .ok_or_else(|| self.fault(AnswerFault::Header("Content-Range")))?;
        if range.start != self.position {
            return Err(self.fault(AnswerFault::Range));
        }
        Ok(range.total)
    }

    /// Learns the length of the whole, or checks it.
    fn check_size(&mut self, found: Option<u64>) -> Result<(), Error> {
        match (self.size, found) {
            (Some(size), Some(found)) if size != found => Err(self.wrong_size(size, found)),
            (None, Some(found)) if found < self.position => Err(self.fault(AnswerFault::Range)),
            (None, Some(found)) => {
                self.size = Some(found);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, expected: u64, actual: u64) -> Error {
        Error::Size {
            endpoint: self.endpoint(),
            digest: self.digest,
            expected,
            actual,
        }
    }

    fn fault(&self, fault: AnswerFault) -> Error {
        Error::Answer {
            endpoint: self.endpoint(),
            fault,
        }
    }
}

impl Verified {
    /// Returns the stream beneath.
    #[must_use]
    pub fn stream(&self) -> &BlobStream {
        &self.stream
    }

    /// Returns the hash of what has passed so far, to go on from after a restart of the engine.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        self.hasher.clone()
    }

    /// Returns the next bytes, nothing after the last and when all together have the digest.
    ///
    /// # Errors
    /// As [`BlobStream::next`]; [`Error::Digest`] in the place of the end when they have another digest.
    /// The repository then does not ask the mirrors that gave them for this blob again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(bytes) = self.stream.next().await? {
            self.hasher.update(&bytes);
            return Ok(Some(bytes));
        }
        if self.ended {
            return Ok(None);
        }
        let (expected, actual) = (self.stream.digest, self.hasher.clone().finish());
        if expected != actual {
            for giver in &self.stream.givers {
                self.stream.repository.distrust(&expected, giver);
            }
            return Err(Error::Digest {
                endpoint: self.stream.endpoint(),
                expected,
                actual,
            });
        }
        self.ended = true;
        Ok(None)
    }
}

/// The place of a foreign layer: any host, without anything that is the registry's.
fn foreign(url: &str) -> Option<Place> {
    let (origin, address) = address::parse(url)?;
    Some(Place {
        endpoint: Arc::new(Endpoint {
            origin,
            prefix: String::new(),
            stands_for: None,
            trusted: Trusted::default(),
            insecure: false,
            credentials: Credentials::None,
            headers: HeaderMap::new(),
            is_registry: false,
            can: Capabilities::NONE,
        }),
        address: Some(address),
    })
}

/// `ETag`, when it promises the same bytes.
fn strong_tag(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?;
    tag.as_bytes().starts_with(b"\"").then(|| tag.clone())
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    total: Option<u64>,
}

/// `Content-Range: bytes 0-9/10`, or `*` for the whole.
fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let holds = start <= end && total.is_none_or(|total| end < total);
    holds.then_some(ContentRange { start, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_refused() {
        let range = |start, total| Some(ContentRange { start, total });
        assert_eq!(content_range("bytes 0-9/10"), range(0, Some(10)));
        assert_eq!(content_range("bytes 5-9/*"), range(5, None));
        for text in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "bytes */10",
            "items 0-9/10",
            "bytes -5/10",
            "bytes 0-99999999999999999999/*",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(bytes )?[0-9*/ -]{0,40}") {
            if let Some(range) = content_range(&text) {
                proptest::prop_assert!(range.total.is_none_or(|total| range.start < total));
            }
        }
    }
}
