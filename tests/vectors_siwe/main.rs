//! EIP-4361's vectors (SpruceID). The service never parses a sign-in text: it compares bytes. The grammar lives here, to
//! show that what it issues is EIP-4361 and that what wallets sign verifies. `eip1271.json` holds signatures of contract
//! wallets, which need a call to their chain: they are read to show that they are refused.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on fails; a skipped one says so")]

mod message;
mod uri;

use customerd::domain::Timestamp;
use customerd::domain::chain::ChainAccount;
use customerd::domain::challenge::{Challenge, Issuer, ProofError, verify};
use message::Message;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The cases of a file, none where the vectors are not at hand.
fn cases(file: &str) -> Map<String, Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/siwe").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no EIP-4361 vectors at {}", path.display());
        return Map::new();
    };
    let cases: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    cases
}

/// Whether every member of `expected` is what was read; `null` means absent.
fn same(message: &Message, expected: &Value, name: &str) {
    let found = message.fields();
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(found.get(field).unwrap_or(&Value::Null), value, "{name}: {field}");
    }
}

#[test]
fn characters() {
    for file in ["grammar/valid_chars.json", "grammar/invalid_chars.json"] {
        for (name, case) in cases(file) {
            let (rule, input) = (case["rule"].as_str().unwrap(), case["input"].as_str().unwrap());
            assert_eq!(Value::from(uri::matches(rule, input)), case["answer"], "{name}: {rule} {input:?}");
        }
    }
}

#[test]
fn uris() {
    for (name, case) in cases("grammar/valid_uris.json") {
        let text = case["msg"].as_str().unwrap();
        let message = Message::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
        let parts = uri::parse(&message.uri).unwrap();
        for (part, value) in case["uri"].as_object().unwrap() {
            let value = value.as_u64().map(|port| port.to_string()).or(value.as_str().map(str::to_owned));
            assert_eq!(parts.get(part), value.as_deref(), "{name}: {part}");
        }
    }
    for file in ["grammar/invalid_uris.json", "grammar/invalid_resources.json"] {
        for (name, text) in cases(file) {
            assert!(Message::parse(text.as_str().unwrap()).is_err(), "{name}");
        }
    }
    for (name, case) in cases("grammar/valid_resources.json") {
        let message = Message::parse(case["msg"].as_str().unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(message.fields()["resources"], case["resources"], "{name}");
    }
}

#[test]
fn optional_parts() {
    for (name, case) in cases("grammar/valid_specification.json") {
        let message = Message::parse(case["msg"].as_str().unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"));
        same(&message, &case["items"], &name);
    }
}

#[test]
fn parsing() {
    for file in ["parsing/parsing_positive.json", "parsing/parsing_warnings.json"] {
        for (name, case) in cases(file) {
            let text = case["message"].as_str().unwrap();
            let message = Message::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            same(&message, &case["fields"], &name);
            assert_eq!(message::write(&case["fields"]), text, "{name}");
        }
    }
    for (name, text) in cases("parsing/parsing_negative.json") {
        assert!(Message::parse(text.as_str().unwrap()).is_err(), "{name}");
    }
}

#[test]
fn objects() {
    for (name, object) in cases("objects/parsing_negative_objects.json") {
        // This one is in lower case: a warning, not an error, in the other files and in the contract.
        if name != "address not EIP-55" || object["address"].as_str().unwrap().bytes().any(|c| c.is_ascii_uppercase()) {
            assert!(Message::parse(&message::write(&object)).is_err(), "{name}");
        }
    }
    for (name, case) in cases("objects/message_objects.json") {
        let outcome = Message::parse(&message::write(&case["msg"]));
        assert_eq!(outcome.is_ok(), case["error"] == "none", "{name}: {outcome:?}");
    }
}

/// The whole of what a service does with a text and its signature: the bytes, who signed them, and what it expected.
fn accepted(case: &Value) -> Result<(), String> {
    let text = message::write(case);
    let message = Message::parse(&text)?;
    let account = format!("eip155:{}:{}", case["chainId"], case["address"].as_str().unwrap());
    let account = account.parse::<ChainAccount>().map_err(|e| e.to_string())?;
    verify(&account, text.as_bytes(), case["signature"].as_str().unwrap()).map_err(|e| e.to_string())?;
    let now = case["time"].as_str().unwrap_or("2026-11-22T00:00:00Z").parse::<Timestamp>().unwrap();
    let at = |field: &str| case[field].as_str().map(|text| text.parse::<Timestamp>().unwrap());
    if at("expirationTime").is_some_and(|end| end <= now) || at("notBefore").is_some_and(|start| start > now) {
        return Err("not now".to_owned());
    }
    let expected = |field: &str, found: &str| case[field].as_str().is_none_or(|wanted| wanted == found);
    if !expected("domainBinding", &message.domain) || !expected("matchNonce", &message.nonce) {
        return Err("another text".to_owned());
    }
    Ok(())
}

#[test]
fn verification() {
    for (name, case) in cases("verification/verification_positive.json") {
        assert_eq!(accepted(&case), Ok(()), "{name}");
    }
    for (name, case) in cases("verification/verification_negative.json") {
        assert!(accepted(&case).is_err(), "{name}");
    }
}

#[test]
fn contract_wallets_are_refused() {
    for (name, case) in cases("verification/eip1271.json") {
        let text = case["message"].as_str().unwrap();
        let account = format!("eip155:1:{}", text.lines().nth(1).unwrap());
        let account = account.parse::<ChainAccount>().unwrap();
        let outcome = verify(&account, text.as_bytes(), case["signature"].as_str().unwrap());
        // Argent's has the length of a key's signature, Loopring's a byte more.
        let malformed = matches!(outcome, Err(ProofError::Malformed(_)));
        assert!(outcome.is_err() && malformed == (name == "loopring"), "{name}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn what_is_issued_is_eip_4361(
        address in any::<[u8; 20]>(), nonce in "[A-Za-z0-9]{16,24}", statement in "[ -~]{1,60}", seconds in 0..4_000_000_000i64,
        host in "[a-z][a-z0-9-]{0,10}(\\.[a-z]{2,5})?(:[1-9][0-9]{1,3})?", many in 0..3usize,
    ) {
        let statement: String = statement.chars().filter(|c| !"\"%<>\\^`{|}".contains(*c)).collect();
        prop_assume!(!statement.is_empty());
        let account = format!("eip155:8453:0x{}", hex::encode(address)).parse::<ChainAccount>().unwrap();
        let issuer = Issuer::parse(&format!("https://{host}")).unwrap();
        let resources = &["https://example.com/a?b=c%20d", "urn:uuid:1"][..many.min(2)];
        let issued = Timestamp::from_unix_seconds(seconds);
        let challenge = Challenge { issuer: &issuer, account, statement: &statement, nonce: &nonce, issued, resources };
        let text = challenge.text().unwrap();
        let message = Message::parse(&text);
        prop_assert!(message.is_ok(), "{}: {:?}", text, message);
        let message = message.unwrap();
        prop_assert_eq!((&message.domain, &message.nonce, message.statement.as_deref()), (&host, &nonce, Some(&*statement)));
        prop_assert_eq!(message::write(&Value::Object(message.fields())), text);
    }
}
