//! SIGKILL in the middle of mixed load: what was acknowledged is there, nothing is there twice, no key is stuck.
//!
//! `CUSTOMERD_CRASH_RUNS` says how often (5 when absent; 200 for the full figure).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::sync::Notify;

use crate::process::{Place, in_processes, stderr};
use crate::support::{Answer, Partner, account};

in_processes![a_killed_server_loses_and_doubles_nothing];

/// Callers at once.
const CALLERS: usize = 8;

/// One creation: its name, its key, and the answer, if there was one before the end.
struct Attempt {
    name: String,
    key: String,
    answer: Option<Answer>,
}

/// How often to kill.
pub fn runs() -> usize {
    std::env::var("CUSTOMERD_CRASH_RUNS").map_or(5, |runs| runs.parse().unwrap())
}

/// Counts acknowledgements, and says when there are enough.
pub struct Enough {
    acknowledged: AtomicUsize,
    wanted: usize,
    pub reached: Notify,
}

impl Enough {
    pub fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self { acknowledged: AtomicUsize::new(0), wanted, reached: Notify::new() })
    }

    pub fn count(&self) {
        if self.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted {
            self.reached.notify_one();
        }
    }
}

async fn a_killed_server_loses_and_doubles_nothing(place: Place) {
    let runs = runs();
    let mut names = BTreeSet::new();
    let (mut acknowledged, mut unanswered) = (0, 0);
    for run in 0..runs {
        let server = place.serve(&[]);
        let partner = Arc::new(place.partner().await);
        // From "at once" to "well under way", the same in every execution.
        let wanted = 1 + run * 7 % 40;
        let enough = Enough::new(wanted);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::spawn(load(Arc::clone(&partner), format!("{run}-{caller}"), Arc::clone(&enough))))
            .collect();
        enough.reached.notified().await;
        server.kill();
        let mut attempts = Vec::new();
        for caller in callers {
            attempts.extend(caller.await.unwrap());
        }

        if (run + 1) % 20 == 0 {
            eprintln!("{} of {runs} kills", run + 1);
        }
        let _server = place.serve(&[]);
        let partner = place.partner().await;
        for attempt in &attempts {
            let again = create(&partner, attempt).await.expect("the new server answers").is(201);
            if let Some(answer) = &attempt.answer {
                assert_eq!(
                    (&again.body, again.header("idempotent-replayed")),
                    (&answer.body, Some("true")),
                    "{}",
                    attempt.name
                );
                acknowledged += 1;
            } else {
                unanswered += 1;
            }
            assert!(names.insert(attempt.name.clone()));
        }
    }
    let _server = place.serve(&[]);
    let partner = place.partner().await;
    let listed = all(&partner).await;
    assert_eq!(listed.len(), names.len(), "nothing is there twice");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
    drop(_server);
    let audit = place.run(&["verify-audit"]);
    assert!(audit.status.success(), "{}", stderr(&audit));
    eprintln!("{runs} kills: {acknowledged} creations acknowledged before, {unanswered} in flight");
}

/// Creates and reads until the server is gone; every attempt to create.
async fn load(partner: Arc<Partner>, caller: String, enough: Arc<Enough>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for number in 0_u32.. {
        let name = format!("{caller}-{number}");
        let key = uuid::Uuid::from_slice(&sha2::Sha256::digest(&name)[..16]).unwrap().to_string();
        let mut attempt = Attempt { name, key, answer: None };
        attempt.answer = create(&partner, &attempt).await;
        let Some(answer) = attempt.answer.clone() else {
            attempts.push(attempt);
            break;
        };
        let id = answer.is(201).json()["id"].as_str().unwrap().to_owned();
        attempts.push(attempt);
        enough.count();
        let read = match number % 3 {
            0 => partner.get(&format!("/v1/customers/{id}")).attempt().await,
            1 => partner.get("/v1/customers?pageSize=5").attempt().await,
            // The lost answer's retry, while the server still lives.
            _ => create(&partner, attempts.last().unwrap())
                .await
                .map(|again| again.is(201))
                .map(|again| Answer { status: 200, ..again }),
        };
        match read {
            Some(answer) => answer.is(200),
            None => break,
        };
    }
    attempts
}

/// `None` when the connection ended before the answer did.
async fn create(partner: &Partner, attempt: &Attempt) -> Option<Answer> {
    let body = json!({"chainId": account(&attempt.name), "externalId": attempt.name});
    partner.post("/v1/customers", &body).key(&attempt.key).attempt().await
}

/// The external id of every customer.
async fn all(partner: &Partner) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = partner.get(&format!("/v1/customers?pageSize=1000&pageToken={token}")).await.is(200).json();
        let customers = page["customers"].as_array().unwrap().iter();
        names.extend(customers.map(|customer| customer["externalId"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].as_str().map(str::to_owned).filter(|token| !token.is_empty()).unwrap_or_default();
        if token.is_empty() || page["nextPageToken"] == Value::Null {
            return names;
        }
    }
}
