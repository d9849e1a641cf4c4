//! Images of the local store.

use http::StatusCode;
use http::header::HeaderValue;
use serde_json::Value;
use wharf_engine::{Engine, ImportRequest};
use wharf_wire::{ImageCreateQuery, ImageListQuery, ImageRemoveQuery, ImageSummary, Progress};

use crate::answer::{self, Answer, Failure, empty, json_stream, line, typed};
use crate::body::{Body, BodyWriter, LateError, written};
use crate::call::{Call, blocking};
use crate::router::{Route, route};
use crate::version::ApiVersion;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/images/json" since (1, 24) => list),
    route!(GET "/images/get" since (1, 24) => save_many),
    route!(POST "/images/load" since (1, 24) => load),
    route!(POST "/images/create" since (1, 24) => create),
    route!(GET "/images/{name...}/json" since (1, 24) => inspect),
    route!(GET "/images/{name...}/history" since (1, 24) => history),
    route!(GET "/images/{name...}/get" since (1, 24) => save_one),
    route!(POST "/images/{name...}/tag" since (1, 24) => tag),
    route!(DELETE "/images/{name...}" since (1, 24) => remove),
];

/// The size had a second name before this version.
const ONE_SIZE: ApiVersion = ApiVersion::new(1, 44);

/// An image's configuration had all members of a container's before this version.
const OWN_CONFIG: ApiVersion = ApiVersion::new(1, 50);

/// Images without a name were listed as `<none>` before this version.
const NO_NONE: ApiVersion = ApiVersion::new(1, 43);

async fn list(call: Call) -> Result<Answer, Failure> {
    let mut images = call.engine.images(&ImageListQuery::read(&call.query)?)?;
    for image in &mut images {
        as_of(image, call.version);
    }
    Ok(answer::json(&images))
}

/// Writes an image as clients of a version know it.
fn as_of(image: &mut ImageSummary, version: ApiVersion) {
    if version < ONE_SIZE {
        image.virtual_size = image.size;
    }
    if version < NO_NONE && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        image.repo_tags.push("<none>:<none>".to_owned());
        image.repo_digests.push("<none>@<none>".to_owned());
    }
}

async fn inspect(call: Call) -> Result<Answer, Failure> {
    call.refuse(&["platform"])?;
    let mut image = call.engine.image_inspect(call.name())?;
    if call.version < ONE_SIZE {
        image.virtual_size = image.size;
    }
    if call.version >= OWN_CONFIG {
        return Ok(answer::json(&image));
    }
    let mut document = serde_json::to_value(&image).unwrap_or_default();
    add_container_settings(&mut document);
    Ok(answer::json(&document))
}

/// Adds what an image's configuration had when it was a container's configuration, all of it at zero.
fn add_container_settings(image: &mut Value) {
    let Some(config) = image.get_mut("Config").and_then(Value::as_object_mut) else {
        return;
    };
    let texts = ["Hostname", "Domainname", "User", "Image", "WorkingDir"];
    let flags = [
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
    ];
    let lists = ["Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels"];
    let zeros = texts.into_iter().zip(std::iter::repeat(Value::from("")));
    let zeros = zeros.chain(flags.into_iter().zip(std::iter::repeat(Value::from(false))));
    for (name, zero) in zeros.chain(lists.into_iter().zip(std::iter::repeat(Value::Null))) {
        config.entry(name).or_insert(zero);
    }
}

async fn history(call: Call) -> Result<Answer, Failure> {
    call.refuse(&["platform"])?;
    let history = blocking("read an image's history", move || {
        Ok(call.engine.image_history(call.name())?)
    })
    .await?;
    Ok(answer::json(&history))
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
    call.refuse(&["platforms"])?;
    let query = ImageRemoveQuery::read(&call.query);
    let removed = blocking("remove an image", move || {
        Ok(call.engine.image_remove(call.name(), query)?)
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
    call.refuse(&["platform"])?;
    let work = written("save images", LateError::Cut, move |writer| {
        Ok(call.engine.image_save(&names, writer)?)
    });
    Ok(typed(
        StatusCode::OK,
        HeaderValue::from_static("application/x-tar"),
        work.await?,
    ))
}

async fn load(call: Call) -> Result<Answer, Failure> {
    call.refuse(&["platform"])?;
    let (engine, quiet) = (call.engine.clone(), call.query.flag("quiet"));
    let archive = call.into_reader();
    let work = written("load images", LateError::Told, move |writer| {
        Ok(engine.image_load(archive, quiet, |progress| tell(writer, &progress))?)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn older_clients_see_a_containers_settings_in_an_image() {
        let mut image = json!({"Id": "x", "Config": {"Cmd": ["sh"], "User": "me"}});
        add_container_settings(&mut image);
        let expected = json!({"Id": "x", "Config": {
            "Cmd": ["sh"], "User": "me", "Hostname": "", "Domainname": "", "Image": "", "WorkingDir": "",
            "AttachStdin": false, "AttachStdout": false, "AttachStderr": false, "Tty": false, "OpenStdin": false,
            "StdinOnce": false, "Env": null, "Volumes": null, "Entrypoint": null, "OnBuild": null, "Labels": null,
        }});
        assert_eq!(image, expected);
    }

    #[test]
    fn older_clients_see_images_as_they_were() {
        let image = ImageSummary {
            size: 7,
            ..Default::default()
        };
        for (minor, virtual_size, tags) in [(51, 0, 0), (44, 0, 0), (43, 7, 0), (42, 7, 1)] {
            let mut seen = image.clone();
            as_of(&mut seen, ApiVersion::new(1, minor));
            assert_eq!(
                (seen.virtual_size, seen.repo_tags.len()),
                (virtual_size, tags),
                "1.{minor}"
            );
        }
    }
}
