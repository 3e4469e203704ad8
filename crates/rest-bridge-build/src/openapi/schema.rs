//! JSON Schemas (2020-12, as OpenAPI 3.1 uses) of messages and enums.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::described;
use crate::codec::value_of;
use crate::error::Result;
use crate::model::{Kind, Shape, is_unspecified, kind, message_kind, shape};
use crate::names;
use crate::options::{comment, field_behavior};
use crate::routes::{Binding, FieldPath, fields_in_order};

/// The schemas of `components`, made as they are referred to.
pub(super) struct Schemas {
    /// Full name to the name in `components`.
    names: BTreeMap<String, String>,
    /// Full names of the request messages: what they do not name is refused.
    requests: BTreeSet<String>,
    done: BTreeMap<String, Value>,
    wanted: Vec<MessageDescriptor>,
}

impl Schemas {
    pub(super) fn new(bindings: &[Binding]) -> Self {
        let mut names = BTreeMap::new();
        if let Some(binding) = bindings.first() {
            let pool = binding.rpc.parent_pool();
            let items = pool.all_messages().map(|m| (m.full_name().to_owned(), m.package_name().to_owned()));
            let items = items.chain(pool.all_enums().map(|e| (e.full_name().to_owned(), e.package_name().to_owned())));
            let items: Vec<_> = items.collect();
            let short = |(full, package): &(String, String)| {
                full.strip_prefix(package.as_str()).unwrap_or(full).trim_start_matches('.').to_owned()
            };
            for item in &items {
                let unique = items.iter().filter(|other| short(other) == short(item)).count() == 1;
                let name = if unique && short(item) != "Problem" { short(item) } else { item.0.clone() };
                names.insert(item.0.clone(), name);
            }
        }
        let done = BTreeMap::from([("Problem".to_owned(), problem())]);
        let requests = bindings.iter().map(|binding| binding.rpc.input().full_name().to_owned()).collect();
        Self { names, requests, done, wanted: Vec::new() }
    }

    /// All schemas, once nothing more refers to new ones.
    pub(super) fn finish(mut self) -> Result<Value> {
        while let Some(message) = self.wanted.pop() {
            let name = self.name(message.full_name());
            let schema = self.object(&message, &[])?;
            self.done.insert(name, schema);
        }
        Ok(self.done.into_iter().collect::<Map<_, _>>().into())
    }

    fn name(&self, full_name: &str) -> String {
        self.names.get(full_name).cloned().unwrap_or_else(|| full_name.to_owned())
    }

    fn reference(&mut self, full_name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        let name = self.name(full_name);
        if !self.done.contains_key(&name) {
            let placeholder = make(self);
            self.done.insert(name.clone(), placeholder);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Result<Value> {
        Ok(match message_kind(message, message.full_name())? {
            Kind::Message(of) => self.reference(of.full_name(), |schemas| {
                schemas.wanted.push(of.clone());
                Value::Null
            }),
            other => self.of(&other)?,
        })
    }

    /// The schema of a request body: the message without what the path gives.
    pub(super) fn body(&mut self, message: &MessageDescriptor, path: &[FieldPath]) -> Result<Value> {
        let bound: Vec<&FieldDescriptor> = path.iter().filter(|p| p.0.len() == 1).filter_map(FieldPath::leaf).collect();
        if bound.is_empty() { self.message(message) } else { self.object(message, &bound) }
    }

    /// The schema of a field, lists and maps included, with its comment.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Result<Value> {
        let value = self.value(&value_of(field))?;
        Ok(match shape(field) {
            Shape::List => json!({ "type": "array", "items": value }),
            Shape::Map => json!({ "type": "object", "additionalProperties": value }),
            Shape::Implicit | Shape::Optional | Shape::Oneof => value,
        })
    }

    /// The schema of one value of a field.
    pub(super) fn value(&mut self, field: &FieldDescriptor) -> Result<Value> {
        self.of(&kind(field)?)
    }

    fn of(&mut self, kind: &Kind) -> Result<Value> {
        let number = |kind: &str| json!({ "oneOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }], "format": kind });
        Ok(match kind {
            Kind::Scalar("double") => number("double"),
            Kind::Scalar("float") => number("float"),
            Kind::Scalar("int32") => json!({ "type": "integer", "format": "int32" }),
            Kind::Scalar("uint32") => {
                json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Scalar(name @ ("int64" | "uint64")) => json!({ "type": "string", "format": name }),
            Kind::Scalar("bool") => json!({ "type": "boolean" }),
            Kind::Scalar("bytes") => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Scalar("timestamp") => json!({ "type": "string", "format": "date-time" }),
            Kind::Scalar("duration") => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
            Kind::Scalar(_) => json!({ "type": "string" }),
            Kind::Free("list_value") => json!({ "type": "array" }),
            Kind::Free("value") => json!({}),
            Kind::Free(_) => json!({ "type": "object" }),
            Kind::Enum(of) => self.reference(of.full_name(), |_| enumeration(of)),
            Kind::Message(of) => return self.message(of),
        })
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&FieldDescriptor]) -> Result<Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in fields_in_order(message).iter().filter(|field| !without.contains(field)) {
            let behavior = field_behavior(field);
            let mut schema = described(self.field(field)?, &comment(&field.parent_file(), field.path()));
            if behavior.contains(&2) {
                required.push(Value::from(field.json_name()));
            }
            if behavior.contains(&3) {
                schema["readOnly"] = Value::Bool(true);
            }
            if behavior.contains(&4) {
                schema["writeOnly"] = Value::Bool(true);
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = Value::Array(required);
        }
        if self.requests.contains(message.full_name()) {
            schema["additionalProperties"] = Value::Bool(false);
        }
        Ok(described(schema, &comment(&message.parent_file(), message.path())))
    }
}

fn enumeration(of: &EnumDescriptor) -> Value {
    let values: Vec<_> = of.values().filter(|value| !(value.number() == 0 && is_unspecified(value.name()))).collect();
    let names: Vec<String> = values.iter().map(|value| names::enum_value(of.name(), value.name())).collect();
    let mut text = comment(&of.parent_file(), of.path());
    for (value, name) in values.iter().zip(&names) {
        let meaning = comment(&of.parent_file(), value.path());
        if !meaning.is_empty() {
            text.push_str(&format!("\n- `{name}`: {}", meaning.replace('\n', " ")));
        }
    }
    described(json!({ "type": "string", "enum": names }), text.trim())
}

/// RFC 9457, with the members that the bridge adds.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Some problems have further string members.",
        "required": ["type", "title", "status", "instance", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string", "description": "The same words for every problem of this kind." },
            "status": { "type": "integer", "description": "The HTTP status." },
            "detail": { "type": "string", "description": "A sentence about this occurrence." },
            "instance": { "type": "string", "description": "The path of the request." },
            "code": { "type": "string", "description": "Stable, upper snake case." },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "code", "message"],
                    "properties": {
                        "field": { "type": "string", "description": "The path of the field, such as `billingAddress.city`." },
                        "code": { "type": "string" },
                        "message": { "type": "string" },
                    },
                },
            },
            "requestId": { "type": "string" },
        },
    })
}
