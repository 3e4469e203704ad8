//! The contract's §4: what a signature must cover, carry and be no older than.

use std::ops::ControlFlow;

use http::{HeaderName, Method};
use sfv::BareItemFromInput;

use super::component::{Component, Name};
use super::digest::CONTENT_DIGEST;
use super::idempotency_key::IDEMPOTENCY_KEY;
use super::input::{Input, inputs, joined, signatures};
use super::{Algorithm, Candidate, Error, Evidence, Message, base};

/// Greatest age of `created`, seconds.
pub const MAX_AGE: i64 = 300;
/// Greatest lead of `created` over our clock, seconds.
pub const MAX_SKEW: i64 = 30;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// Most bytes of a request's signature bases together: one over all that a header list holds, or eight usual ones. They
/// travel to the side that holds the keys in the header list of another request.
const MAX_BASES: usize = 24 * 1024;

/// What this request's signature must cover besides method and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `content-digest`: the request has a body.
    pub digest: bool,
    /// `idempotency-key`: the request modifies.
    pub idempotency_key: bool,
}

impl Policy {
    /// The contract's rule.
    #[must_use]
    pub fn for_request(method: &Method, has_body: bool) -> Self {
        Self { digest: has_body, idempotency_key: !method.is_safe() }
    }
}

/// Checks everything about the request's signatures that needs no key, at Unix second `now`.
///
/// At least one signature must pass; those that do are the evidence. If none does, the error is that of the signature
/// that got furthest (the first of equals).
///
/// # Errors
/// [`Error::Missing`], [`Error::Malformed`] (either header, or bases that are too long together), then per signature and in this order: its bytes,
/// [`Error::Component`] (unsupported), [`Error::Coverage`], [`Error::Parameter`], [`Error::Algorithm`] (unknown name),
/// [`Error::Expired`] or [`Error::NotYetValid`], [`Error::Component`] (absent from the request).
pub fn check(message: &Message<'_>, policy: Policy, now: i64) -> Result<Evidence, Error> {
    let input_text = joined(message.headers(), &SIGNATURE_INPUT).ok_or(Error::Missing("Signature-Input"))?;
    let signature_text = joined(message.headers(), &SIGNATURE).ok_or(Error::Missing("Signature"))?;
    let inputs = inputs(&input_text)?;
    let mut signatures = signatures(&signature_text)?;
    let mut furthest = (0, Error::Missing("Signature-Input"));
    let mut candidates = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let bytes =
            signatures.iter_mut().find(|(label, _)| *label == input.label).map(|(_, bytes)| std::mem::take(bytes));
        match one(message, policy, now, (input, bytes)) {
            Ok(candidate) => candidates.push(candidate),
            Err((stage, error)) if stage > furthest.0 => furthest = (stage, error),
            Err(_) => {}
        }
    }
    if candidates.is_empty() {
        return Err(furthest.1);
    }
    if candidates.iter().map(|candidate| candidate.base.len()).sum::<usize>() > MAX_BASES {
        return Err(Error::Malformed(format!("the signatures cover more than {MAX_BASES} bytes together")));
    }
    Ok(Evidence { candidates })
}

type Staged<T> = Result<T, (u8, Error)>;

