//! Files into and out of containers, and containers as images.

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::oneshot;
use wharf_engine::FilesFor;
use wharf_wire::{ArchivePutQuery, CommitQuery, ContainerPathStat, PATH_STAT_HEADER};

use crate::answer::{Answer, Failure, empty, json_with, typed};
use crate::body::{LateError, written};
use crate::call::{Call, blocking};
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/containers/{id}/archive" since (1, 24) => read),
    route!(HEAD "/containers/{id}/archive" since (1, 24) => stat),
    route!(PUT "/containers/{id}/archive" since (1, 24) => write),
    route!(POST "/commit" since (1, 24) => commit),
];

/// The path is the one parameter that every request must have.
fn path(call: &Call) -> Result<String, Failure> {
    call.query
        .non_empty("path")
        .ok_or_else(|| Failure::invalid("bad parameter: 'path' cannot be empty"))
}

async fn stat(call: Call) -> Result<Answer, Failure> {
    let path = path(&call)?;
    let files = call.engine.files(call.name(), FilesFor::Reading).await?;
    let found = blocking(
        "look at a container's files",
        move || Ok(files.stat(&path)?),
    )
    .await?;
    with_stat(empty(StatusCode::OK), &found)
}

async fn read(call: Call) -> Result<Answer, Failure> {
    let path = path(&call)?;
    let files = call.engine.files(call.name(), FilesFor::Reading).await?;
    let (tell, told) = oneshot::channel();
    let body = written(
        "archive a container's files",
        LateError::Cut,
        move |writer| {
            let tell = |stat| {
                // Nobody listens when the client has left: then the writer fails too.
                drop(tell.send(stat));
            };
            Ok(files.read(&path, tell, writer)?)
        },
    )
    .await?;
    // It was told before the first byte of the body.
    let found = told
        .await
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let kind = HeaderValue::from_static("application/x-tar");
    with_stat(typed(StatusCode::OK, kind, body), &found)
}

async fn write(call: Call) -> Result<Answer, Failure> {
    path(&call)?;
    let query = ArchivePutQuery::read(&call.query);
    let files = call.engine.files(call.name(), FilesFor::Writing).await?;
    let mut archive = call.into_reader();
    blocking("unpack into a container", move || {
        let written = files.write(&query, &mut archive);
        if written.is_err() {
            archive.skim();
        }
        Ok(written?)
    })
    .await?;
    Ok(empty(StatusCode::OK))
}

async fn commit(mut call: Call) -> Result<Answer, Failure> {
    let query = CommitQuery::read(&call.query);
    let config = call.optional_document().await?;
    let made = call.engine.commit(query, config).await?;
    Ok(json_with(StatusCode::CREATED, &made))
}

fn with_stat<B>(mut answer: Response<B>, stat: &ContainerPathStat) -> Result<Response<B>, Failure> {
    let value = HeaderValue::from_str(&stat.to_header())
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let name = HeaderName::from_static(PATH_STAT_HEADER);
    answer.headers_mut().insert(name, value);
    Ok(answer)
}
