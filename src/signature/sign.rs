//! Signing a request: the CLI, webhook deliveries, tests.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sfv::{BareItemFromInput, Integer, KeyRef, StringRef};

use super::component::{Component, Params};
use super::input::Input;
use super::{Algorithm, Error, Message, PrivateKey, base};

/// A signature parameter; they are written in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// Unix seconds.
    Created(i64),
    /// Unix seconds.
    Expires(i64),
    /// The key's id.
    KeyId(&'a str),
    /// The algorithm; optional, since the key fixes it.
    Alg(Algorithm),
    /// Unique per signature.
    Nonce(&'a str),
    /// The application's name for this kind of signature.
    Tag(&'a str),
    /// A string parameter that RFC 9421 does not define.
    Other(&'a str, &'a str),
}

/// What to sign and how to write it down.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The label, a structured-field key such as `sig`.
    pub label: &'a str,
    /// Component names such as `@method` or `content-digest`; a query parameter as `"@query-param";name="…"`.
    pub components: &'a [&'a str],
    /// The parameters in order.
    pub params: &'a [Param<'a>],
}

/// The two headers to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `Signature-Input`.
    pub signature_input: HeaderValue,
    /// `Signature`.
    pub signature: HeaderValue,
}

/// Signs `message` with `key`.
///
/// # Errors
/// [`Error::Component`] for a component that is unknown or absent, [`Error::Malformed`] for a label or a parameter that
/// cannot be written, [`Error::Invalid`] when the key cannot sign.
pub fn sign(message: &Message<'_>, key: &PrivateKey, recipe: &Recipe<'_>) -> Result<Signed, Error> {
    let malformed = |what: String| Error::Malformed(what);
    let label =
        KeyRef::from_str(recipe.label).map_err(|e| malformed(format!("label {:?}: {e}", recipe.label)))?.as_str();
    let quoted: Vec<String> = recipe.components.iter().map(|name| identifier(name)).collect();
    let text = format!("{label}=({})", quoted.join(" "));
    let mut inputs = super::input::inputs(text.as_bytes())?;
    let input = inputs.first_mut().ok_or_else(|| malformed("nothing to sign".to_owned()))?;
    input.params = recipe.params.iter().map(parameter).collect::<Result<Params<'_>, _>>()?;
    signed(message, key, input)
}

fn signed(message: &Message<'_>, key: &PrivateKey, input: &Input<'_>) -> Result<Signed, Error> {
    let components: Vec<Component> =
        input.components.iter().map(|(name, params)| Component::new(name, params)).collect::<Result<_, _>>()?;
    let serialised = input.serialised();
    let base = base::build(message, &components, &serialised)?;
    let signature = key.sign(base.as_bytes()).map_err(|e| Error::Invalid(e.to_string()))?;
    let header = |text: String| HeaderValue::from_str(&text).map_err(|e| Error::Malformed(e.to_string()));
    Ok(Signed {
        signature_input: header(format!("{}={serialised}", input.label))?,
        signature: header(format!("{}=:{}:", input.label, STANDARD.encode(signature)))?,
    })
}

fn identifier(name: &str) -> String {
    if name.starts_with('"') { name.to_owned() } else { format!("\"{name}\"") }
}

fn parameter<'a>(param: &Param<'a>) -> Result<(&'a KeyRef, BareItemFromInput<'a>), Error> {
    let (key, value) = match *param {
        Param::Created(at) => ("created", time(at)?),
        Param::Expires(at) => ("expires", time(at)?),
        Param::KeyId(id) => ("keyid", string(id)?),
        Param::Alg(algorithm) => ("alg", string(algorithm.name())?),
        Param::Nonce(nonce) => ("nonce", string(nonce)?),
        Param::Tag(tag) => ("tag", string(tag)?),
        Param::Other(key, value) => (key, string(value)?),
    };
    Ok((KeyRef::from_str(key).map_err(|e| Error::Malformed(format!("parameter {key:?}: {e}")))?, value))
}

fn time(at: i64) -> Result<BareItemFromInput<'static>, Error> {
    let at = Integer::try_from(at).map_err(|e| Error::Malformed(format!("time {at}: {e}")))?;
    Ok(BareItemFromInput::Integer(at))
}

fn string(text: &str) -> Result<BareItemFromInput<'_>, Error> {
    let text = StringRef::from_str(text).map_err(|e| Error::Malformed(format!("{text:?}: {e}")))?;
    Ok(BareItemFromInput::String(Cow::Borrowed(text)))
}
