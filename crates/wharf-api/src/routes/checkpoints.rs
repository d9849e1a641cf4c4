//! Checkpoints: experimental in Docker, and refused here in its words.

use crate::answer::{Answer, Failure};
use crate::call::Call;
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/containers/{id}/checkpoints" since (1, 25) => refuse),
    route!(POST "/containers/{id}/checkpoints" since (1, 25) => refuse),
    route!(DELETE "/containers/{id}/checkpoints/{checkpoint}" since (1, 25) => refuse),
];

async fn refuse(call: Call) -> Result<Answer, Failure> {
    let (method, path) = (call.request.method(), call.request.uri().path());
    Err(Failure::not_implemented(format!(
        "{method} {path} is only supported on a Docker daemon with experimental features enabled"
    )))
}
