//! A look at the first request of a connection, before hyper has it.
//!
//! Docker's clients open a connection of its own for each attach and exec, and take it over with that one request:
//! after the answer's head, both sides send the process's bytes. hyper can only do that when the request says
//! `Upgrade: tcp`, which clients before API 1.20, and people with curl and socat, leave out. So the first request of a
//! connection is read here. If it takes the connection over, [`crate::hijack`] answers it; anything else, also
//! anything that looks odd, is given to hyper from its first byte on, and hyper judges it.

use std::io;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, Method};
use tokio::io::AsyncReadExt;
use wharf_wire::query::Query;

use crate::client::Client;
use crate::guard::FETCH_SITE;
use crate::hijack::Kind;
use crate::router::{self, Found, Params};
use crate::server::{MAX_HEAD, MAX_HEADERS};
use crate::version::ApiVersion;

/// Longest body of a request that takes the connection over.
const MAX_BODY: usize = 64 * 1024;

/// What a connection begins with.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A request for hyper; these bytes of it have been read.
    Http(Bytes),
    /// A request that takes the connection over.
    Takeover(Box<Takeover>),
}

/// A request that takes its connection over, whole.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) kind: Kind,
    pub(crate) version: ApiVersion,
    pub(crate) params: Params,
    pub(crate) query: Query,
    /// Whether the request asks for 101 instead of 200.
    pub(crate) upgrade: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The process's input, as far as the client has sent it with the request.
    pub(crate) early: Bytes,
    /// All that was read.
    pub(crate) read: Bytes,
}

/// Reads the beginning of a connection.
pub(crate) async fn read(client: &mut Client) -> io::Result<Opening> {
    // Connections that wait for their first request shall cost nothing.
    client.readable().await?;
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        match judge(&buffer) {
            Verdict::More => {}
            Verdict::Http => return Ok(Opening::Http(buffer.freeze())),
            Verdict::Takeover(request) => {
                return Ok(Opening::Takeover(Box::new(
                    request.complete(buffer.freeze()),
                )));
            }
        }
        if client.read_buf(&mut buffer).await? == 0 {
            return Ok(Opening::Http(buffer.freeze()));
        }
    }
}

enum Verdict {
    More,
    Http,
    Takeover(Recognized),
}

/// A request that takes its connection over, and where its parts lie in the bytes read.
struct Recognized {
    kind: Kind,
    version: ApiVersion,
    params: Params,
    query: Query,
    headers: HeaderMap,
    head: usize,
    body: usize,
}

impl Recognized {
    fn complete(self, read: Bytes) -> Takeover {
        let end = self.head + self.body;
        Takeover {
            kind: self.kind,
            version: self.version,
            params: self.params,
            query: self.query,
            upgrade: self.headers.contains_key(UPGRADE),
            headers: self.headers,
            body: read.slice(self.head..end),
            early: read.slice(end..),
            read,
        }
    }
}

fn judge(bytes: &[u8]) -> Verdict {
    const POST: &[u8] = b"POST ";
    let length = bytes.len().min(POST.len());
    if bytes[..length] != POST[..length] {
        return Verdict::Http;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Verdict::More,
        Ok(httparse::Status::Partial) | Err(_) => return Verdict::Http,
    };
    let Some(recognized) = recognize(&request, head) else {
        return Verdict::Http;
    };
    if bytes.len() < recognized.head + recognized.body {
        Verdict::More
    } else {
        Verdict::Takeover(recognized)
    }
}

fn recognize(request: &httparse::Request<'_, '_>, head: usize) -> Option<Recognized> {
    let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
    let Ok(Found::Route {
        route,
        version,
        params,
    }) = router::find(&Method::POST, path)
    else {
        return None;
    };
    let kind = Kind::of(route.pattern)?;
    let headers = header_map(request.headers)?;
    if headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(EXPECT) {
        return None;
    }
    let body = match headers.get(CONTENT_LENGTH) {
        None => 0,
        Some(value) => value
            .to_str()
            .ok()?
            .parse()
            .ok()
            .filter(|length| *length <= MAX_BODY)?,
    };
    Some(Recognized {
        kind,
        version,
        params,
        query: Query::parse(query).ok()?,
        headers,
        head,
        body,
    })
}

