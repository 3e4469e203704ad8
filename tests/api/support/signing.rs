//! RFC 9421 written a second time, from the text: what the service verifies is not what it made itself.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use customerd::signature::PrivateKey;
use http::Method;

use super::{AUTHORITY, ORIGIN};

/// A signature about to be made. Everything can be bent.
pub struct Signing {
    pub label: String,
    /// Component names, without quotes; a component with parameters as `"x";req`, with its quotes.
    pub components: Vec<String>,
    /// Parameters in order: name and serialised value.
    pub params: Vec<(String, String)>,
    /// What signs.
    pub key: Arc<PrivateKey>,
    /// The value of a component, where it is to differ from the request's.
    pub lies: Vec<(String, String)>,
    /// Changes the signature's bytes.
    pub bend: fn(Vec<u8>) -> Vec<u8>,
}

impl Signing {
    /// Sets a parameter, at its place if it is there already.
    pub fn param(&mut self, name: &str, value: impl ToString) {
        match self.params.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_string(),
            None => self.params.push((name.to_owned(), value.to_string())),
        }
    }

    /// Sets a string parameter.
    pub fn text(&mut self, name: &str, value: &str) {
        self.param(name, format!("\"{value}\""));
    }

    /// Leaves a parameter or a component away.
    pub fn omit(&mut self, name: &str) {
        self.params.retain(|(known, _)| known != name);
        self.components.retain(|known| known != name);
    }

    /// Covers one more component.
    pub fn cover(&mut self, component: &str) {
        self.components.push(component.to_owned());
    }

    /// Covers `@authority`, `@path` and, if there is one, `@query` instead of `@target-uri`.
    pub fn by_path(&mut self, with_query: bool) {
        let parts: &[&str] = if with_query { &["@authority", "@path", "@query"] } else { &["@authority", "@path"] };
        let at = self.components.iter().position(|name| name == "@target-uri").unwrap();
        self.components.splice(at..=at, parts.iter().map(|&part| part.to_owned()));
    }

    /// The values of `Signature-Input` and `Signature` (RFC 9421 §3.1) for a request.
    pub fn sign(&self, method: &Method, target: &str, fields: &[(String, String)]) -> (String, String) {
        let identifiers: Vec<String> = self.components.iter().map(|name| identifier(name)).collect();
        let params: String = self.params.iter().map(|(name, value)| format!(";{name}={value}")).collect();
        let input = format!("({}){params}", identifiers.join(" "));
        let mut base = String::new();
        for (name, identifier) in self.components.iter().zip(&identifiers) {
            let lie = self.lies.iter().find(|(known, _)| known == name).map(|(_, lie)| lie.clone());
            let value = lie.unwrap_or_else(|| value(name, (method, target), fields));
            base.push_str(&format!("{identifier}: {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {input}"));
        let signature = (self.bend)(self.key.sign(base.as_bytes()).unwrap());
        (format!("{}={input}", self.label), format!("{}=:{}:", self.label, STANDARD.encode(signature)))
    }
}

fn identifier(name: &str) -> String {
    if name.starts_with('"') { name.to_owned() } else { format!("\"{name}\"") }
}

/// §2.1 and §2.2 for what the stories cover.
fn value(component: &str, (method, target): (&Method, &str), fields: &[(String, String)]) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    match component {
        "@method" => method.to_string(),
        "@target-uri" => format!("{ORIGIN}{target}"),
        "@authority" => AUTHORITY.to_owned(),
        "@scheme" => "https".to_owned(),
        "@request-target" => target.to_owned(),
        "@path" => path.to_owned(),
        "@query" => format!("?{}", query.unwrap_or_default()),
        name => {
            let values = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
        }
    }
}