fn one(
    message: &Message<'_>,
    policy: Policy,
    now: i64,
    (input, bytes): (&Input<'_>, Option<Vec<u8>>),
) -> Staged<Candidate> {
    let at = |stage: u8| move |error: Error| (stage, error);
    let signature = bytes
        .ok_or_else(|| {
            Error::Malformed(format!("Signature has no member for the label {:?} of Signature-Input", input.label))
        })
        .map_err(at(1))?;
    let components: Vec<Component> = input
        .components
        .iter()
        .map(|(name, params)| Component::new(name, params))
        .collect::<Result<_, _>>()
        .map_err(at(2))?;
    covers(message, policy, (input.label, &components)).map_err(at(3))?;
    let params = Params::read(input).map_err(at(4))?;
    let (Some(created), Some(key_id)) = (params.created, params.key_id) else {
        let parameter = if params.created.is_none() { "created" } else { "keyid" };
        return Err((4, Error::Parameter { label: input.label.to_owned(), parameter }));
    };
    let alg = params.alg.as_deref().map(algorithm).transpose().map_err(at(5))?;
    window(now, created, params.expires).map_err(at(6))?;
    let base = base::build(message, &components, &input.serialised()).map_err(at(7))?;
    let (expires, nonce) = (params.expires, params.nonce);
    Ok(Candidate { label: input.label.to_owned(), key_id, alg, base, signature, created, expires, nonce })
}

fn algorithm(name: &str) -> Result<Algorithm, Error> {
    Algorithm::from_name(name).ok_or_else(|| {
        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
        Error::Algorithm(format!("{name:?} is not accepted; use one of {known}, or leave alg away"))
    })
}

/// Whether `now` lies in the signature's life. Also asked by the side that holds the keys, whose clock may differ.
pub(super) fn window(now: i64, created: i64, expires: Option<i64>) -> Result<(), Error> {
    let ahead = created.saturating_sub(now);
    if ahead > MAX_SKEW {
        return Err(Error::NotYetValid(format!(
            "created is {ahead} s in the future, at most {MAX_SKEW} s are allowed"
        )));
    }
    if ahead < -MAX_AGE {
        return Err(Error::Expired(format!(
            "created is {} s ago, at most {MAX_AGE} s are allowed",
            ahead.saturating_neg()
        )));
    }
    match expires {
        Some(expires) if expires < now => {
            Err(Error::Expired(format!("expires was {} s ago", now.saturating_sub(expires))))
        }
        Some(expires) if expires < created => Err(Error::Expired("expires lies before created".to_owned())),
        _ => Ok(()),
    }
}

fn covers(message: &Message<'_>, policy: Policy, (label, components): (&str, &[Component])) -> Result<(), Error> {
    let has = |name: &Name| components.iter().any(|component| component.name == *name);
    let has_field = |field: HeaderName| has(&Name::Field(field));
    let mut missing = Vec::new();
    if !has(&Name::Method) {
        missing.push("\"@method\"");
    }
    if !has(&Name::TargetUri) {
        match (has(&Name::Authority), has(&Name::Path)) {
            (false, false) => {
                missing.push("\"@target-uri\" (or \"@authority\" with \"@path\" and, if there is a query, \"@query\")")
            }
            (false, true) => missing.push("\"@authority\""),
            (true, false) => missing.push("\"@path\""),
            (true, true) => {}
        }
        if (has(&Name::Authority) || has(&Name::Path)) && message.query().is_some() && !has(&Name::Query) {
            missing.push("\"@query\"");
        }
    }
    if policy.digest && !has_field(CONTENT_DIGEST) {
        missing.push("\"content-digest\"");
    }
    if policy.idempotency_key && !has_field(IDEMPOTENCY_KEY) {
        missing.push("\"idempotency-key\"");
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::Coverage { label: label.to_owned(), missing: missing.join(", ") })
    }
}

/// The parameters with a meaning here. Others stay in the base and mean nothing.
#[derive(Default)]
struct Params {
    created: Option<i64>,
    expires: Option<i64>,
    key_id: Option<String>,
    alg: Option<String>,
    nonce: Option<String>,
}

impl Params {
    fn read(input: &Input<'_>) -> Result<Self, Error> {
        let mut out = Self::default();
        for (key, value) in &input.params {
            let read = match key.as_str() {
                "created" => integer(value, &mut out.created),
                "expires" => integer(value, &mut out.expires),
                "keyid" => string(value, &mut out.key_id),
                "alg" => string(value, &mut out.alg),
                "nonce" => string(value, &mut out.nonce),
                _ => ControlFlow::Continue(()),
            };
            if let ControlFlow::Break(wanted) = read {
                return Err(Error::Malformed(format!(
                    "the parameter {key:?} of {:?} must be {wanted}",
                    input.label,
                    key = key.as_str()
                )));
            }
        }
        Ok(out)
    }
}

/// Key ids and nonces are stored and compared; nobody's are longer.
const MAX_STRING: usize = 512;

fn integer(value: &BareItemFromInput<'_>, out: &mut Option<i64>) -> ControlFlow<&'static str> {
    *out = value.as_integer().map(i64::from);
    if out.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break("an integer, Unix seconds") }
}

fn string(value: &BareItemFromInput<'_>, out: &mut Option<String>) -> ControlFlow<&'static str> {
    *out = value
        .as_string()
        .map(|text| text.as_str().to_owned())
        .filter(|text| !text.is_empty() && text.len() <= MAX_STRING);
    if out.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break("a quoted string of 1 to 512 characters") }
}
