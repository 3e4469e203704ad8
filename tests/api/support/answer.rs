//! What came back.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

/// A response, read to its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Insists on a status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Insists on a problem with this status and code.
    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.json()["status"], status, "{self:?}");
        self
    }

    /// Insists on a problem with the body's content at this field.
    #[track_caller]
    pub fn blames(self, field: &str, code: &str) -> Self {
        let answer = self.refuses(400, "VALIDATION_FAILED");
        let errors = answer.json()["errors"].clone();
        assert_eq!((errors[0]["field"].as_str(), errors[0]["code"].as_str()), (Some(field), Some(code)), "{answer:?}");
        answer
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header field that must not be there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} twice");
        Some(value.to_str().unwrap())
    }

    /// Status, our header fields and body, for a snapshot: the same in every run, with ids numbered as they appear.
    pub fn shown(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for name in ["allow", "content-type", "idempotent-replayed", "ratelimit", "ratelimit-policy", "retry-after"] {
            if let Some(value) = self.header(name) {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        text.push('\n');
        text.push_str(&numbered(self.text()));
        text
    }
}

/// UUIDs by the order of their first appearance: `[id 1]`.
fn numbered(text: &str) -> String {
    let mut seen = HashMap::new();
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let id = rest.get(..36).filter(|id| uuid::Uuid::try_parse(id).is_ok());
        if let Some(id) = id {
            let next = seen.len() + 1;
            let number = *seen.entry(id.to_owned()).or_insert(next);
            out.push_str(&format!("[id {number}]"));
            rest = &rest[36..];
        } else {
            let c = rest.chars().next().unwrap();
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(&self.body))
    }
}
