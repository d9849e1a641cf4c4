//! Processes beside a container's first.

use http::StatusCode;
use wharf_wire::{ExecCreateBody, ExecStartBody, ResizeQuery};

use crate::answer::{Answer, Failure, empty, json, json_with};
use crate::call::Call;
use crate::hijack::{self, Process};
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(POST "/containers/{id}/exec" since (1, 24) => create),
    route!(POST "/exec/{id}/start" since (1, 24) => start),
    route!(POST "/exec/{id}/resize" since (1, 24) => resize),
    route!(GET "/exec/{id}/json" since (1, 24) => inspect),
];

async fn create(mut call: Call) -> Result<Answer, Failure> {
    let body: ExecCreateBody = call.document().await?;
    let created = call.engine.exec_create(call.name(), body).await?;
    Ok(json_with(StatusCode::CREATED, &created))
}

async fn start(mut call: Call) -> Result<Answer, Failure> {
    let tty = call.engine.exec_tty(call.name())?;
    let body: ExecStartBody = call.document().await?;
    let started = call.engine.exec_start(call.name(), &body).await;
    let process = match started {
        Ok(None) => return Ok(empty(StatusCode::OK)),
        Err(error) if body.detach => return Err(error.into()),
        Ok(Some(attachment)) => Process::Attached(attachment.socket),
        Err(error) => Process::failed(&error, tty),
    };
    Ok(hijack::answer(call.request, tty, call.version, process))
}

async fn resize(call: Call) -> Result<Answer, Failure> {
    call.engine
        .exec_resize(call.name(), ResizeQuery::read(&call.query)?)
        .await?;
    Ok(empty(StatusCode::OK))
}

async fn inspect(call: Call) -> Result<Answer, Failure> {
    Ok(json(&call.engine.exec_inspect(call.name())?))
}
