//! Keys that are rotated while two nodes serve.

use serde_json::{Value, json};

use super::key_file;
use crate::process::{Place, in_processes, stderr, stdout};
use crate::support::Partner;

in_processes![the_command_rotates_each_key_and_tells_of_it];

/// `customerd keys rotate`; what it printed.
pub(super) fn rotate(place: &Place, arguments: &[&str]) -> Value {
    let done = place.run(&[&["keys", "rotate"], arguments].concat());
    assert!(done.status.success(), "{}", stderr(&done));
    serde_json::from_str(&stdout(&done)).unwrap()
}

/// Whether a node lets this token in, over REST.
async fn lets_in(partner: &Partner) -> bool {
    partner.get("/v1/customers").attempt().await.unwrap().status == 200
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn kids(partner: &Partner) -> Vec<String> {
    let jwks = partner.get("/.well-known/jwks.json").bare().await.is(200).json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["kty"] == "OKP" && key.get("k").is_none() && key.get("d").is_none()), "{jwks}");
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_rotates_under_two_nodes_that_serve() {
    let Some(first) = Place::postgres().await else { return };
    let second = first.beside();
    let (node, other) = (first.serve(&[]), second.serve(&[]));
    let mut here = first.partner().await;
    let mut there = Partner { http: second.http, ..first.partner().await };
    let customer = here.customer("u-1").await;
    let link = customer["verificationUrl"].as_str().unwrap().rsplit_once("/verify/").unwrap().1.to_owned();

    // Tokens: the new key signs within a second or two; a token of it passes everywhere at once; the old one's still pass.
    let old = here.token.clone();
    let made = rotate(&first, &["jwt"]);
    while kid(&here.token) != made["kid"] {
        here.sign_in().await;
    }
    there.token = here.token.clone();
    assert!(lets_in(&there).await, "the other node reads the keyring again");
    there.token = old.clone();
    assert!(lets_in(&there).await);
    // A key that was lost is cut off.
    rotate(&first, &["jwt", "--overlap", "0s"]);
    here.token = old;
    for partner in [&here, &there] {
        while lets_in(partner).await {
            tokio::task::yield_now().await;
        }
    }

    // Webhooks: both public halves are published.
    let before = kids(&there).await;
    let made = rotate(&first, &["webhook"]);
    while kids(&there).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kids(&there).await, [made["kid"].as_str().unwrap(), &before[0]]);

    // Links: those that were sent still open.
    rotate(&first, &["links"]);
    here.sign_in().await;
    let path = format!("/v1/customers/{}/verification", customer["id"].as_str().unwrap());
    while here.get(&path).await.is(200).json()["verificationUrl"].as_str().unwrap().ends_with(&link) {
        tokio::task::yield_now().await;
    }
    here.get(&format!("/verify/{link}")).bare().await.is(200);

    // Everything is sealed again while both nodes serve; then the old key may go.
    let hook = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    here.put("/v1/webhooks", &hook).key("9b3c2d1e-0000-4000-8000-0000000000b1").await.is(200);
    let done = rotate(&first, &["encryption"]);
    assert!(done["sealed"].as_u64().unwrap() > 4 && done["unused"].as_array().unwrap().len() == 1, "{done}");
    let again = here.put("/v1/webhooks", &hook).key("9b3c2d1e-0000-4000-8000-0000000000b1").await.is(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    there.token = here.token.clone();
    there.customer("u-2").await;
    assert_eq!((node.stop(), other.stop()), (Some(0), Some(0)));
    let path = key_file(&first);
    let text = std::fs::read_to_string(&path).unwrap();
    let keys: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(keys.len(), 2);
    std::fs::write(&path, keys[0]).unwrap();
    let node = first.serve(&[]);
    let again = here.put("/v1/webhooks", &hook).key("9b3c2d1e-0000-4000-8000-0000000000b1").await.is(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    // The key that nothing needs any more opens nothing.
    assert_eq!(node.stop(), Some(0));
    std::fs::write(&path, keys[1]).unwrap();
    let refused = first.run(&["serve"]);
    assert!(stderr(&refused).contains("which is not in"), "{}", stderr(&refused));
}

/// The keys of a purpose as they are listed: id and state.
fn listed(place: &Place, purpose: &str) -> Vec<(String, String)> {
    let keys = stdout(&place.run(&["keys", "list"]));
    let keys = keys.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    keys.filter(|key| key["purpose"] == purpose).map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
}

async fn the_command_rotates_each_key_and_tells_of_it(place: Place) {
    let server = place.serve(&[]);
    let state = |kid: &Value, state: &str| (kid.as_str().unwrap().to_owned(), state.to_owned());
    for purpose in ["jwt", "webhook", "links", "fingerprint", "cursor"] {
        let before = listed(&place, purpose);
        let made = rotate(&place, &[purpose]);
        assert_eq!(made["purpose"], purpose);
        assert!(made["earlierVerifyUntil"].is_string(), "{made}");
        let old = state(&before[0].0.as_str().into(), "verifies");
        assert_eq!((before.len(), listed(&place, purpose)), (1, vec![state(&made["kid"], "signs"), old]));
        // One that was lost is gone at once, and those before it.
        let made = rotate(&place, &[purpose, "--overlap", "0s"]);
        assert_eq!(listed(&place, purpose), [state(&made["kid"], "signs")]);
    }
    let before = listed(&place, "encryption");
    let made = rotate(&place, &["encryption"]);
    assert_eq!((before.len(), &made["unused"]), (1, &json!([before[0].0])));
    let old = state(&before[0].0.as_str().into(), "opens");
    assert_eq!(listed(&place, "encryption"), [state(&made["kid"], "seals"), old]);
    for (wrong, code, said) in [
        (&["encryption", "--overlap", "1h"][..], 1, "--overlap"),
        (&["checkpoint"][..], 2, "possible values: jwt, webhook, links, fingerprint, cursor, encryption"),
    ] {
        let refused = place.run(&[&["keys", "rotate"], wrong].concat());
        assert_eq!(refused.status.code(), Some(code), "{wrong:?}");
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
    let acts = stdout(&place.run(&["audit", "acts"]));
    let acts = acts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut rotations: Vec<_> =
        acts.filter(|act| act["act"] == "key.rotate").map(|act| act["targetId"].clone()).collect();
    rotations.reverse();
    let twice = ["jwt", "webhook", "links", "fingerprint", "cursor"].iter().flat_map(|purpose| [*purpose; 2]);
    assert_eq!(json!(rotations), json!(twice.chain(["encryption"]).collect::<Vec<_>>()));
    assert_eq!(server.stop(), Some(0));
}
