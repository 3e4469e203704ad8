//! Reads the method options: `google.api.http` and `rest_bridge.rest`; and comments and field behaviour.

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, MethodDescriptor, Value};

use crate::error::{Error, Result, Rule};

/// One binding of a method, as written.
#[derive(Debug, Clone)]
pub(crate) struct HttpRule {
    pub(crate) method: &'static str,
    pub(crate) template: String,
    pub(crate) body: String,
    pub(crate) response_body: String,
}

/// `rest_bridge.rest`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest {
    pub(crate) success_status: u16,
    pub(crate) sse_id: String,
    pub(crate) sse_resume: String,
    pub(crate) heartbeats: String,
}

fn extension(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = pool.get_extension_by_name(name)?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The bindings of a method; none if it is not annotated.
pub(crate) fn http_rules(method: &MethodDescriptor) -> Result<Vec<HttpRule>> {
    let Some(Value::Message(rule)) = extension(method.parent_pool(), &method.options(), "google.api.http") else {
        return Ok(Vec::new());
    };
    let mut rules = vec![http_rule(&rule, method.full_name())?];
    let more = rule.get_field_by_name("additional_bindings");
    for more in more.as_ref().and_then(|value| value.as_list()).unwrap_or_default() {
        let Some(more) = more.as_message() else { continue };
        if more.has_field_by_name("additional_bindings") {
            return Err(Error::new(
                method.full_name(),
                Rule::Binding,
                "additional_bindings inside additional_bindings",
            ));
        }
        rules.push(http_rule(more, method.full_name())?);
    }
    Ok(rules)
}

fn http_rule(rule: &DynamicMessage, at: &str) -> Result<HttpRule> {
    const METHODS: [(&str, &str); 5] =
        [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")];
    let Some((field, method)) = METHODS.into_iter().find(|(field, _)| rule.has_field_by_name(field)) else {
        return Err(Error::new(
            at,
            Rule::Binding,
            "a binding needs get, put, post, delete or patch; custom is not served",
        ));
    };
    Ok(HttpRule {
        method,
        template: text(rule, field),
        body: text(rule, "body"),
        response_body: text(rule, "response_body"),
    })
}

/// The bridge's own method option.
pub(crate) fn rest(method: &MethodDescriptor) -> Rest {
    let Some(Value::Message(rest)) = extension(method.parent_pool(), &method.options(), "rest_bridge.rest") else {
        return Rest { success_status: 200, ..Rest::default() };
    };
    let status = rest.get_field_by_name("success_status").and_then(|value| value.as_u32()).unwrap_or(0);
    Rest {
        success_status: if status == 0 { 200 } else { u16::try_from(status).unwrap_or(u16::MAX) },
        sse_id: text(&rest, "sse_id"),
        sse_resume: text(&rest, "sse_resume"),
        heartbeats: text(&rest, "heartbeats"),
    }
}

/// The numbers of google.api.field_behavior: 2 required, 3 output only, 4 input only.
pub(crate) fn field_behavior(field: &FieldDescriptor) -> Vec<i32> {
    let pool = field.parent_message().parent_pool();
    match extension(pool, &field.options(), "google.api.field_behavior") {
        Some(Value::List(values)) => values.iter().filter_map(Value::as_enum_number).collect(),
        _ => Vec::new(),
    }
}

/// The bridge's own field option: whether an empty list is left out.
pub(crate) fn omit_empty(field: &FieldDescriptor) -> bool {
    let pool = field.parent_message().parent_pool();
    extension(pool, &field.options(), "rest_bridge.omit_empty").and_then(|value| value.as_bool()).unwrap_or(false)
}

/// The comment before the item at `path`, without the leading space of its lines.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    let comment =
        locations.iter().find(|location| location.path == path).map(|l| l.leading_comments()).unwrap_or_default();
    let lines: Vec<&str> = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}
