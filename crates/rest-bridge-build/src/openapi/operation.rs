//! One operation: parameters, body, responses.

use serde_json::{Value, json};

use super::schema::Schemas;
use super::{Document, described, response_name};
use crate::codec::value_of;
use crate::error::Result;
use crate::model::{Shape, shape};
use crate::names;
use crate::options::{comment, field_behavior};
use crate::routes::{Binding, Body, FieldPath};

pub(super) fn emit(document: &Document, binding: &Binding, all: &[Binding], schemas: &mut Schemas) -> Result<Value> {
    let open = document.open.iter().any(|rpc| rpc.replace('/', ".") == binding.rpc.full_name());
    let text = comment(&binding.rpc.parent_service().parent_file(), binding.rpc.path());
    let mut operation =
        json!({ "operationId": operation_id(binding, all), "tags": [binding.rpc.parent_service().name()] });
    if let Some(summary) = text.split(['\n', '.']).next().map(str::trim).filter(|line| !line.is_empty()) {
        operation["summary"] = Value::from(summary);
    }
    let mut operation = described(operation, &text);
    let mut parameters = path_parameters(binding, schemas)?;
    for path in &binding.query {
        parameters.extend(query_parameter(path, schemas)?);
    }
    if !open {
        parameters.extend(document.headers.iter().filter(|header| header.when.holds(binding)).map(|header| {
            let parameter = json!({ "name": header.name, "in": "header", "required": header.required, "schema": { "type": "string" } });
            described(parameter, &header.description)
        }));
        operation["security"] = security(document, binding);
    } else if !document.security.is_empty() {
        operation["security"] = json!([]);
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    match &binding.body {
        Body::None => {}
        Body::Message => {
            let schema = schemas.body(&binding.rpc.input(), &binding.path)?;
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        Body::Field(field) => {
            let schema = schemas.field(field)?;
            let required = field_behavior(field).contains(&2);
            operation["requestBody"] =
                json!({ "required": required, "content": { "application/json": { "schema": schema } } });
        }
    }
    operation["responses"] = responses(document, binding, schemas)?;
    if deprecated(binding) {
        operation["deprecated"] = Value::Bool(true);
    }
    Ok(operation)
}

fn deprecated(binding: &Binding) -> bool {
    binding.rpc.method_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

/// All schemes together, and the same without what the method does without at times.
fn security(document: &Document, binding: &Binding) -> Value {
    let all: serde_json::Map<String, Value> =
        document.security.iter().map(|(name, _)| (name.clone(), json!([]))).collect();
    let mut ways: Vec<_> = Some(all.clone()).into_iter().filter(|all| !all.is_empty()).collect();
    for (rpc, scheme) in &document.without {
        if rpc.replace('/', ".") == binding.rpc.full_name() {
            ways.push(all.iter().filter(|(name, _)| *name != scheme).map(|(n, v)| (n.clone(), v.clone())).collect());
        }
    }
    json!(ways)
}

/// The method's name, with the service before it where two services have it, and a number for further bindings.
fn operation_id(binding: &Binding, all: &[Binding]) -> String {
    let name = names::lower_camel(binding.rpc.name());
    let elsewhere = all
        .iter()
        .any(|other| names::lower_camel(other.rpc.name()) == name && other.rpc.full_name() != binding.rpc.full_name());
    let service = if elsewhere {
        format!("{}_", binding.rpc.parent_service().full_name().replace('.', "_"))
    } else {
        String::new()
    };
    let number = if binding.ordinal == 0 { String::new() } else { format!("_{}", binding.ordinal + 1) };
    format!("{service}{name}{number}")
}

fn path_parameters(binding: &Binding, schemas: &mut Schemas) -> Result<Vec<Value>> {
    let (_, placeholders) = binding.template.display();
    let mut out = Vec::new();
    for placeholder in &placeholders {
        let field = placeholder.variable.and_then(|index| binding.path.get(index)).and_then(FieldPath::leaf);
        let of_variable = placeholders.iter().filter(|other| other.variable == placeholder.variable).count();
        let schema = match field {
            Some(field) if of_variable == 1 => schemas.value(field)?,
            _ => json!({ "type": "string" }),
        };
        let mut text = field.map(|field| comment(&field.parent_file(), field.path())).unwrap_or_default();
        if placeholder.rest {
            text.push_str("\n\nMay hold several path segments.");
        }
        let parameter = json!({ "name": placeholder.name, "in": "path", "required": true, "schema": schema });
        out.push(described(parameter, text.trim()));
    }
    Ok(out)
}

fn query_parameter(path: &FieldPath, schemas: &mut Schemas) -> Result<Option<Value>> {
    let Some(field) = path.leaf() else { return Ok(None) };
    let schema = schemas.value(&value_of(field))?;
    let list = shape(field) == Shape::List;
    let schema = if list { json!({ "type": "array", "items": schema }) } else { schema };
    let required = path.0.iter().all(|field| field_behavior(field).contains(&2));
    let mut parameter = json!({ "name": path.json(), "in": "query", "required": required, "schema": schema });
    if list {
        parameter["style"] = json!("form");
        parameter["explode"] = json!(true);
    }
    Ok(Some(described(parameter, &comment(&field.parent_file(), field.path()))))
}

fn responses(document: &Document, binding: &Binding, schemas: &mut Schemas) -> Result<Value> {
    let mut success = json!({ "description": phrase(binding.rest.success_status) });
    let schema = match &binding.response_body {
        Some(field) => schemas.field(field)?,
        None => schemas.message(&binding.rpc.output())?,
    };
    if binding.rpc.is_server_streaming() {
        success["description"] = json!("A stream: one message a line (NDJSON), or one an event (SSE).");
        success["content"] = json!({
            "application/x-ndjson": { "schema": schema },
            "text/event-stream": { "schema": { "type": "string" } },
        });
    } else if !binding.empty() {
        success["content"] = json!({ "application/json": { "schema": schema } });
    }
    let mut out = json!({ binding.rest.success_status.to_string(): success });
    for (status, _, _) in document.errors.iter().filter(|(_, _, when)| when.holds(binding)) {
        out[status.to_string()] = json!({ "$ref": format!("#/components/responses/{}", response_name(*status)) });
    }
    out["default"] = json!({ "$ref": "#/components/responses/Problem" });
    Ok(out)
}

const fn phrase(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted",
        204 => "Done; there is nothing to return",
        _ => "OK",
    }
}

/// Joins a second call of the same method and path: parameters and media types of both.
pub(super) fn join(existing: &mut Value, other: &Value) {
    if let (Some(content), Some(more)) = (
        existing.pointer_mut("/responses/200/content").and_then(Value::as_object_mut),
        other.pointer("/responses/200/content").and_then(Value::as_object),
    ) {
        content.extend(more.clone());
    }
    let more = other["parameters"].as_array().cloned().unwrap_or_default();
    let known = existing["parameters"].as_array().cloned().unwrap_or_default();
    let mut all = known.clone();
    all.extend(more.into_iter().filter(|p| !known.iter().any(|k| k["name"] == p["name"] && k["in"] == p["in"])));
    if !all.is_empty() {
        existing["parameters"] = Value::Array(all);
    }
}
