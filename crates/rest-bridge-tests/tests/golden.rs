//! The generated files, byte for byte, and the shape of the OpenAPI document.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use rest_bridge_tests::{OPENAPI, REST_SOURCE, rest};
use serde_json::Value;

#[test]
fn rust() {
    insta::assert_snapshot!(REST_SOURCE);
}

#[test]
fn openapi() {
    insta::assert_snapshot!(OPENAPI);
}

#[test]
fn the_table_of_routes() {
    let lines: Vec<String> = rest::ROUTES
        .iter()
        .map(|r| format!("{} {} -> {} {:?} {} {}", r.method, r.template, r.rpc, r.body, r.success, r.streaming))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn openapi_holds_together() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some_and(Value::is_object), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{} twice", operation["operationId"]);
            assert!(operation["responses"].as_object().unwrap().contains_key("default"));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path: BTreeSet<_> =
                parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
            let in_template: BTreeSet<_> =
                path.split('{').skip(1).map(|piece| piece.split('}').next().unwrap()).collect();
            assert_eq!(in_path, in_template, "{path}");
            let unique: BTreeSet<_> = parameters.iter().map(|p| (p["in"].to_string(), p["name"].to_string())).collect();
            assert_eq!(unique.len(), parameters.len(), "{path}");
        }
    }
    // Every route is there but the stream that shares its path with the list.
    assert_eq!(ids.len(), rest::ROUTES.len() - 1);
}
