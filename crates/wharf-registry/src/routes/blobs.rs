//! Blobs: reading them, and bringing them in.

use std::io::{Seek as _, SeekFrom};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use wharf_types::{Digest, Repository, UploadId};

use crate::access::Action;
use crate::body::{self, BATCH};
use crate::proxy::{self, Download};
use crate::refusal::Refusal;
use crate::routes::{Answer, Call, bare, is_known, named, range, upload_path, value};
use crate::storage::{Expected, Storage, StorageError, UploadError, UploadWriter};
use crate::target;

/// `GET` and `HEAD` of a blob, or of one range of its bytes.
pub(crate) async fn get(call: &Call, name: Repository, digest: Digest) -> Result<Answer, Refusal> {
    if let Some(download) = proxy::blob(&call.registry, &name, digest).await? {
        return arriving(call, digest, &download);
    }
    if call.method == Method::HEAD {
        let size = call.registry.storage.blob_size(&name, digest);
        let size = size.ok_or(StorageError::NoBlob {
            repository: name,
            digest,
        })?;
        if is_known(call, digest) {
            return Ok(named(bare(StatusCode::NOT_MODIFIED), digest));
        }
        return Ok(described(bare(StatusCode::OK), digest, size));
    }
    let (mut file, size) = call
        .blocking(move |storage| storage.open_blob(&name, digest))
        .await?;
    if is_known(call, digest) {
        return Ok(named(bare(StatusCode::NOT_MODIFIED), digest));
    }
    let Some((first, last)) = requested(call, size)? else {
        let answer = described(bare(StatusCode::OK), digest, size);
        return Ok(answer.map(|_| body::file(file, size)));
    };
    let sought = file.seek(SeekFrom::Start(first));
    sought.map_err(|error| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            error.to_string(),
        )
    })?;
    let length = last - first + 1;
    let mut answer = described(bare(StatusCode::PARTIAL_CONTENT), digest, length);
    answer.headers_mut().insert(
        header::CONTENT_RANGE,
        value(format!("bytes {first}-{last}/{size}")),
    );
    Ok(answer.map(|_| body::file(file, length)))
}

/// A blob that comes from upstream while it is sent on.
fn arriving(call: &Call, digest: Digest, download: &Download) -> Result<Answer, Refusal> {
    if is_known(call, digest) {
        return Ok(named(bare(StatusCode::NOT_MODIFIED), digest));
    }
    let head = call.method == Method::HEAD;
    let Some(size) = download.size() else {
        // Without a length the client sees by the way the connection ends whether it has all.
        let answer = named(bare(StatusCode::OK), digest);
        let body = |_| {
            if head {
                body::empty()
            } else {
                download.body(0, None)
            }
        };
        return Ok(answer.map(body));
    };
    if head {
        return Ok(described(bare(StatusCode::OK), digest, size));
    }
    let Some((first, last)) = requested(call, size)? else {
        let answer = described(bare(StatusCode::OK), digest, size);
        return Ok(answer.map(|_| download.body(0, Some(size))));
    };
    let mut answer = described(bare(StatusCode::PARTIAL_CONTENT), digest, last - first + 1);
    answer.headers_mut().insert(
        header::CONTENT_RANGE,
        value(format!("bytes {first}-{last}/{size}")),
    );
    Ok(answer.map(|_| download.body(first, Some(last + 1))))
}

fn described(answer: Answer, digest: Digest, length: u64) -> Answer {
    let mut answer = named(answer, digest);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, value(length.to_string()));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The name is the content's hash: it can never mean anything else.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=31536000, immutable"),
    );
    answer
}

