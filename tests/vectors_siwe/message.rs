//! EIP-4361's ABNF, read strictly.

use customerd::domain::Timestamp;
use customerd::domain::chain::ChainAccount;
use serde_json::{Map, Value, json};

use crate::uri;

const WANTS: &str = " wants you to sign in with your Ethereum account:";

/// A sign-in text's parts.
#[derive(Debug, Default)]
pub(crate) struct Message {
    scheme: Option<String>,
    pub(crate) domain: String,
    address: String,
    pub(crate) statement: Option<String>,
    pub(crate) uri: String,
    chain_id: u64,
    pub(crate) nonce: String,
    issued_at: String,
    expiration_time: Option<String>,
    not_before: Option<String>,
    request_id: Option<String>,
    resources: Option<Vec<String>>,
}

impl Message {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.split('\n').peekable();
        let mut out = Self::default();
        out.head(&mut lines)?;
        out.uri = field(&mut lines, "URI: ")?.to_owned();
        uri::parse(&out.uri).ok_or("URI is not RFC 3986")?;
        if field(&mut lines, "Version: ")? != "1" {
            return Err("version".to_owned());
        }
        let chain = field(&mut lines, "Chain ID: ")?;
        let digits = !chain.is_empty() && chain.bytes().all(|c| c.is_ascii_digit());
        out.chain_id = chain.parse().ok().filter(|_| digits).ok_or("chain id")?;
        out.nonce = field(&mut lines, "Nonce: ")?.to_owned();
        if out.nonce.len() < 8 || !out.nonce.bytes().all(|c| c.is_ascii_alphanumeric()) {
            return Err("nonce".to_owned());
        }
        out.issued_at = time(field(&mut lines, "Issued At: ")?)?;
        out.expiration_time = optional(&mut lines, "Expiration Time: ").map(time).transpose()?;
        out.not_before = optional(&mut lines, "Not Before: ").map(time).transpose()?;
        out.request_id = optional(&mut lines, "Request ID: ").map(str::to_owned);
        if !out.request_id.as_deref().unwrap_or("").bytes().all(uri::is_pchar) {
            return Err("request id".to_owned());
        }
        if lines.next_if_eq(&"Resources:").is_some() {
            let resources = out.resources.insert(Vec::new());
            while let Some(resource) = lines.next_if(|line| line.starts_with("- ")) {
                uri::parse(&resource[2..]).ok_or("resource is not RFC 3986")?;
                resources.push(resource[2..].to_owned());
            }
        }
        lines.next().map_or(Ok(out), |line| Err(format!("unexpected {line:?}")))
    }

    /// Domain, address and statement.
    fn head<'a>(&mut self, lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<(), String> {
        let first = lines.next().and_then(|line| line.strip_suffix(WANTS)).ok_or("first line")?;
        let (scheme, domain) = first.split_once("://").map_or((None, first), |(scheme, rest)| (Some(scheme), rest));
        if scheme.is_some_and(|scheme| !uri::matches("scheme", scheme))
            || domain.is_empty()
            || !uri::is_authority(domain)
        {
            return Err("domain".to_owned());
        }
        (self.scheme, self.domain) = (scheme.map(str::to_owned), domain.to_owned());
        let address = lines.next().ok_or("address")?;
        format!("eip155:1:{address}").parse::<ChainAccount>().map_err(|e| e.to_string())?;
        address.clone_into(&mut self.address);
        let mut empty = || lines.next_if_eq(&"").map(drop).ok_or("an empty line is missing");
        empty()?;
        if empty().is_err() || lines.peek() == Some(&"") {
            // A statement of no characters leaves three empty lines in a row.
            let statement = if lines.peek() == Some(&"") { "" } else { lines.next().ok_or("statement")? };
            if !uri::matches("statement", statement) && !statement.is_empty() {
                return Err("statement".to_owned());
            }
            self.statement = Some(statement.to_owned());
            lines.next_if_eq(&"").ok_or("an empty line is missing")?;
        }
        Ok(())
    }

    /// As the vectors write them; what is absent is left out.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let all = json!({
            "scheme": self.scheme, "domain": self.domain, "address": self.address, "statement": self.statement,
            "uri": self.uri, "version": "1", "chainId": self.chain_id, "nonce": self.nonce, "issuedAt": self.issued_at,
            "expirationTime": self.expiration_time, "notBefore": self.not_before, "requestId": self.request_id,
            "resources": self.resources,
        });
        let Value::Object(all) = all else { return Map::new() };
        all.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

fn field<'a>(lines: &mut impl Iterator<Item = &'a str>, label: &str) -> Result<&'a str, String> {
    lines.next().and_then(|line| line.strip_prefix(label)).ok_or(format!("no {label:?}"))
}

fn optional<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, label: &str) -> Option<&'a str> {
    lines.next_if(|line| line.starts_with(label)).and_then(|line| line.strip_prefix(label))
}

fn time(text: &str) -> Result<String, String> {
    text.parse::<Timestamp>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// The text that the vectors' object stands for; a missing field leaves its line out.
pub(crate) fn write(object: &Value) -> String {
    let text = |name: &str| match &object[name] {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let scheme = text("scheme").map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let mut out =
        format!("{scheme}{}{WANTS}\n{}\n\n", text("domain").unwrap_or_default(), text("address").unwrap_or_default());
    if let Some(statement) = text("statement") {
        out += &format!("{statement}\n");
    }
    let labels = [
        ("URI", "uri"),
        ("Version", "version"),
        ("Chain ID", "chainId"),
        ("Nonce", "nonce"),
        ("Issued At", "issuedAt"),
        ("Expiration Time", "expirationTime"),
        ("Not Before", "notBefore"),
        ("Request ID", "requestId"),
    ];
    for (label, name) in labels {
        if let Some(value) = text(name) {
            out += &format!("\n{label}: {value}");
        }
    }
    if let Some(resources) = object["resources"].as_array() {
        out += "\nResources:";
        for resource in resources {
            out += &format!("\n- {}", resource.as_str().unwrap_or_default());
        }
    }
    out
}
