//! Volumes.

use http::StatusCode;
use wharf_wire::{VolumeCreateBody, VolumesQuery};

use crate::answer::{Answer, Failure, empty, json, json_with};
use crate::call::{Call, blocking};
use crate::router::{Route, route};
use crate::version::ApiVersion;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/volumes" since (1, 24) => list),
    route!(GET "/volumes/{name}" since (1, 24) => inspect),
    route!(POST "/volumes/create" since (1, 24) => create),
    route!(POST "/volumes/prune" since (1, 25) => prune),
    route!(DELETE "/volumes/{name}" since (1, 24) => remove),
];

async fn list(call: Call) -> Result<Answer, Failure> {
    Ok(json(
        &call.engine.volumes(&VolumesQuery::read(&call.query)?)?,
    ))
}

async fn inspect(call: Call) -> Result<Answer, Failure> {
    Ok(json(&call.engine.volume_inspect(call.name())?))
}

async fn create(mut call: Call) -> Result<Answer, Failure> {
    let body: VolumeCreateBody = call.document().await?;
    let volume = blocking("make a volume", move || {
        Ok(call.engine.volume_create(body)?)
    })
    .await?;
    Ok(json_with(StatusCode::CREATED, &volume))
}

async fn prune(call: Call) -> Result<Answer, Failure> {
    let mut query = VolumesQuery::read(&call.query)?;
    // Before there were volumes without a name to tell apart, all went.
    if call.version < ApiVersion::new(1, 42) && !query.filters.contains("all") {
        query.filters.add("all", "true");
    }
    let pruned = blocking("remove unused volumes", move || {
        Ok(call.engine.volume_prune(&query)?)
    });
    Ok(json(&pruned.await?))
}

async fn remove(call: Call) -> Result<Answer, Failure> {
    let force = call.query.flag("force");
    blocking("remove a volume", move || {
        Ok(call.engine.volume_remove(call.name(), force)?)
    })
    .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
