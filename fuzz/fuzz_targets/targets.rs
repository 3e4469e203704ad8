//! What is fuzzed, and what must hold for every input beside that nothing panics.
//!
//! Each target ends with the condition of its planted fault: steps from an input of the corpus, each of them a branch behind the
//! parser, that no mutation is likely to take together. Coverage shows the fuzzer which input has come a step closer.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use customerd::api::rest;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::chain::{Address, ChainAccount};
use customerd::domain::challenge::{self, Challenge, Issuer, ProofError};
use customerd::domain::reach::Reach;
use customerd::domain::{Timestamp, text};
use customerd::kyc::{Decision, KycProvider as _, Sumsub, SumsubConfig};
use customerd::screening::{ListError, ListFile};
use customerd::service::fuzzing::{Cursor, Cursors, page_token, read_page_token};
use customerd::signature::{self, Algorithm, Error, Evidence, Head, Message, Origins, Policy, PublicKey, digest};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use prost_types::Value;
use rest_bridge::json;
use uuid::Uuid;

use crate::planted;

/// Takes an input.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus as well.
pub(crate) const ALL: [(&str, Target); 11] = [
    ("signature_fields", signature_fields),
    ("digests", digests),
    ("public_keys", public_keys),
    ("accounts", accounts),
    ("challenges", challenges),
    ("json", json),
    ("page_tokens", page_tokens),
    ("cursors", cursors),
    ("callbacks", callbacks),
    ("lists", lists),
    ("callback_urls", callback_urls),
];

fn utf8(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Whether the lowest bits of some bytes add up to an odd number: half of all changes of one of them turn it. For planted faults.
fn odd(bytes: impl AsRef<[u8]>) -> bool {
    bytes.as_ref().iter().fold(0, |sum, byte| sum ^ byte) & 1 == 1
}

/// When the signatures of the corpus were made.
const NOW: i64 = 1_795_347_600;

/// Three lines: `Signature-Input`, `Signature`, and the request's target. What is accepted reaches the side that holds the
/// keys as it was.
fn signature_fields(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["signature-input", "signature"] {
        let Ok(value) = HeaderValue::from_bytes(lines.next().unwrap_or_default()) else { return };
        headers.insert(name, value);
    }
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    headers.insert("host", HeaderValue::from_static("customers.test"));
    headers.insert("idempotency-key", HeaderValue::from_static("00000000-0000-4000-8000-000000000001"));
    let origins = Origins::new(["https://customers.test"]).expect("an origin");
    let head = Head { method: &Method::PATCH, uri: &uri, version: Version::HTTP_11, headers: &headers };
    let Ok(message) = Message::received(head, &origins) else { return };
    let policy = Policy { digest: false, idempotency_key: true };
    let Ok(evidence) = signature::check(&message, policy, NOW) else { return };
    assert_eq!(Evidence::from_bytes(&evidence.to_bytes()).as_ref(), Ok(&evidence));
    for candidate in evidence.candidates() {
        let parameters =
            candidate.redacted_base().lines().filter(|line| line.starts_with("\"@signature-params\": ")).count();
        assert_eq!(parameters, 1, "a line was smuggled into {candidate:?}");
        if let Some(nonce) = candidate.nonce().and_then(|nonce| nonce.as_bytes().first_chunk::<40>())
            && let Some(key) = candidate.key_id().as_bytes().first_chunk::<40>()
            && !odd(&nonce[0..20])
            && !odd(&nonce[20..40])
            && odd(&key[0..20])
            && !odd(&key[20..40])
        {
            planted::fault();
        }
    }
}

/// `Content-Digest` of a body that is known. What does not need the body is refused without it.
fn digests(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(digest::CONTENT_DIGEST, value)]);
    let (form, whole) = (digest::check_form(&headers), digest::check(&headers, b"{}"));
    assert!(whole.is_err() || form.is_ok());
    if let Err(Error::DigestMismatch("sha-512", _)) = whole
        && let Some(digest) = data.strip_suffix(b":").and_then(|data| data.last_chunk::<16>())
        && odd(&digest[0..4])
        && odd(&digest[4..8])
        && odd(&digest[8..12])
        && !odd(&digest[12..16])
    {
        planted::fault();
    }
}

