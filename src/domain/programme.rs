//! The programme: one partner's tenant. Everything else is scoped to one.

use uuid::Uuid;

use super::error::{Error, Violation};

/// A programme as the caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programme {
    /// UUIDv7.
    pub id: Uuid,
    /// A name for people.
    pub name: String,
    /// Whether the simulator and private callback addresses are for it.
    pub sandbox: bool,
}

/// Checks new API credentials: the key a UUID, the secret at least 32 visible ASCII characters and at most 256.
///
/// # Errors
///
/// The violations of `apiKey` and `apiSecret`. The secret is never in them.
pub fn credentials(api_key: &str, api_secret: &str) -> Result<Uuid, Error> {
    let mut violations = Vec::new();
    let key = Uuid::try_parse(api_key).ok().filter(|key| !key.is_nil() && api_key.len() == 36);
    if key.is_none() {
        violations.push(Violation {
            field: "apiKey".into(),
            code: if api_key.is_empty() { "REQUIRED" } else { "INVALID_VALUE" },
            message: "Must be a UUID, such as 0192f0c1-2345-7abc-8def-0123456789ab.".into(),
        });
    }
    if !(32..=256).contains(&api_secret.len()) || !api_secret.bytes().all(|b| b.is_ascii_graphic()) {
        violations.push(Violation {
            field: "apiSecret".into(),
            code: if api_secret.is_empty() { "REQUIRED" } else { "INVALID_VALUE" },
            message: "Must have 32 to 256 visible ASCII characters, no spaces.".into(),
        });
    }
    match key {
        Some(key) if violations.is_empty() => Ok(key),
        _ => Err(Error::violations(violations)),
    }
}

#[cfg(test)]
mod tests {
    use super::credentials;

    const KEY: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

    #[test]
    fn both_are_checked_and_the_secret_is_not_repeated() {
        let secret = "s".repeat(32);
        assert_eq!(credentials(KEY, &secret).map(|k| k.to_string()), Ok(KEY.to_owned()));
        let error = credentials("nope", "short secret").unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["apiKey", "apiSecret"]);
        assert!(!format!("{error:?}").contains("short secret"));
        for bad in ["s".repeat(31), format!("{} ", "s".repeat(32)), "é".repeat(32), "s".repeat(257)] {
            assert!(credentials(KEY, &bad).is_err());
        }
    }
}
