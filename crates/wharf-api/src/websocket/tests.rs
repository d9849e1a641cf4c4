use tokio::net::UnixStream;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A client's frame with a mask of zeros.
fn masked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(kind, payload, &mut bytes);
    bytes[1] |= 0x80;
    bytes.splice(2..2, [0; 4]);
    bytes
}

/// A conversation: its two far ends.
fn begin(tty: bool) -> (UnixStream, UnixStream) {
    let (client, near) = UnixStream::pair().expect("a pair");
    let (process, socket) = UnixStream::pair().expect("a pair");
    let attachment = Attachment { tty, socket };
    tokio::spawn(async move {
        let talk = converse(near, attachment, Kind::Binary, std::future::pending());
        if let Err(error) = talk.await {
            panic!("{error}");
        }
    });
    (client, process)
}

async fn expect(stream: &mut UnixStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    let reading = tokio::time::timeout(LONG, stream.read_exact(&mut found));
    reading.await.expect("in time").expect("all of it");
    assert_eq!(found, expected);
}

#[tokio::test]
async fn both_outputs_are_messages_and_messages_are_input() {
    let (mut client, mut process) = begin(false);
    client
        .write_all(&masked(Kind::Text, b"in"))
        .await
        .expect("writes");
    expect(&mut process, b"in").await;
    let mut framed = Vec::new();
    stdcopy::encode(stdcopy::Stream::Stdout, b"out", &mut framed);
    stdcopy::encode(stdcopy::Stream::Stderr, b"err", &mut framed);
    process.write_all(&framed).await.expect("writes");
    expect(&mut client, b"\x82\x03out\x82\x03err").await;
    client
        .write_all(&masked(Kind::Ping, b"?"))
        .await
        .expect("writes");
    expect(&mut client, b"\x8a\x01?").await;
    client
        .write_all(&masked(Kind::Close, b"\x03\xe8"))
        .await
        .expect("writes");
    expect(&mut client, b"\x88\x02\x03\xe8").await;
    assert_eq!(process.read(&mut [0; 8]).await.expect("reads"), 0);
}

#[tokio::test]
async fn the_end_of_the_process_is_told() {
    let (mut client, mut process) = begin(true);
    process.write_all(b"bye").await.expect("writes");
    drop(process);
    expect(&mut client, b"\x82\x03bye\x88\x02\x03\xe8").await;
}

#[tokio::test]
async fn attack_n5_a_client_that_breaks_the_protocol_is_told_and_let_go() {
    let (mut client, mut process) = begin(true);
    client
        .write_all(&[0x81, 0x01, b'x', 0, 0, 0, 0])
        .await
        .expect("writes");
    expect(&mut client, b"\x88\x02\x03\xea").await;
    assert_eq!(process.read(&mut [0; 8]).await.expect("reads"), 0);
}
