//! `@query-param` (RFC 9421 §2.2.8).

/// The value of the one parameter called `name` (in its percent-encoded form), percent-encoded anew.
pub(super) fn parameter(query: &str, name: &str) -> Result<String, &'static str> {
    let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| encode(key) == name);
    let (_, value) = found.next().ok_or("the query has no such parameter")?;
    if found.next().is_some() {
        return Err("the parameter occurs more than once: cover \"@query\" instead");
    }
    Ok(encode(&value))
}

/// Percent-encodes with the URL standard's application/x-www-form-urlencoded set, a space as %20.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
        }
    }
    out
}
