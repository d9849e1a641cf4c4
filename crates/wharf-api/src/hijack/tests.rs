use super::*;

fn head_text(upgrade: bool, tty: bool, version: ApiVersion) -> String {
    String::from_utf8(head(upgrade, tty, version)).expect("a head is text")
}

#[test]
fn heads_are_as_dockerd_writes_them() {
    let newest = ApiVersion::NEWEST;
    let tail = format!(
        "Api-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Wharf/{} (linux)\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let upgraded = |kind: &str| {
        format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.{kind}-stream\r\nConnection: Upgrade\r\n\
             Upgrade: tcp\r\n{tail}"
        )
    };
    let raw =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n{tail}");
    assert_eq!(head_text(true, false, newest), upgraded("multiplexed"));
    assert_eq!(head_text(true, true, newest), upgraded("raw"));
    assert_eq!(
        head_text(true, false, ApiVersion::new(1, 41)),
        upgraded("raw")
    );
    assert_eq!(head_text(false, false, newest), raw);
}

/// A process's end of an attachment, and the client's end of its connection, joined.
fn joined() -> (
    UnixStream,
    UnixStream,
    tokio::task::JoinHandle<io::Result<()>>,
) {
    let (near, client) = UnixStream::pair().expect("a pair");
    let (attachment, process) = UnixStream::pair().expect("a pair");
    let joining = tokio::spawn(join(
        Client::from(near),
        Process::Attached(attachment),
        std::future::pending(),
    ));
    (client, process, joining)
}

#[tokio::test]
async fn the_end_of_input_is_not_the_end_of_output() {
    let (mut client, mut process, joining) = joined();
    client.write_all(b"question").await.expect("writes");
    client.shutdown().await.expect("ends its input");
    let mut heard = String::new();
    process
        .read_to_string(&mut heard)
        .await
        .expect("hears the end");
    assert_eq!(heard, "question");
    process.write_all(b"answer").await.expect("writes");
    drop(process);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("reads");
    assert_eq!(answer, "answer");
    joining.await.expect("joins").expect("ends well");
}

#[tokio::test]
async fn the_end_of_output_is_the_end() {
    let (mut client, process, joining) = joined();
    drop(process);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("reads");
    assert_eq!(rest, b"");
    joining.await.expect("joins").expect("ends well");
}

#[tokio::test]
async fn much_goes_through_both_ways() {
    const LENGTH: usize = 3_000_000;
    let (client, process, joining) = joined();
    let (mut from, mut to) = client.into_split();
    let sending = tokio::spawn(async move {
        to.write_all(&vec![7; LENGTH]).await.expect("writes");
        to.shutdown().await.expect("ends");
    });
    let echoing = tokio::spawn(async move {
        let (mut from, mut to) = process.into_split();
        tokio::io::copy(&mut from, &mut to).await.expect("echoes");
    });
    let mut back = Vec::new();
    from.read_to_end(&mut back).await.expect("reads");
    assert!(back.len() == LENGTH && back.iter().all(|byte| *byte == 7));
    sending.await.expect("sends");
    echoing.await.expect("echoes");
    joining.await.expect("joins").expect("ends well");
}

#[tokio::test]
async fn a_failed_exec_says_why() {
    let (near, mut client) = UnixStream::pair().expect("a pair");
    let failed = Process::Failed(b"no such program\r\n".to_vec());
    join(Client::from(near), failed, std::future::pending())
        .await
        .expect("joins");
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("reads");
    assert_eq!(text, "no such program\r\n");
}

#[tokio::test]
async fn a_silent_process_does_not_keep_a_client_that_left() {
    let (near, client) = UnixStream::pair().expect("a pair");
    let (attachment, mut process) = UnixStream::pair().expect("a pair");
    let near = Client::from(near);
    let joining = tokio::spawn(async move {
        let gone = near.clone();
        join(near, Process::Attached(attachment), gone.hung_up()).await
    });
    drop(client);
    joining.await.expect("joins").expect("ends well");
    let mut rest = Vec::new();
    process
        .read_to_end(&mut rest)
        .await
        .expect("the process sees the end too");
}
