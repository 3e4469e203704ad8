//! Leaving in good order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use customerd::serve::Limits;
use http::StatusCode;
use tokio::net::TcpStream;

use super::house::{connect, h1, h2, open, patient, request, text, waiting};

/// Tries until the door is shut.
async fn refused(addr: SocketAddr) {
    while TcpStream::connect(addr).await.err().map(|error| error.kind()) != Some(ErrorKind::ConnectionRefused) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_in_flight_finish_and_new_ones_are_refused() {
    let (router, mut handlers) = waiting();
    let house = open(patient(), router, |it| it).await;
    let (mut one, mut two) = (h1(connect(house.addr).await).await, h2(connect(house.addr).await).await);
    let idle = connect(house.addr).await;
    let (one, two) =
        (tokio::spawn(one.send_request(request("/wait"))), tokio::spawn(two.send_request(request("/wait"))));
    let (first, second) = (handlers.recv().await.unwrap(), handlers.recv().await.unwrap());
    assert!(!house.shutdown.is_started());
    house.shutdown.start();
    refused(house.addr).await;
    assert!(!house.done.is_finished());
    first.send(()).unwrap();
    second.send(()).unwrap();
    for answer in [one.await.unwrap().unwrap(), two.await.unwrap().unwrap()] {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(text(answer).await, "finished");
    }
    assert_eq!(house.done.await.unwrap(), 0, "nothing was cut");
    drop(idle);
}

#[tokio::test]
async fn the_grace_period_ends() {
    let (router, mut handlers) = waiting();
    let limits = Limits { shutdown_grace: Duration::from_millis(20), ..patient() };
    let house = open(limits, router, |it| it).await;
    let mut client = h1(connect(house.addr).await).await;
    let answer = tokio::spawn(client.send_request(request("/wait")));
    let mut release = handlers.recv().await.unwrap();
    house.shutdown.start();
    assert_eq!(house.done.await.unwrap(), 1);
    assert!(answer.await.unwrap().is_err());
    release.closed().await;
}
