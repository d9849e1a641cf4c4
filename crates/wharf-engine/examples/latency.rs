//! Prints what each step of a container's life takes: medians, back to back and 30 ms apart.
//!
//! `cargo run --profile ci -p wharf-engine --example latency -- ROOTFS.tar [ROUNDS]`, as root.
//! The example is its own shim, so that nothing else need be installed.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wharf_engine::{Config, Engine, ImportRequest};
use wharf_wire as wire;

const STEPS: [&str; 7] = [
    "create",
    "start",
    "to exit",
    "rm",
    "exec",
    "rm -f",
    "start idle",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    if arguments.nth(1).as_deref() == Some("shim") {
        return wharf_shim::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn measure() -> Result<(), Failure> {
    if std::env::var_os("LATENCY_TRACE").is_some() {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .init();
    }
    let mut arguments = std::env::args().skip(1);
    let archive = arguments
        .next()
        .ok_or("usage: latency ROOTFS.tar [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let directory = tempfile::Builder::new().prefix("wt-latency-").tempdir()?;
    let name = format!("wl{}", std::process::id());
    let config = Config {
        data_root: directory.path().join("data"),
        exec_root: directory.path().join("exec"),
        bridge: name.clone(),
        cgroup_parent: PathBuf::from("/").join(&name),
        ..Config::default()
    };
    let engine = Engine::open(config)?;
    let importer = engine.clone();
    tokio::task::spawn_blocking(move || {
        let request = ImportRequest {
            repo: "bench".to_owned(),
            ..ImportRequest::default()
        };
        importer.image_import(std::fs::File::open(archive)?, &request, |_| {})?;
        Ok::<_, Failure>(())
    })
    .await??;
    for pause in [Duration::ZERO, Duration::from_millis(30)] {
        let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
        for _ in 0..rounds {
            one_life(&engine, pause, &mut times).await?;
        }
        println!("{} ms apart:", pause.as_millis());
        for (step, mut times) in STEPS.iter().zip(times) {
            times.sort();
            let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
            println!(
                "  {step:<10} p50 {:6.2}  p90 {:6.2}  p99 {:6.2} ms",
                at(50),
                at(90),
                at(99)
            );
        }
    }
    engine.shutdown().await;
    Ok(())
}

async fn one_life(
    engine: &Engine,
    pause: Duration,
    times: &mut [Vec<Duration>; STEPS.len()],
) -> Result<(), Failure> {
    let clock = Instant::now();
    let id = engine
        .create(&wharf_wire::CreateQuery::default(), body(&["true"]), None)
        .await?
        .id;
    times[0].push(clock.elapsed());
    let ended = engine.wait(&id, wire::WaitCondition::NextExit)?;
    let clock = Instant::now();
    engine.start(&id).await?;
    times[1].push(clock.elapsed());
    ended.await;
    times[2].push(clock.elapsed());
    let clock = Instant::now();
    engine.remove(&id, wire::RemoveQuery::default()).await?;
    times[3].push(clock.elapsed());
    tokio::time::sleep(pause).await;

    let id = engine
        .create(
            &wharf_wire::CreateQuery::default(),
            body(&["sleep", "1000"]),
            None,
        )
        .await?
        .id;
    let clock = Instant::now();
    engine.start(&id).await?;
    times[6].push(clock.elapsed());
    tokio::time::sleep(pause).await;
    let exec = wire::ExecCreateBody {
        cmd: Some(vec!["true".to_owned()].into()),
        attach_stdout: true,
        ..Default::default()
    };
    let clock = Instant::now();
    let exec = engine.exec_create(&id, exec).await?.id;
    let attached = engine
        .exec_start(&exec, &wire::ExecStartBody::default())
        .await?;
    if let Some(mut attached) = attached {
        tokio::io::copy(&mut attached.socket, &mut tokio::io::sink()).await?;
    }
    times[4].push(clock.elapsed());
    tokio::time::sleep(pause).await;
    let clock = Instant::now();
    let force = wire::RemoveQuery {
        force: true,
        ..Default::default()
    };
    engine.remove(&id, force).await?;
    times[5].push(clock.elapsed());
    tokio::time::sleep(pause).await;
    Ok(())
}

fn body(command: &[&str]) -> wire::ContainerCreateBody {
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    wire::ContainerCreateBody {
        config: wire::ContainerConfig {
            image: "bench".to_owned(),
            cmd: Some(command.into()),
            ..Default::default()
        },
        ..Default::default()
    }
}
