//! One probe: an exec whose output is kept, and whose time is limited.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use wharf_shim::protocol::Request;
use wharf_types::ExecId;
use wharf_wire as wire;
use wharf_wire::stdcopy::Decoder;

use super::Check;
use crate::attach::{attachment, pair};
use crate::container::Container;
use crate::error::Error;
use crate::exec::Exec;
use crate::inner::Inner;
use crate::inspect::nanoseconds;

/// Bytes of a probe's output that are kept; Docker keeps as many.
const OUTPUT_MAX: usize = 4096;

/// How long the exit code may come after the end of the output.
const CODE_TIME: Duration = Duration::from_secs(10);

/// What came of a probe.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// The command's exit code; -1 when there is none.
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Outcome {
    pub(crate) fn to_wire(&self) -> wire::HealthResult {
        wire::HealthResult {
            start: nanoseconds(self.start),
            end: nanoseconds(self.end),
            exit_code: self.code,
            output: self.output.clone(),
        }
    }
}

/// Output up to its bound.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

impl Output {
    fn add(&mut self, piece: &[u8]) {
        let room = OUTPUT_MAX - self.bytes.len();
        self.cut |= piece.len() > room;
        self.bytes
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.cut {
            format!("{text}...")
        } else {
            text.into_owned()
        }
    }
}

/// Probes a container once.
pub(super) async fn run(inner: &Arc<Inner>, container: &Arc<Container>, check: &Check) -> Outcome {
    let start = Timestamp::now();
    let (code, output) = match probe(inner, container, check).await {
        Ok(found) => found,
        Err(error) => (-1, error.to_string()),
    };
    Outcome {
        start,
        end: Timestamp::now(),
        code,
        output,
    }
}

async fn probe(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    check: &Check,
) -> Result<(i32, String), Error> {
    let body = wire::ExecCreateBody {
        attach_stdout: true,
        attach_stderr: true,
        cmd: Some(wire::Words(check.command.clone())),
        ..Default::default()
    };
    let id = inner.exec_create(container, body).await?.id;
    let id = id
        .parse()
        .map_err(|error| Error::internal("cannot probe", error))?;
    let mut exec = Forgotten {
        inner,
        container,
        id,
        ended: true,
    };
    let (ours, theirs) = pair()?;
    inner
        .exec_run(
            &id.to_string(),
            &wire::ExecStartBody::default(),
            Some(theirs.into()),
        )
        .await?;
    exec.ended = false;
    let mut output = Output::default();
    let mut socket = attachment(ours, false)?.socket;
    // The time counts from here: what the start took is not the command's doing.
    let read = tokio::time::timeout(check.timeout, read(&mut socket, &mut output)).await;
    if read.is_err() {
        let mut text = format!("Health check exceeded timeout ({})", go_text(check.timeout));
        if !output.bytes.is_empty() {
            text = format!("{text}: {}", output.text());
        }
        return Ok((-1, text));
    }
    exec.ended = true;
    let code = tokio::time::timeout(CODE_TIME, exec_code(container, id)).await;
    Ok((code.unwrap_or(-1), output.text()))
}

/// Waits for the exit code of a process whose output has ended.
async fn exec_code(container: &Container, id: ExecId) -> i32 {
    let mut changes = container.watch();
    loop {
        // The status is not borrowed meanwhile: others take the two in the other order.
        changes.mark_unchanged();
        let code = container.live().execs.get(&id).and_then(Exec::code);
        if let Some(code) = code {
            return code;
        }
        if changes.changed().await.is_err() {
            return -1;
        }
    }
}

async fn read(socket: &mut UnixStream, output: &mut Output) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 4096];
    // The connection ends with the process, also when that is by force.
    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
        let mut rest = &buffer[..length];
        while let Ok(Some((_, piece))) = decoder.next(&mut rest) {
            output.add(piece);
        }
    }
}

/// Takes a probe's process out of the container's list when it is done with, and kills it if it
/// still runs: nobody asks for it any more.
struct Forgotten<'a> {
    inner: &'a Arc<Inner>,
    container: &'a Arc<Container>,
    id: ExecId,
    ended: bool,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.container.live().execs.remove(&self.id);
        if self.ended {
            return;
        }
        let (inner, container) = (Arc::clone(self.inner), Arc::clone(self.container));
        let kill = Request::KillExec(self.id);
        tokio::spawn(async move {
            if let Err(error) = inner.ask(&container, kill).await {
                tracing::debug!(container.id = %container.id(), %error, "a probe is not killed");
            }
        });
    }
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `20ms`.
fn go_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let fraction = |unit: u128| {
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        let digits = format!("{rest:0width$}", width = unit.ilog10() as usize);
        let digits = digits.trim_end_matches('0');
        if rest == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{digits}")
        }
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = duration - Duration::from_secs(minutes * 60);
            let digits = format!("{:09}", seconds.subsec_nanos());
            let digits = digits.trim_end_matches('0');
            let point = if digits.is_empty() { "" } else { "." };
            let seconds = format!("{}{point}{digits}s", seconds.as_secs());
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_has_a_bound() {
        let mut output = Output::default();
        output.add(&[b'a'; 4000]);
        output.add(&[b'b'; 96]);
        assert_eq!(output.text().len(), 4096);
        output.add(b"c");
        assert_eq!(output.text().len(), 4099);
        assert!(output.text().ends_with("b..."));
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (duration, expected) in [
            (Duration::from_secs(30), "30s"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_millis(20), "20ms"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::from_millis(60_500), "1m0.5s"),
        ] {
            assert_eq!(go_text(duration), expected);
        }
    }
}
