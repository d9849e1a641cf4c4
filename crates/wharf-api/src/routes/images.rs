//! Images of the local store.

use http::StatusCode;
use http::header::HeaderValue;
use wharf_engine::{ImportRequest, PullRequest, PushRequest};
use wharf_types::{Digest, Reference, ReferenceError};
use wharf_wire::{
    AuthConfig, Filters, ImageCreateQuery, ImageListQuery, ImagePushQuery, ImageRemoveQuery,
    ImageSearchQuery, Progress,
};

use crate::answer::{self, Answer, Failure, empty, json_stream, line, typed};
use crate::body::{Body, BodyWriter, LateError, told, written};
use crate::call::{Call, blocking};
use crate::dialect;
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/images/json" since (1, 24) => list),
    route!(GET "/images/get" since (1, 24) => save_many),
    route!(POST "/images/load" since (1, 24) => load),
    route!(POST "/images/create" since (1, 24) => create),
    route!(POST "/images/prune" since (1, 25) => prune),
    route!(GET "/images/search" since (1, 24) => search),
    route!(POST "/images/{name...}/push" since (1, 24) => push),
    route!(GET "/distribution/{name...}/json" since (1, 30) => distribution),
    route!(POST "/auth" since (1, 24) => login),
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
        _ => pull(call, query).await?,
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

async fn pull(call: Call, query: ImageCreateQuery) -> Result<Body, Failure> {
    // A name may have its tag in it; older clients send it so.
    let named: Reference = query.from_image.parse().map_err(invalid_reference)?;
    let tag = query.tag.as_str();
    let all_tags = tag.is_empty() && named.tag().is_none() && named.digest().is_none();
    let name = match tag {
        "" => named,
        digest if digest.contains(':') => {
            let digest = digest.parse::<Digest>();
            named.with_digest(digest.map_err(|error| Failure::invalid(error.to_string()))?)
        }
        tag => named.with_tag(tag).map_err(invalid_reference)?,
    };
    let request = PullRequest {
        name,
        all_tags,
        platform: query.platform,
        auth: auth(&call),
    };
    let engine = call.engine;
    told("pull an image", move |progress| async move {
        Ok(engine.image_pull(request, progress).await?)
    })
    .await
}

async fn push(call: Call) -> Result<Answer, Failure> {
    let query = ImagePushQuery::read(&call.query);
    let name: Reference = call.name().parse().map_err(invalid_reference)?;
    let name = match query.tag.as_str() {
        "" => name,
        tag => name.with_tag(tag).map_err(invalid_reference)?,
    };
    let request = PushRequest {
        name,
        platform: query.platform,
        auth: auth(&call),
    };
    let engine = call.engine;
    let body = told("push an image", move |progress| async move {
        Ok(engine.image_push(request, progress).await?)
    });
    Ok(json_stream(body.await?))
}

async fn search(call: Call) -> Result<Answer, Failure> {
    let query = ImageSearchQuery::read(&call.query)?;
    let auth = auth(&call);
    let found = call.engine.image_search(&query, &auth).await?;
    Ok(answer::json(&found))
}

async fn distribution(call: Call) -> Result<Answer, Failure> {
    let auth = auth(&call);
    let found = call.engine.distribution(call.name(), &auth).await?;
    Ok(answer::json(&found))
}

async fn login(mut call: Call) -> Result<Answer, Failure> {
    let auth: AuthConfig = call.document().await?;
    let result = call.engine.login(&auth).await?;
    Ok(answer::json(&result))
}

fn invalid_reference(error: ReferenceError) -> Failure {
    Failure::invalid(error.to_string())
}

/// Reads who asks, for the registry. What cannot be read is nobody, as with Docker: clients send all kinds
/// of nothing.
fn auth(call: &Call) -> AuthConfig {
    let header = call.request.headers().get(wharf_wire::AUTH_HEADER);
    let text = header.and_then(|value| value.to_str().ok());
    let auth = text.map(AuthConfig::from_header);
    if matches!(auth, Some(None)) {
        tracing::debug!("the header X-Registry-Auth cannot be read");
    }
    auth.flatten().unwrap_or_default()
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
