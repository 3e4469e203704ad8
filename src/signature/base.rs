//! The signature base (RFC 9421 §2.5).

use super::component::Component;
use super::{Error, Message};

/// `serialised` is the value of `"@signature-params"`.
pub(super) fn build(message: &Message<'_>, components: &[Component], serialised: &str) -> Result<String, Error> {
    let mut base = String::with_capacity(512 + serialised.len());
    for component in components {
        base.push_str(&component.identifier);
        base.push_str(": ");
        base.push_str(&message.value(component)?);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(serialised);
    Ok(base)
}

/// The base with the values of fields that carry secrets replaced: safe to show and to log.
pub(super) fn redacted(base: &str) -> String {
    const SECRET: [&str; 3] = ["\"authorization\": ", "\"cookie\": ", "\"proxy-authorization\": "];
    let mut out = String::with_capacity(base.len());
    for line in base.split_inclusive('\n') {
        match SECRET.into_iter().find(|name| line.starts_with(name)) {
            Some(name) => {
                out.push_str(name);
                out.push_str("[redacted]\n");
            }
            None => out.push_str(line),
        }
    }
    out
}
