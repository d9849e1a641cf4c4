//! Containers.

use std::io;

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use http::header::{HeaderValue, WARNING};
use wharf_engine::{Attachment, FilesFor, Stopped};
use wharf_wire::query::QueryError;
use wharf_wire::{
    AttachQuery, ContainerCreateBody, CreateQuery, ListQuery, LogsQuery, RemoveQuery, ResizeQuery,
};
use wharf_wire::{Filters, StatsQuery, StopQuery, UpdateConfig, WaitCondition};

use crate::answer::{Answer, Failure, empty, json, json_stream, json_with, line, typed};
use crate::body::{Body, LateError, written};
use crate::call::{Call, blocking};
use crate::dialect;
use crate::hijack::{self, Process};
use crate::router::{Route, route};
use crate::version::ApiVersion;
use crate::websocket::{self, Handshake};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/containers/json" since (1, 24) => list),
    route!(POST "/containers/create" since (1, 24) => create),
    route!(GET "/containers/{id}/json" since (1, 24) => inspect),
    route!(GET "/containers/{id}/top" since (1, 24) => top),
    route!(GET "/containers/{id}/stats" since (1, 24) => stats),
    route!(GET "/containers/{id}/logs" since (1, 24) => logs),
    route!(GET "/containers/{id}/changes" since (1, 24) => changes),
    route!(GET "/containers/{id}/export" since (1, 24) => export),
    route!(POST "/containers/{id}/start" since (1, 24) => start),
    route!(POST "/containers/{id}/stop" since (1, 24) => stop),
    route!(POST "/containers/{id}/restart" since (1, 24) => restart),
    route!(POST "/containers/{id}/kill" since (1, 24) => kill),
    route!(POST "/containers/{id}/pause" since (1, 24) => pause),
    route!(POST "/containers/{id}/unpause" since (1, 24) => unpause),
    route!(POST "/containers/{id}/rename" since (1, 24) => rename),
    route!(POST "/containers/prune" since (1, 25) => prune),
    route!(POST "/containers/{id}/update" since (1, 24) => update),
    route!(POST "/containers/{id}/resize" since (1, 24) => resize),
    route!(POST "/containers/{id}/wait" since (1, 24) => wait),
    route!(POST "/containers/{id}/attach" since (1, 24) => attach),
    route!(GET "/containers/{id}/attach/ws" since (1, 24) => attach_websocket),
    route!(DELETE "/containers/{id}" since (1, 24) => remove),
];

const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;

async fn list(call: Call) -> Result<Answer, Failure> {
    let query = ListQuery::read(&call.query)?;
    if !query.size {
        return Ok(json(&call.engine.list(&query)?));
    }
    let list = blocking("list containers with sizes", move || {
        Ok(call.engine.list(&query)?)
    })
    .await?;
    Ok(json(&list))
}

async fn create(mut call: Call) -> Result<Answer, Failure> {
    let query = CreateQuery::read(&call.query);
    let mut body: ContainerCreateBody = call.document().await?;
    dialect::create_body(call.version, &mut body);
    let caller = call.caller();
    let created = call.engine.create(&query, body, caller).await?;
    Ok(json_with(StatusCode::CREATED, &created))
}

async fn inspect(call: Call) -> Result<Answer, Failure> {
    if !call.query.flag("size") {
        return Ok(json(&call.engine.inspect(call.name(), false)?));
    }
    let container = blocking("inspect a container with sizes", move || {
        Ok(call.engine.inspect(call.name(), true)?)
    })
    .await?;
    Ok(json(&container))
}

async fn top(call: Call) -> Result<Answer, Failure> {
    let ps_args = call
        .query
        .non_empty("ps_args")
        .unwrap_or_else(|| "-ef".to_owned());
    Ok(json(&call.engine.top(call.name(), &ps_args)?))
}

