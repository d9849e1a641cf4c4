//! One container from create to remove.

use wharf_engine::ErrorKind;
use wharf_wire as wire;

use crate::support::{House, body, output, run, wait};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_leaves_nothing() {
    let house = House::new();
    let engine = house.open_with_image().await;
    let id = run(
        &engine,
        body(&["sh", "-c", "echo out; echo err >&2; exit 3"]),
    )
    .await;
    assert_eq!(wait(&engine, &id).await, 3);
    assert_eq!(
        output(&engine, &id).await,
        ("out\n".to_owned(), "err\n".to_owned())
    );
    let inspect = engine.inspect(&id, false).expect("inspect");
    assert_eq!(inspect.state.status, "exited");
    engine
        .remove(&id, wire::RemoveQuery::default())
        .await
        .expect("remove");
    let error = engine.inspect(&id, false).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    engine.shutdown().await;
}
