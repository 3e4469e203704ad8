//! A proxy that puts a distance between the service and its database.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The database of a URL, each round trip so much longer. Runs as long as the bench.
pub async fn away(url: &str, by: Duration) -> String {
    let (scheme, rest) = url.split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(forward(client, server, by));
        }
    });
    format!("{scheme}@{address}/{database}")
}

/// What the client sends waits; what the server answers does not.
async fn forward(client: TcpStream, server: TcpStream, by: Duration) {
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            tokio::time::sleep(by).await;
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! { () = there => {}, () = back => {} }
}
