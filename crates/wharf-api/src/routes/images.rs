//! Images of the local store.

use http::StatusCode;
use http::header::HeaderValue;
use wharf_engine::{Engine, ImportRequest};
use wharf_wire::{Filters, ImageCreateQuery, ImageListQuery, ImageRemoveQuery, Progress};

use crate::answer::{self, Answer, Failure, empty, json_stream, line, typed};
use crate::body::{Body, BodyWriter, LateError, written};
use crate::call::{Call, blocking};
use crate::dialect;
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/images/json" since (1, 24) => list),
    route!(GET "/images/get" since (1, 24) => save_many),
    route!(POST "/images/load" since (1, 24) => load),
    route!(POST "/images/create" since (1, 24) => create),
    route!(POST "/images/prune" since (1, 25) => prune),
    route!(GET "/images/{name...}/json" since (1, 24) => inspect),
    route!(GET "/images/{name...}/history" since (1, 24) => history),
    route!(GET "/images/{name...}/attestations" since (1, 51) => attestations),
    route!(GET "/images/{name...}/get" since (1, 24) => save_one),
    route!(POST "/images/{name...}/tag" since (1, 24) => tag),
    route!(DELETE "/images/{name...}" since (1, 24) => remove),
];

async fn list(call: Call) -> Result<Answer, Failure> {
    let mut query = ImageListQuery::read(&call.query)?;
    dialect::image_list_query(call.version, &mut query, call.query.non_empty("filter"));
    let mut images = call.engine.images(&query)?;
    for image in &mut images {
        dialect::image_summary(call.version, image);
    }
    Ok(answer::json(&images))
}

/// The platforms that are asked for, each a document; empty ones ask for nothing.
fn platforms(call: &Call, parameter: &str) -> Vec<String> {
    let mut platforms = call.query.all(parameter);
    platforms.retain(|platform| !platform.is_empty());
    platforms
}

async fn prune(call: Call) -> Result<Answer, Failure> {
    let filters = Filters::parse(call.query.get("filters").unwrap_or_default())
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let pruned = blocking("prune images", move || {
        Ok(call.engine.image_prune(&filters)?)
    })
    .await?;
    Ok(answer::json(&pruned))
}

async fn inspect(call: Call) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platform");
    let image = call.engine.image_inspect(call.name(), &platforms)?;
    let mut document = serde_json::to_value(&image).unwrap_or_default();
    dialect::image(call.version, &mut document);
    Ok(answer::json(&document))
}

async fn history(call: Call) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platform");
    let history = blocking("read an image's history", move || {
        Ok(call.engine.image_history(call.name(), &platforms)?)
    })
    .await?;
    Ok(answer::json(&history))
}

/// Statements about how an image was made. The store keeps none beside its images.
async fn attestations(call: Call) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platform");
    if platforms.len() > 1 {
        return Err(Failure::invalid("only one platform can be asked for"));
    }
    call.engine.image_inspect(call.name(), &platforms)?;
    Ok(answer::json(&[(); 0]))
}

async fn tag(call: Call) -> Result<Answer, Failure> {
    let work = move || {
        let (repo, tag) = (call.query.text("repo"), call.query.text("tag"));
        Ok(call.engine.image_tag(call.name(), &repo, &tag)?)
    };
    blocking("tag an image", work).await?;
    Ok(empty(StatusCode::CREATED))
}

async fn remove(call: Call) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platforms");
    let query = ImageRemoveQuery::read(&call.query);
    let removed = blocking("remove an image", move || {
        Ok(call.engine.image_remove(call.name(), query, &platforms)?)
    })
    .await?;
    Ok(answer::json(&removed))
}

async fn save_many(call: Call) -> Result<Answer, Failure> {
    let names = call.query.all("names");
    save(call, names).await
}

async fn save_one(call: Call) -> Result<Answer, Failure> {
    let names = vec![call.name().to_owned()];
    save(call, names).await
}

async fn save(call: Call, names: Vec<String>) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platform");
    let work = written("save images", LateError::Cut, move |writer| {
        Ok(call.engine.image_save(&names, &platforms, writer)?)
    });
    Ok(typed(
        StatusCode::OK,
        HeaderValue::from_static("application/x-tar"),
        work.await?,
    ))
}

async fn load(call: Call) -> Result<Answer, Failure> {
    let platforms = platforms(&call, "platform");
    let (engine, quiet) = (call.engine.clone(), call.query.flag("quiet"));
    let archive = call.into_reader();
    let work = written("load images", LateError::Told, move |writer| {
        let progress = |progress| tell(writer, &progress);
        Ok(engine.image_load(archive, quiet, &platforms, progress)?)
    });
    Ok(json_stream(work.await?))
}

/// One route for what comes from a registry and for what comes as a root file system.
async fn create(call: Call) -> Result<Answer, Failure> {
    let query = ImageCreateQuery::read(&call.query);
    let body = match (query.from_image.as_str(), query.from_src.as_str()) {
        ("", "-") => import(call, query).await?,
        ("", "") => return Err(Failure::invalid("either fromImage or fromSrc is required")),
        ("", source) => {
            let message = format!(
                "importing from {source} is not supported: send the archive with the request"
            );
            return Err(Failure::not_implemented(message));
        }
        _ => pull(call.engine, query).await?,
    };
    Ok(json_stream(body))
}

async fn import(call: Call, query: ImageCreateQuery) -> Result<Body, Failure> {
    let engine = call.engine.clone();
    let archive = call.into_reader();
    let ImageCreateQuery {
        repo,
        tag,
        message,
        changes,
        platform,
        ..
    } = query;
    let request = ImportRequest {
        repo,
        tag,
        message,
        changes,
        platform,
    };
    written("import an image", LateError::Told, move |writer| {
        Ok(engine.image_import(archive, &request, |progress| tell(writer, &progress))?)
    })
    .await
}

async fn pull(engine: Engine, query: ImageCreateQuery) -> Result<Body, Failure> {
    Call::refuse_foreign_platform(&query.platform)?;
    let name = match query.tag.as_str() {
        "" => query.from_image,
        digest if digest.contains(':') => format!("{}@{digest}", query.from_image),
        tag => format!("{}:{tag}", query.from_image),
    };
    written("pull an image", LateError::Told, move |writer| {
        Ok(engine.image_pull_builtin(&name, |progress| tell(writer, &progress))?)
    })
    .await
}

/// Sends a line of progress. The work goes on when nobody listens: it is wanted all the same.
fn tell(writer: &BodyWriter, progress: &Progress) {
    let sent = line(progress)
        .map_err(std::io::Error::other)
        .and_then(|line| writer.send(line));
    if let Err(error) = sent {
        tracing::debug!(%error, "nobody listens to the progress");
    }
}