/// Reads `Range` (RFC 9110, section 14). Forms other than one range of bytes mean the whole, as it allows.
fn requested(call: &Call, size: u64) -> Result<Option<(u64, u64)>, Refusal> {
    let Some(text) = call
        .header(header::RANGE)
        .and_then(|text| text.strip_prefix("bytes="))
    else {
        return Ok(None);
    };
    let Some((first, last)) = text.split_once('-') else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let unsatisfiable = || {
        Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "SIZE_INVALID",
            format!("the blob has {size} bytes"),
        )
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (None, Some(length)) if first.trim().is_empty() => {
            (size.saturating_sub(length), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if range.0 >= size || range.0 > range.1 {
        return Err(unsatisfiable());
    }
    Ok(Some(range))
}

/// `DELETE` of a blob.
pub(crate) async fn delete(
    call: &Call,
    name: Repository,
    digest: Digest,
) -> Result<Answer, Refusal> {
    call.blocking(move |storage| storage.delete_blob(&name, digest))
        .await?;
    Ok(bare(StatusCode::ACCEPTED))
}

/// `POST` of an upload: begun, or whole already, or mounted from another repository.
pub(crate) async fn begin(call: &mut Call, name: Repository) -> Result<Answer, Refusal> {
    if let Some(digest) = call.query.get("mount")
        && let Some(answer) = mount(call, &name, digest).await?
    {
        return Ok(answer);
    }
    let whole = call.query.get("digest").map(target::digest).transpose()?;
    let (begun, owner) = (name.clone(), call.caller.name.clone());
    let id = call
        .blocking(move |storage| storage.begin_upload(&begun, owner.as_deref()))
        .await?;
    match whole {
        Some(digest) => {
            // Who sends all at once does not know the identifier, so nothing is kept to go on from.
            if let Err(refusal) = write(call, name.clone(), id, Some(digest)).await {
                call.blocking(move |storage| storage.cancel_upload(&name, &id))
                    .await?;
                return Err(refusal);
            }
            Ok(created(&name, digest))
        }
        None => Ok(accepted(&name, &id, 0)),
    }
}

/// The answer when the blob could be mounted. Without `from`, or where that repository does not serve
/// the blob, or not to this caller, an upload begins instead: whether other repositories have it is not told (attack G1).
async fn mount(call: &Call, name: &Repository, digest: &str) -> Result<Option<Answer>, Refusal> {
    let digest = target::digest(digest)?;
    let Some(from) = call.query.get("from") else {
        return Ok(None);
    };
    let from = target::repository(&[from])?;
    if !call.may(&from, Action::Pull) {
        return Ok(None);
    }
    let into = name.clone();
    let mounted = call
        .blocking(move |storage| storage.mount(&into, &from, digest))
        .await?;
    Ok(mounted.then(|| created(name, digest)))
}

/// `GET` of an upload: how far it is.
pub(crate) async fn status(call: &Call, name: Repository, id: UploadId) -> Result<Answer, Refusal> {
    let (asked, caller) = (name.clone(), call.caller.name.clone());
    let offset = call
        .blocking(move |storage| {
            storage.check_owner(&asked, &id, caller.as_deref())?;
            storage.upload_offset(&asked, &id)
        })
        .await?;
    let mut answer = accepted(&name, &id, offset);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// `PATCH` of an upload: more bytes.
pub(crate) async fn append(
    call: &mut Call,
    name: Repository,
    id: UploadId,
) -> Result<Answer, Refusal> {
    let offset = write(call, name.clone(), id, None).await?;
    Ok(accepted(&name, &id, offset))
}

/// `PUT` of an upload: the last bytes, if any, and the digest of all.
pub(crate) async fn finish(
    call: &mut Call,
    name: Repository,
    id: UploadId,
) -> Result<Answer, Refusal> {
    let digest = call
        .query
        .get("digest")
        .ok_or_else(|| Refusal::digest("the parameter digest is missing"))?;
    let digest = target::digest(digest)?;
    write(call, name.clone(), id, Some(digest)).await?;
    Ok(created(&name, digest))
}

/// `DELETE` of an upload.
pub(crate) async fn cancel(call: &Call, name: Repository, id: UploadId) -> Result<Answer, Refusal> {
    let caller = call.caller.name.clone();
    call.blocking(move |storage| {
        storage.check_owner(&name, &id, caller.as_deref())?;
        storage.cancel_upload(&name, &id)
    })
    .await?;
    Ok(bare(StatusCode::NO_CONTENT))
}

/// Adds the body to an upload, and makes it a blob when its digest is given; returns the bytes it has.
async fn write(
    call: &mut Call,
    name: Repository,
    id: UploadId,
    whole: Option<Digest>,
) -> Result<u64, Refusal> {
    let expected = expected(call)?;
    let (asked, caller) = (name.clone(), call.caller.name.clone());
    let open = move |storage: &Storage| {
        storage.check_owner(&asked, &id, caller.as_deref())?;
        storage.upload_writer(&asked, &id, expected)
    };
    let mut writer = call.blocking(open).await?;
    if let Some(body) = call.body.take() {
        writer = receive(call, body, writer).await?;
    }
    let work = move |storage: &Storage| {
        let offset = writer.close()?;
        if let Some(digest) = whole {
            storage.finish_upload(&name, &id, digest)?;
        }
        Ok::<u64, StorageError>(offset)
    };
    call.blocking(work).await
}

/// Writes a body to an upload. While one batch is hashed and written the next arrives.
async fn receive(
    call: &Call,
    mut body: Incoming,
    writer: UploadWriter,
) -> Result<UploadWriter, Refusal> {
    let mut writing = Writing::Idle(Box::new(writer));
    let mut batch = Vec::new();
    let mut length = 0;
    loop {
        let piece = body::next(&mut body).await;
        let ended = match &piece {
            Ok(Some(piece)) => {
                call.registry.metrics.received.inc_by(piece.len() as u64);
                length += piece.len();
                false
            }
            Ok(None) | Err(_) => true,
        };
        let failed = match piece {
            Ok(piece) => {
                batch.extend(piece);
                None
            }
            Err(error) => Some(UploadError::Body(error)),
        };
        if length >= BATCH || ended {
            // What came before an error stays, so that the client can go on from there.
            writing = writing.write(std::mem::take(&mut batch)).await?;
            length = 0;
        }
        if let Some(error) = failed {
            writing.idle().await?;
            return Err(error.into());
        }
        if ended {
            return writing.idle().await;
        }
    }
}

/// An upload that is being written, or waits for more.
enum Writing {
    Idle(Box<UploadWriter>),
    Busy(JoinHandle<Result<UploadWriter, UploadError>>),
}

impl Writing {
    async fn write(self, batch: Vec<Bytes>) -> Result<Self, Refusal> {
        let mut writer = self.idle().await?;
        let work = move || {
            for piece in &batch {
                writer.write(piece)?;
            }
            Ok(writer)
        };
        Ok(Self::Busy(tokio::task::spawn_blocking(work)))
    }

    async fn idle(self) -> Result<UploadWriter, Refusal> {
        match self {
            Self::Idle(writer) => Ok(*writer),
            Self::Busy(work) => Ok(work
                .await
                .map_err(|error| Refusal::unknown(error.to_string()))??),
        }
    }
}

/// Reads `Content-Range`: where the bytes go, and how many there are (attack G7).
fn expected(call: &Call) -> Result<Expected, Refusal> {
    let Some(text) = call.header(header::CONTENT_RANGE) else {
        return Ok(Expected::default());
    };
    // The specification has `<start>-<end>`; some clients send RFC 9110's `bytes <start>-<end>/<size>`.
    let numbers = text
        .strip_prefix("bytes ")
        .unwrap_or(text)
        .split('/')
        .next()
        .unwrap_or_default();
    let numbers = numbers.split_once('-').and_then(|(start, end)| {
        let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
        Some((start, end.checked_sub(start)?.checked_add(1)?))
    });
    let said = call.header(header::CONTENT_LENGTH);
    let said = said.and_then(|text| text.parse::<u64>().ok());
    match numbers {
        // A last request without bytes has a range all the same with some clients.
        Some((start, _)) if said == Some(0) => Ok(Expected {
            start: Some(start),
            length: Some(0),
        }),
        Some((start, length)) if said.is_none_or(|said| said == length) => Ok(Expected {
            start: Some(start),
            length: Some(length),
        }),
        _ => Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            format!("Content-Range {text:?} is not the <start>-<end> of these bytes"),
        )),
    }
}

fn created(name: &Repository, digest: Digest) -> Answer {
    let mut answer = named(bare(StatusCode::CREATED), digest);
    answer.headers_mut().insert(
        header::LOCATION,
        value(format!("/v2/{name}/blobs/{digest}")),
    );
    answer
}

fn accepted(name: &Repository, id: &UploadId, offset: u64) -> Answer {
    let mut answer = bare(StatusCode::ACCEPTED);
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, upload_path(name, id));
    headers.insert(header::RANGE, range(offset));
    headers.insert("docker-upload-uuid", value(id.to_string()));
    answer
}
