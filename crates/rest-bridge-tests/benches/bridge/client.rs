//! A keep-alive HTTP/1.1 client that does as little as possible, so that the servers are what is measured.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A GET with path and query parameters.
pub(crate) fn get() -> Vec<u8> {
    b"GET /v1/echo/0190163d-8694-739b-aea5-966c26f8ad91?title=The+Left+Hand&pages=320&reads=9007199254740993&rating=4.25&lent=true HTTP/1.1\r\n\
host: 127.0.0.1\r\nuser-agent: bench/1.0\r\naccept: */*\r\n\r\n"
        .to_vec()
}

/// A POST with the whole message.
pub(crate) fn post() -> Vec<u8> {
    let body = r#"{"id":"0190163d-8694-739b-aea5-966c26f8ad91","title":"The Left Hand of Darkness","pages":320,"reads":"9007199254740993","rating":4.25,"lent":true,"tags":["classic","science fiction","first edition"],"place":{"street":"12 Long Lane","city":"Norwich","floor":2}}"#;
    format!(
        "POST /v1/echo HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench/1.0\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one response into `buffer`: the whole text of it.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server closed");
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(buffer));
        let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if buffer.len() == head + 4 + length.parse::<usize>().unwrap() {
            return;
        }
    }
}

/// One request, for its answer.
pub(crate) async fn once(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = Vec::new();
    stream.write_all(request).await.unwrap();
    answer(&mut stream, &mut buffer).await;
    String::from_utf8(buffer).unwrap()
}

/// `requests` in all, one after the other on each connection.
pub(crate) async fn run(address: SocketAddr, request: &[u8], connections: usize, requests: usize) {
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let request = request.to_vec();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = Vec::with_capacity(4096);
                for _ in 0..requests / connections {
                    stream.write_all(&request).await.unwrap();
                    answer(&mut stream, &mut buffer).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