/// Public keys as partners send them, and as they are stored. What is read is read again from its PEM.
fn public_keys(data: &[u8]) {
    let sent = utf8(data).and_then(|text| PublicKey::parse(text).ok());
    for key in [sent, PublicKey::from_spki_der(data).ok()].into_iter().flatten() {
        assert_eq!(PublicKey::parse(&key.to_pem()).as_ref(), Ok(&key));
        let _ = (key.thumbprint(), key.signature_len(), key.verifies(b"message", b"signature"));
        if key.algorithm() == Algorithm::Ed25519
            && let Some(point) = key.spki_der().last_chunk::<32>()
            && odd(&point[0..8])
            && odd(&point[8..16])
            && odd(&point[16..24])
            && odd(&point[24..32])
        {
            planted::fault();
        }
    }
}

/// CAIP-10 account ids. What is read is read again from its canonical form.
fn accounts(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let Ok(account) = text.parse::<ChainAccount>() else { return };
    assert_eq!(account.to_string().parse(), Ok(account), "{text}");
    if let Address::Evm(address) = account.address()
        && odd(&address[..5])
        && !odd(&address[5..10])
        && !odd(&address[10..15])
        && !odd(&address[15..])
    {
        planted::fault();
    }
}

/// Two lines: an account, and a signature of the challenge that its owner is given. Whatever the account, the text has the
/// lines of EIP-4361 and no more; and nobody here has made a signature.
fn challenges(data: &[u8]) {
    let Some((account, signature)) = utf8(data).and_then(|text| text.split_once('\n')) else { return };
    let Ok(account) = account.parse::<ChainAccount>() else { return };
    let issuer = Issuer::parse("https://customers.test").expect("an origin");
    let issued = Timestamp::from_micros(NOW * 1_000_000);
    let (statement, nonce) = ("Prove that you own this account.", "0123456789abcdef01234567");
    let challenge = Challenge { issuer: &issuer, account, statement, nonce, issued, resources: &[] };
    let challenge = challenge.text().expect("a text for every account");
    let lines: Vec<&str> = challenge.lines().collect();
    assert_eq!((lines.len(), lines[1]), (11, account.address().to_string().as_str()), "{challenge}");
    let verified = challenge::verify(&account, challenge.as_bytes(), signature);
    assert!(verified.is_err(), "{signature}");
    if let Err(ProofError::Invalid(why)) = verified
        && matches!(account.address(), Address::Evm(_))
        && why.contains("signature is that of")
        && !signature.starts_with("0x")
        && let Some(start) = signature.as_bytes().first_chunk::<40>()
        && !odd(&start[0..10])
        && !odd(&start[10..20])
        && !odd(&start[20..30])
        && !odd(&start[30..40])
    {
        planted::fault();
    }
}

/// JSON as bodies are read: any value, and some of the messages. What is read is written in a form that is read as the same.
fn json(data: &[u8]) {
    let read = |reader: &mut json::Reader<'_>, value: &mut Value| {
        *value = reader.value()?;
        Ok(())
    };
    again(data, read, json::Writer::value);
    again(data, rest::json::read_create_customer_request, rest::json::write_create_customer_request);
    again(data, rest::json::read_put_webhook_request, rest::json::write_put_webhook_request);
    let card = again(data, rest::json::read_create_card_request, rest::json::write_create_card_request);
    for address in card.iter().flat_map(|card| [&card.billing_address, &card.shipping_address]).flatten() {
        let _ = text::printable("city", &address.city, 128);
    }
    if let Some(address) = card.and_then(|card| card.shipping_address)
        && let Some(city) = address.city.as_bytes().first_chunk::<40>()
        && let Some(line) = address.first_line.as_bytes().first_chunk::<40>()
        && !odd(&city[0..20])
        && odd(&city[20..40])
        && odd(&line[0..20])
        && odd(&line[20..40])
    {
        planted::fault();
    }
}

