//! A network for the tests: names answer what the test says, and every dialled address is written down.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use customerd::clock::Clock;
use customerd::domain::reach::Reach;
use customerd::outbound::{Answer, Client, Network, Options, Target};
use futures::future::{self, BoxFuture};
use tokio::net::TcpStream;

/// A name that no server ever answers for.
pub const SILENT: &str = "silent.example";

#[derive(Default)]
pub struct TestNetwork {
    /// Successive answers of a name; the last one stays. Every other name is 127.0.0.1, as by the worst of resolvers.
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    /// How often each name was asked for.
    asked: Mutex<HashMap<String, usize>>,
    dialled: Mutex<Vec<SocketAddr>>,
    /// Public addresses lead here; without it nobody answers there.
    public_leads_to: Option<SocketAddr>,
}

impl TestNetwork {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn name(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parsed = answers.iter().map(|answer| answer.iter().map(|it| it.parse().unwrap()).collect()).collect();
        self.answers.insert(name.to_owned(), parsed);
        self
    }

    pub fn public_leads_to(mut self, address: SocketAddr) -> Self {
        self.public_leads_to = Some(address);
        self
    }

    pub fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().unwrap().clone()
    }

    pub fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    fn answer(&self, name: &str) -> Vec<IpAddr> {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(name.to_owned()).or_default();
        *count += 1;
        match self.answers.get(name) {
            Some(answers) => answers[(*count - 1).min(answers.len() - 1)].clone(),
            None => vec![Ipv4Addr::LOCALHOST.into()],
        }
    }
}

impl Network for TestNetwork {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let answer = self.answer(name);
        if name == SILENT { Box::pin(future::pending()) } else { Box::pin(future::ready(Ok(answer))) }
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.dialled.lock().unwrap().push(address);
        let target = if address.ip().is_loopback() { Some(address) } else { self.public_leads_to };
        Box::pin(async move {
            match target {
                Some(target) => TcpStream::connect(target).await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// The contract's options on a test network.
pub fn options(network: &Arc<TestNetwork>) -> Options {
    let mut options = Options::new(Clock::system());
    options.network = Arc::clone(network) as Arc<dyn Network>;
    options
}

pub async fn post(client: &Client, url: &str, reach: Reach) -> Answer {
    match Target::new(url, reach) {
        Ok(target) => client.post(&target, http::HeaderMap::new(), bytes::Bytes::from_static(b"{}")).await,
        Err(error) => Answer { error: Some(error), ..Answer::default() },
    }
}
