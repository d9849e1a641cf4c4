//! A proxy that knows names: how tests reach servers by names no resolver has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::Server;

/// A running proxy. Dropped, it is gone.
pub(crate) struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Leads `name:port` to servers of the test's.
    pub(crate) async fn start(routes: &[(&str, &Server)]) -> Self {
        let routes: HashMap<String, u16> = routes
            .iter()
            .map(|(name, server)| ((*name).to_owned(), server.port()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let heads = Arc::new(Mutex::default());
        let noted = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            let mut tunnels = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let (routes, heads) = (routes.clone(), Arc::clone(&noted));
                tunnels.spawn(async move { drop(tunnel(stream, &routes, &heads).await) });
            }
        });
        Self {
            address,
            heads,
            task,
        }
    }

    /// Its address, with a user.
    pub(crate) fn address(&self) -> String {
        format!("http://proxy:pw@{}", self.address)
    }

    /// The heads of the requests that it was asked.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("heads").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(
    mut stream: TcpStream,
    routes: &HashMap<String, u16>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text");
    heads.lock().expect("heads").push(head.clone());
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next().expect("target"));
    let port = routes.get(target);
    let (Some("CONNECT"), Some(port)) = (method, port) else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    };
    let mut server = TcpStream::connect(("127.0.0.1", *port)).await?;
    stream
        .write_all(b"HTTP/1.1 200 Established\r\n\r\n")
        .await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}
