//! Requests per second of the generated bridge, of a hand-written axum handler with serde (echoing by itself, and through
//! the same gRPC client), and of rest_over_grpc on the same proto: over loopback with several connections, in short alternating rounds of one process.
//!
//! `cargo bench -p rest-bridge-tests`; `ROUNDS` and `REQUESTS` (a round and server) in the environment change its length.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(missing_docs, reason = "generated code beside the benchmark")]

mod client;
mod servers;

/// Messages, client, server, pbjson's serde and the rival's routes.
#[allow(
    unused,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod echo {
    include!(concat!(env!("OUT_DIR"), "/bench.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/bench.v1.serde.rs"));
    include!(concat!(env!("OUT_DIR"), "/bench.v1.rest.rs"));
}

#[allow(unused_imports, unreachable_pub, reason = "generated code")]
mod bridge {
    include!(concat!(env!("OUT_DIR"), "/bench_rest.rs"));
}

#[allow(unused, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
mod rival {
    use super::bench;
    include!(concat!(env!("OUT_DIR"), "/transcoder.rest.rs"));
}

/// The module path that the rival's generated code expects.
mod bench {
    pub(crate) mod v1 {
        pub(crate) use crate::echo::*;
    }
}

use std::time::Instant;

const CONNECTIONS: usize = 16;
const NAMES: [&str; 4] = ["hand-written", "hand-written, gRPC", "rest_over_grpc", "rest-bridge"];

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// CPU time of all threads so far, client included, in seconds (Linux: the first field of schedstat, in ns).
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let times = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e9
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { setting("ROUNDS", 15) } else { 1 };
    let requests = setting("REQUESTS", if rounds == 1 { 160 } else { 16_000 });
    // One server alone (0 to 3), for a profile.
    let only: Option<usize> = std::env::var("ONLY").ok().and_then(|value| value.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let addresses = [
            servers::start(servers::hand_written()).await,
            servers::start(servers::hand_written_front()).await,
            servers::start(servers::rival()).await,
            servers::start(servers::bridge()).await,
        ];
        println!(
            "{CONNECTIONS} connections, {rounds} rounds of {requests} requests each; ratio: rest-bridge to the other"
        );
        println!("{:<6} {:<20} {:>12} {:>10} {:>8}", "", "", "requests/s", "CPU µs", "ratio");
        for (name, request) in [("GET", client::get()), ("POST", client::post())] {
            for (address, server) in addresses.iter().zip(NAMES) {
                let answer = client::once(*address, &request).await;
                assert!(answer.contains("\"reads\":\"9007199254740993\""), "{server}: {answer}");
                client::run(*address, &request, CONNECTIONS, requests / 4).await;
            }
            let mut speeds = [const { Vec::new() }; 4];
            let mut costs = [const { Vec::new() }; 4];
            for round in 0..rounds {
                for server in
                    (0..4).map(|turn| (turn + round) % 4).filter(|server| only.is_none_or(|only| only == *server))
                {
                    let (before, cpu_before) = (Instant::now(), cpu());
                    client::run(addresses[server], &request, CONNECTIONS, requests).await;
                    speeds[server].push(requests as f64 / before.elapsed().as_secs_f64());
                    costs[server].push((cpu() - cpu_before) * 1e6 / requests as f64);
                }
            }
            let ours = speeds[3].clone();
            for (server, label) in NAMES.iter().enumerate() {
                let ratios = ours.iter().zip(&speeds[server]).map(|(ours, theirs)| ours / theirs).collect();
                println!(
                    "{name:<6} {label:<20} {:>12.0} {:>10.1} {:>8.2}",
                    median(speeds[server].clone()),
                    median(costs[server].clone()),
                    median(ratios)
                );
            }
        }
    });
}