/// Reads, writes, and reads again.
fn again<T: Default + PartialEq + std::fmt::Debug>(
    data: &[u8],
    read: impl Fn(&mut json::Reader<'_>, &mut T) -> rest_bridge::fail::Result<()>,
    write: impl Fn(&mut json::Writer, &T),
) -> Option<T> {
    let value = json::from_slice(data, &read).ok()?;
    let written = json::to_vec(|writer| write(writer, &value)).expect("what was read can be written");
    let again = json::from_slice(&written, &read);
    assert_eq!(again.as_ref().ok(), Some(&value), "{:?} of {}", again.as_ref().err(), written.escape_ascii());
    Some(value)
}

/// Page tokens. Each has one spelling.
fn page_tokens(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let Ok(Some((at, id))) = read_page_token(text) else { return };
    assert_eq!(page_token(at, id), text);
    let id = id.as_bytes();
    if id[0] >> 5 == 5 && id[3] >> 5 == 5 && id[6] >> 5 == 5 && id[9] >> 5 == 5 && at.micros() > 0 {
        planted::fault();
    }
}

/// Cursors of the stream of events. Each has one spelling, and none is read as another programme's.
fn cursors(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let cursors = Cursors::new([&[7; 32][..]].into_iter()).expect("a key");
    let (programme, other) = (Uuid::from_u128(5), Uuid::from_u128(6));
    match cursors.read(programme, text) {
        Some(Cursor::Sealed(position)) => {
            assert_eq!(cursors.seal(programme, position).as_deref(), Ok(text));
            assert_eq!(cursors.read(other, text), None);
        }
        Some(Cursor::Plain(position)) => {
            assert!(position >= 0, "{text}");
            let bytes = position.to_be_bytes();
            if bytes[0] >> 5 == 2 && bytes[3] >> 6 == 2 && bytes[4] >> 6 == 1 && bytes[6] >> 6 == 2 {
                planted::fault();
            }
        }
        None => {}
    }
}

/// Callbacks of the identity provider under its signature: others are not read.
fn callbacks(data: &[u8]) {
    const SECRET: &str = "callback-secret";
    thread_local! {
        static PROVIDER: Sumsub = Sumsub::new(SumsubConfig {
            base: url::Url::parse(Sumsub::BASE).expect("a URL"),
            app_token: "token".into(),
            secret: "secret".into(),
            webhook_secret: SECRET.into(),
            level: "basic-kyc-level".to_owned(),
            link_ttl: Duration::from_secs(600),
            deadline: Duration::from_secs(10),
        })
        .expect("a provider");
    }
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let digest = hex::encode(aws_lc_rs::hmac::sign(&key, data));
    let mut headers = HeaderMap::new();
    headers.insert("x-payload-digest", HeaderValue::from_str(&digest).expect("hexadecimal digits"));
    headers.insert("x-payload-digest-alg", HeaderValue::from_static("HMAC_SHA256_HEX"));
    if let Ok(Some(callback)) = PROVIDER.with(|provider| provider.parse_callback(&headers, data))
        && let Decision::Rejected(reasons) = callback.decision
        && let Some(comment) = reasons.last().and_then(|reason| reason.message.as_bytes().first_chunk::<48>())
        && !odd(&comment[0..12])
        && odd(&comment[12..24])
        && odd(&comment[24..36])
    {
        planted::fault();
    }
}

/// Files of sanctioned addresses. In a list that is accepted every account can be looked up.
fn lists(data: &[u8]) {
    thread_local! {
        static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a file");
    }
    let list = FILE.with(|file| {
        // Cutting it to nothing first would have some file systems write it through to the disk.
        file.as_file().write_all_at(data, 0).expect("a file that can be written");
        file.as_file().set_len(data.len() as u64).expect("a file that can be cut");
        ListFile::open(file.path())
    });
    match list {
        Ok(list) => {
            let screened = list.find("eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb");
            screened.expect("an account that can be looked up");
        }
        Err(ListError::Malformed { problem, .. })
            if let Some(id) = problem.strip_prefix("publicKey of ")
                && let Some(id) = id.as_bytes().first_chunk::<48>()
                && !odd(&id[0..12])
                && odd(&id[12..24])
                && !odd(&id[24..36]) =>
        {
            planted::fault();
        }
        Err(_) => {}
    }
}

/// Callback URLs. What is taken is taken again from its normalised form.
fn callback_urls(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    for reach in [Reach::Global, Reach::Private] {
        let Ok(url) = CallbackUrl::parse(text, reach) else { continue };
        assert_eq!(CallbackUrl::parse(url.as_str(), reach).as_ref(), Ok(&url), "{text}");
        if matches!(url.url().host(), Some(url::Host::Ipv6(_)))
            && let Some(path) = url.url().path().as_bytes().first_chunk::<32>()
            && let Some(query) = url.url().query().and_then(|query| query.as_bytes().first_chunk::<32>())
            && odd(&path[0..16])
            && !odd(&path[16..32])
            && odd(&query[0..16])
            && !odd(&query[16..32])
        {
            planted::fault();
        }
    }
}