/// Takes the headers that matter here. A header given twice is hyper's to judge.
fn header_map(headers: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        if [
            CONTENT_LENGTH,
            CONTENT_TYPE,
            EXPECT,
            FETCH_SITE,
            HOST,
            ORIGIN,
            TRANSFER_ENCODING,
            UPGRADE,
        ]
        .contains(&name)
        {
            let value = HeaderValue::from_bytes(header.value).ok()?;
            if map.insert(name, value).is_some() {
                return None;
            }
        }
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    /// Sends `bytes` in pieces of `piece`, ends, and returns what was made of it.
    async fn sent(bytes: &[u8], piece: usize) -> Opening {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            for part in bytes.chunks(piece) {
                // The reader may have seen enough.
                if far.write_all(part).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
        let opening = read(&mut Client::from(near)).await.expect("reads");
        sending.await.expect("sends");
        opening
    }

    const ATTACH: &str =
        "POST /v1.41/containers/abc/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n";

    #[tokio::test]
    async fn an_attach_takes_the_connection_over() {
        for piece in [1, 7, 1000] {
            let request =
                format!("{ATTACH}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n");
            let Opening::Takeover(takeover) = sent(request.as_bytes(), piece).await else {
                panic!("not recognized")
            };
            assert_eq!(
                (takeover.kind, takeover.params.name()),
                (Kind::Attach, "abc")
            );
            assert_eq!(takeover.version, ApiVersion::new(1, 41));
            assert!(takeover.upgrade && takeover.query.flag("stream") && takeover.early.is_empty());
        }
    }

    #[tokio::test]
    async fn an_exec_start_has_its_body_and_early_input() {
        let request = "POST /exec/abc/start HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}ls\n";
        let Opening::Takeover(takeover) = sent(request.as_bytes(), 1000).await else {
            panic!("not recognized")
        };
        assert_eq!(
            (takeover.kind, takeover.params.name()),
            (Kind::ExecStart, "abc")
        );
        assert_eq!(
            (&takeover.body[..], &takeover.early[..]),
            (&b"{}"[..], &b"ls\n"[..])
        );
        assert_eq!(&takeover.read[..], request.as_bytes());
        assert!(!takeover.upgrade);
    }

    #[tokio::test]
    async fn anything_else_is_for_hyper_and_whole() {
        for request in [
            "",
            "PO",
            "GET /info HTTP/1.1\r\n\r\n",
            "POST /containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            "POST /containers/abc/attach HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            "POST /containers/abc/attach HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST /containers/abc/attach HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
            "POST /containers/abc/attach HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /v9.99/containers/abc/attach HTTP/1.1\r\n\r\n",
            "POST /containers/abc/attach?a=%zz HTTP/1.1\r\n\r\n",
            "POST nonsense\r\n\r\n",
            "POST /containers/abc/attach HTTP/1.1\r\nHost",
        ] {
            let opening = sent(request.as_bytes(), 1000).await;
            let Opening::Http(read) = opening else {
                panic!("{request:?} is not a takeover")
            };
            assert_eq!(&read[..], &request.as_bytes()[..read.len()], "{request:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let mut request = ATTACH.as_bytes().to_vec();
            request.extend_from_slice(&bytes);
            judge(&request);
            judge(&bytes);
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_given_up() {
        let request = format!("{ATTACH}X: {}", "x".repeat(2 * MAX_HEAD));
        assert!(matches!(
            sent(request.as_bytes(), 8192).await,
            Opening::Http(_)
        ));
    }
}