async fn logs(call: Call) -> Result<Answer, Failure> {
    let query = LogsQuery::read(&call.query)?;
    if !query.stdout && !query.stderr {
        return Err(Failure::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let log = call.engine.logs(call.name(), &query)?;
    let content_type = hijack::content_type(log.tty, call.version);
    let body = if query.follow {
        Body::endless(log)
    } else {
        Body::stream(log)
    };
    Ok(typed(StatusCode::OK, content_type, body))
}

async fn stats(call: Call) -> Result<Answer, Failure> {
    let query = StatsQuery::read(&call.query);
    let stats = call.engine.stats(call.name(), query).await?;
    let lines = stats.map(|document| line(&*document).map_err(io::Error::other));
    Ok(json_stream(if query.stream {
        Body::endless(lines)
    } else {
        Body::stream(lines)
    }))
}

async fn changes(call: Call) -> Result<Answer, Failure> {
    let changes = blocking("list a container's changes", move || {
        Ok(call.engine.changes(call.name())?)
    })
    .await?;
    Ok(json(&changes))
}

async fn export(call: Call) -> Result<Answer, Failure> {
    let files = call.engine.files(call.name(), FilesFor::Root).await?;
    let work = written("export a container", LateError::Cut, move |writer| {
        Ok(files.export(writer)?)
    });
    Ok(typed(
        StatusCode::OK,
        HeaderValue::from_static("application/octet-stream"),
        work.await?,
    ))
}

async fn start(call: Call) -> Result<Answer, Failure> {
    // What some clients send for nothing is not longer than this.
    if call.has_body_beyond(7) {
        return Err(Failure::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    call.refuse(&["checkpoint", "checkpoint-dir"])?;
    call.engine.start(call.name()).await?;
    Ok(empty(NO_CONTENT))
}

async fn stop(call: Call) -> Result<Answer, Failure> {
    let mut query = StopQuery::read(&call.query)?;
    dialect::stop_query(call.version, &mut query);
    stopped(call.engine.stop(call.name(), &query).await?)
}

async fn restart(call: Call) -> Result<Answer, Failure> {
    let mut query = StopQuery::read(&call.query)?;
    dialect::stop_query(call.version, &mut query);
    stopped(call.engine.restart(call.name(), &query).await?)
}

/// Docker's answer has no place for a warning; HTTP has one, which clients that do not know it pass
/// over.
fn stopped(stopped: Stopped) -> Result<Answer, Failure> {
    let mut answer = empty(NO_CONTENT);
    if let Some(signal) = stopped.unhandled {
        let text = format!(
            "299 wharf \"killed at once: the container's first process has no handler for the stop signal \
             ({signal})\""
        );
        let text = HeaderValue::try_from(text);
        let text = text.map_err(|error| Failure::invalid(error.to_string()))?;
        answer.headers_mut().insert(WARNING, text);
    }
    Ok(answer)
}

async fn kill(call: Call) -> Result<Answer, Failure> {
    call.engine
        .kill(call.name(), call.query.get("signal").unwrap_or_default())
        .await?;
    Ok(empty(NO_CONTENT))
}

async fn pause(call: Call) -> Result<Answer, Failure> {
    call.engine.pause(call.name()).await?;
    Ok(empty(NO_CONTENT))
}

async fn unpause(call: Call) -> Result<Answer, Failure> {
    call.engine.unpause(call.name()).await?;
    Ok(empty(NO_CONTENT))
}

async fn rename(call: Call) -> Result<Answer, Failure> {
    call.engine
        .rename(call.name(), call.query.get("name").unwrap_or_default())
        .await?;
    Ok(empty(NO_CONTENT))
}

async fn prune(call: Call) -> Result<Answer, Failure> {
    let filters =
        Filters::parse(call.query.get("filters").unwrap_or_default()).map_err(QueryError::from)?;
    Ok(json(&call.engine.containers_prune(&filters).await?))
}

async fn update(mut call: Call) -> Result<Answer, Failure> {
    let mut change: UpdateConfig = call.document().await?;
    if call.version < ApiVersion::new(1, 40) {
        change.pids_limit = None;
    }
    Ok(json(&call.engine.update(call.name(), change).await?))
}

async fn resize(call: Call) -> Result<Answer, Failure> {
    call.engine
        .resize(call.name(), ResizeQuery::read(&call.query)?)
        .await?;
    Ok(empty(StatusCode::OK))
}

async fn remove(call: Call) -> Result<Answer, Failure> {
    call.engine
        .remove(call.name(), RemoveQuery::read(&call.query))
        .await?;
    Ok(empty(NO_CONTENT))
}

/// The head of the answer goes out at once: who has read it knows that an exit from now on is not missed.
async fn wait(call: Call) -> Result<Answer, Failure> {
    let condition = dialect::wait_condition(call.version, WaitCondition::read(&call.query)?);
    let waiting = call.engine.wait(call.name(), condition)?;
    Ok(json_stream(Body::endless(stream::once(async move {
        line(&waiting.await).map_err(io::Error::other)
    }))))
}

async fn attach(call: Call) -> Result<Answer, Failure> {
    let Attachment { tty, socket } = call
        .engine
        .attach(call.name(), &AttachQuery::read(&call.query))
        .await?;
    Ok(hijack::answer(
        call.request,
        tty,
        call.version,
        Process::Attached(socket),
    ))
}

/// Before this version a WebSocket was connected to all three streams.
const WEBSOCKET_STREAMS: ApiVersion = ApiVersion::new(1, 42);

async fn attach_websocket(call: Call) -> Result<Answer, Failure> {
    let handshake = Handshake::read(call.request.headers())?;
    let mut query = AttachQuery::read(&call.query);
    if call.version < WEBSOCKET_STREAMS {
        (query.stdin, query.stdout, query.stderr) = (true, true, true);
    }
    let attachment = call.engine.attach(call.name(), &query).await?;
    websocket::answer(call.request, &handshake, call.version, attachment)
}
