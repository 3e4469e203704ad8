//! The API reference: the OpenAPI document as a page to read, without script and without anything from elsewhere.

use std::sync::LazyLock;

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use super::{guards, policy};
use crate::api::error::{Row, row};
use crate::domain::Code;

/// Its own style sheet: it is read at a desk, the other pages on a phone.
pub(crate) const STYLE: &str = include_str!("reference.css");

static POLICY: LazyLock<String> = LazyLock::new(|| policy(STYLE));

/// The page of an OpenAPI document of ours; made once.
pub fn reference_page(openapi: &'static str) -> Response {
    static PAGE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let made = PAGE.get_or_init(|| {
        let document: Value = serde_json::from_str(openapi).ok()?;
        Reference::of(&document).render().ok()
    });
    let Some(html) = made else {
        return super::error_page(&super::ErrorView::new(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let mut headers = guards();
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    (headers, html.as_str()).into_response()
}

#[derive(Template)]
#[template(path = "pages/reference.html")]
struct Reference {
    version: String,
    about: Prose,
    groups: Vec<Group>,
    entities: Vec<Entity>,
    codes: Vec<Row>,
}

struct Group {
    name: String,
    about: Prose,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    about: Prose,
    headers: Vec<String>,
    fields: Vec<Field>,
    answers: Vec<(String, Vec<Kind>)>,
    refusals: String,
}

struct Entity {
    name: String,
    about: Prose,
    fields: Vec<Field>,
    values: Vec<Prose>,
}

struct Field {
    name: String,
    /// `path`, `query` or `body`; nothing in an entity.
    place: &'static str,
    required: bool,
    kind: Kind,
    about: Prose,
}

/// A type: words, and the entity that is described further down.
struct Kind {
    words: &'static str,
    other: String,
    entity: Option<String>,
}

/// Text, some of it code.
struct Prose(Vec<(bool, String)>);

impl Reference {
    fn of(document: &Value) -> Self {
        let schemas = &document["components"]["schemas"];
        let operations: Vec<_> = members(&document["paths"])
            .flat_map(|(path, item)| {
                members(item).map(move |(method, it)| (tag(it), Operation::of((method, path), it, schemas)))
            })
            .collect();
        let mut groups: Vec<Group> = list(&document["tags"]).map(Group::of).collect();
        for (tag, operation) in operations {
            if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                group.operations.push(operation);
            }
        }
        groups.iter_mut().for_each(|group| group.name = group.name.replace("Service", ""));
        let answers = members(schemas).filter(|(name, _)| !name.ends_with("Request"));
        Self {
            version: text(&document["info"]["version"]),
            about: Prose::of(&document["info"]["description"]),
            groups,
            entities: answers.map(|(name, schema)| Entity::of(name, schema)).collect(),
            codes: Code::ALL.iter().map(|code| row(*code)).collect(),
        }
    }
}

impl Group {
    fn of(tag: &Value) -> Self {
        Self { name: text(&tag["name"]), about: Prose::of(&tag["description"]), operations: Vec::new() }
    }
}

impl Operation {
    fn of((method, path): (&str, &str), it: &Value, schemas: &Value) -> Self {
        let (headers, parameters): (Vec<_>, Vec<_>) = list(&it["parameters"]).partition(|it| it["in"] == "header");
        let mut fields: Vec<Field> = parameters
            .into_iter()
            .map(|it| Field {
                name: text(&it["name"]),
                place: if it["in"] == "path" { "path" } else { "query" },
                required: it["required"] == true,
                kind: Kind::of(&it["schema"]),
                about: Prose::of(&it["description"]),
            })
            .collect();
        let body = &it["requestBody"]["content"]["application/json"]["schema"];
        let body = reference(body).map_or(body, |name| &schemas[name]);
        fields.extend(fields_of(body, "body"));
        let signed = list(&it["security"]).any(|all| all.get("signature").is_some());
        let always = if signed { vec!["Authorization".to_owned(), "Signature".to_owned()] } else { Vec::new() };
        let (good, bad): (Vec<_>, Vec<_>) = members(&it["responses"]).partition(|(status, _)| status.starts_with('2'));
        let answer = |(status, answer): (&str, &Value)| {
            let kinds = members(&answer["content"]).map(|(_, content)| Kind::of(&content["schema"]));
            (status.to_owned(), kinds.filter(|kind| kind.entity.is_some()).collect())
        };
        let refusals: Vec<&str> = bad.into_iter().map(|(status, _)| status).filter(|it| *it != "default").collect();
        Self {
            id: text(&it["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            about: Prose::of(&it["description"]),
            headers: always.into_iter().chain(headers.into_iter().map(|it| text(&it["name"]))).collect(),
            fields,
            answers: good.into_iter().map(answer).collect(),
            refusals: refusals.join(", "),
        }
    }
}

impl Entity {
    fn of(name: &str, schema: &Value) -> Self {
        // The values of an enumeration are a list behind its description.
        let about = text(&schema["description"]);
        let mut parts = about.split("\n- ");
        let first = parts.next().unwrap_or_default();
        Self {
            name: name.to_owned(),
            about: Prose::from(first),
            fields: fields_of(schema, ""),
            values: parts.map(Prose::from).collect(),
        }
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        if schema["type"] == "array" {
            return Self { words: "list of ", ..Self::of(&schema["items"]) };
        }
        let entity = reference(schema).map(str::to_owned);
        let other = match (schema["type"].as_str(), schema["format"].as_str()) {
            _ if entity.is_some() => String::new(),
            (Some("object"), _) => {
                let names: Vec<_> = members(&schema["properties"]).map(|(name, _)| name).collect();
                format!("{{{}}}", names.join(", "))
            }
            (_, Some("date-time")) => "time, RFC 3339".to_owned(),
            _ if schema["contentEncoding"] == "base64" => "base64".to_owned(),
            (name, _) => name.unwrap_or_default().to_owned(),
        };
        Self { words: "", other, entity }
    }
}

impl Prose {
    fn of(value: &Value) -> Self {
        Self::from(value.as_str().unwrap_or_default())
    }
}

impl From<&str> for Prose {
    fn from(text: &str) -> Self {
        Self(text.split('`').enumerate().map(|(index, part)| (index % 2 == 1, part.to_owned())).collect())
    }
}

fn fields_of(schema: &Value, place: &'static str) -> Vec<Field> {
    let required: Vec<_> = list(&schema["required"]).collect();
    let field = |(name, property): (&str, &Value)| Field {
        name: name.to_owned(),
        place,
        required: required.iter().any(|it| **it == name),
        kind: Kind::of(property),
        about: Prose::of(&property["description"]),
    };
    members(&schema["properties"]).map(field).collect()
}

/// The name of the schema that is meant.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn tag(operation: &Value) -> String {
    text(&operation["tags"][0])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
