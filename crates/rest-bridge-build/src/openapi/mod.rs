//! The OpenAPI 3.1 document.

mod operation;
mod schema;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, Rule};
use crate::routes::Binding;
use schema::Schemas;

/// Which operations something holds for.
#[derive(Debug, Clone)]
pub enum When {
    /// All.
    Always,
    /// `POST`, `PUT`, `PATCH`, `DELETE`.
    Modifying,
    /// Those that take a body.
    WithBody,
    /// Those with a path parameter.
    WithPathParameter,
    /// All but these methods, as `Rpcs` names them.
    AllBut(Vec<String>),
    /// These methods, as `package.Service/Method` or `package.Service.Method`.
    Rpcs(Vec<String>),
}

impl When {
    fn holds(&self, binding: &Binding) -> bool {
        match self {
            Self::Always => true,
            Self::Modifying => binding.method != "GET",
            Self::WithBody => !matches!(binding.body, crate::routes::Body::None),
            Self::WithPathParameter => !binding.path.is_empty(),
            Self::AllBut(names) => !named(names, binding),
            Self::Rpcs(names) => named(names, binding),
        }
    }
}

fn named(names: &[String], binding: &Binding) -> bool {
    names.iter().any(|name| name.replace('/', ".") == binding.rpc.full_name())
}

/// A header that operations take.
#[derive(Debug, Clone)]
pub struct Header {
    name: String,
    description: String,
    required: bool,
    when: When,
}

impl Header {
    /// One that those operations need.
    #[must_use]
    pub fn required(name: &str, description: &str, when: When) -> Self {
        Self { name: name.to_owned(), description: description.to_owned(), required: true, when }
    }

    /// One that those operations take.
    #[must_use]
    pub fn optional(name: &str, description: &str, when: When) -> Self {
        Self { required: false, ..Self::required(name, description, when) }
    }
}

/// What the document says beside what is in the protos.
#[derive(Debug, Clone, Default)]
pub struct Document {
    title: String,
    version: String,
    description: String,
    servers: Vec<(String, String)>,
    security: Vec<(String, Value)>,
    headers: Vec<Header>,
    errors: Vec<(u16, String, When)>,
    open: Vec<String>,
    without: Vec<(String, String)>,
}

impl Document {
    /// Title and version of the API.
    #[must_use]
    pub fn new(title: &str, version: &str) -> Self {
        Self { title: title.to_owned(), version: version.to_owned(), ..Self::default() }
    }

    /// `info.description`, in Markdown.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// A server.
    #[must_use]
    pub fn server(mut self, url: &str, description: &str) -> Self {
        self.servers.push((url.to_owned(), description.to_owned()));
        self
    }

    /// A security scheme, as OpenAPI writes it; operations need all schemes together.
    #[must_use]
    pub fn security(mut self, name: &str, scheme: Value) -> Self {
        self.security.push((name.to_owned(), scheme));
        self
    }

    /// A request header of some operations.
    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// An error response of some operations. Of one status the first description is the one shown.
    #[must_use]
    pub fn error(mut self, status: u16, description: &str, when: When) -> Self {
        self.errors.push((status, description.to_owned(), when));
        self
    }

    /// A method (`package.Service/Method`) that does without one of the security schemes at times.
    #[must_use]
    pub fn without(mut self, rpc: &str, scheme: &str) -> Self {
        self.without.push((rpc.to_owned(), scheme.to_owned()));
        self
    }

    /// A method (`package.Service/Method`) that anybody may call: no security, none of the headers.
    #[must_use]
    pub fn open(mut self, rpc: &str) -> Self {
        self.open.push(rpc.to_owned());
        self
    }
}

/// The document, indented.
pub(crate) fn emit(document: &Document, bindings: &[Binding]) -> Result<String> {
    let mut schemas = Schemas::new(bindings);
    let mut paths: Map<String, Value> = Map::new();
    let mut used = Vec::new();
    let mut tags = Vec::new();
    for binding in bindings {
        let tag = binding.rpc.parent_service().name().to_owned();
        if !tags.iter().any(|known: &Value| known["name"] == tag) {
            let service = binding.rpc.parent_service();
            let comment = crate::options::comment(&service.parent_file(), service.path());
            tags.push(described(json!({ "name": tag }), &comment));
        }
        let operation = operation::emit(document, binding, bindings, &mut schemas)?;
        used.push(operation["operationId"].clone());
        let (path, _) = binding.template.display();
        let item = paths.entry(path).or_insert_with(|| json!({}));
        let method = binding.method.to_lowercase();
        match item.get_mut(&method) {
            // A unary and a streaming call share the operation: the answer's media types join.
            Some(existing) => operation::join(existing, &operation),
            None => item[method] = operation,
        }
    }
    let schemas = schemas.finish()?;
    let mut out = json!({
        "openapi": "3.1.0",
        "info": described(json!({ "title": document.title, "version": document.version }), &document.description),
        "tags": tags,
        "paths": paths,
        "components": { "schemas": schemas, "responses": responses(document) },
    });
    if !document.servers.is_empty() {
        let servers = document.servers.iter().map(|(url, text)| described(json!({ "url": url }), text));
        out["servers"] = servers.collect();
    }
    if !document.security.is_empty() {
        let schemes: Map<String, Value> = document.security.iter().cloned().collect();
        out["components"]["securitySchemes"] = Value::Object(schemes);
    }
    serde_json::to_string_pretty(&out)
        .map(|text| text + "\n")
        .map_err(|error| Error::new("openapi", Rule::Descriptors, error.to_string()))
}

/// Adds a description if there is one.
fn described(mut value: Value, text: &str) -> Value {
    if !text.is_empty() {
        value["description"] = Value::from(text);
    }
    value
}

/// One shared response for each error status; each operation refers to it.
fn responses(document: &Document) -> Value {
    let mut out = Map::new();
    let own = [(0, "Any refusal or failure".to_owned())];
    let listed = document.errors.iter().map(|(status, text, _)| (*status, text.clone()));
    for (status, text) in own.into_iter().chain(listed) {
        let name = response_name(status);
        let entry = out.entry(name).or_insert_with(|| {
            json!({
                "description": text,
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            })
        });
        if matches!(status, 429 | 503) {
            entry["headers"] = json!({ "Retry-After": {
                "description": "Seconds after which to try again.",
                "schema": { "type": "integer", "minimum": 0 },
            } });
        }
    }
    Value::Object(out)
}

fn response_name(status: u16) -> String {
    if status == 0 { "Problem".to_owned() } else { format!("Problem{status}") }
}
