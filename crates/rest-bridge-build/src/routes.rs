//! Collects the bindings of all annotated methods and checks them.

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor};

use crate::error::{Error, Result, Rule};
use crate::model::{Kind, Shape, kind, shape};
use crate::options::{self, HttpRule, Rest};
use crate::template::{Template, json_path};

/// A field reached from a request message: the messages on the way and the field itself.
#[derive(Debug, Clone)]
pub(crate) struct FieldPath(pub(crate) Vec<FieldDescriptor>);

impl FieldPath {
    /// The lowerCamelCase path.
    pub(crate) fn json(&self) -> String {
        self.0.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
    }

    /// The path in the proto's names.
    pub(crate) fn proto(&self) -> String {
        self.0.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
    }

    /// The field at the end.
    pub(crate) fn leaf(&self) -> Option<&FieldDescriptor> {
        self.0.last()
    }
}

/// What the body is.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    None,
    Message,
    Field(FieldDescriptor),
}

/// A checked binding.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) rpc: MethodDescriptor,
    /// Which binding of the method this is, from 0.
    pub(crate) ordinal: usize,
    pub(crate) method: &'static str,
    pub(crate) template: Template,
    /// One for each variable of the template.
    pub(crate) path: Vec<FieldPath>,
    pub(crate) body: Body,
    pub(crate) query: Vec<FieldPath>,
    pub(crate) response_body: Option<FieldDescriptor>,
    pub(crate) rest: Rest,
    pub(crate) sse_id: Option<FieldDescriptor>,
    pub(crate) sse_resume: Option<FieldDescriptor>,
    pub(crate) heartbeats: Option<FieldDescriptor>,
}

impl Binding {
    /// The answer has no body.
    pub(crate) fn empty(&self) -> bool {
        !self.rpc.is_server_streaming() && self.rpc.output().fields().len() == 0 && is_plain(&self.rpc.output())
    }
}

/// A message without fields is empty; a Struct has fields of its own kind.
fn is_plain(message: &MessageDescriptor) -> bool {
    !message.full_name().starts_with("google.protobuf.") || message.full_name() == "google.protobuf.Empty"
}

/// Every binding of the pool, in the order of files, services and methods.
pub(crate) fn collect(pool: &DescriptorPool) -> Result<Vec<Binding>> {
    let mut bindings = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for (ordinal, rule) in options::http_rules(&method)?.into_iter().enumerate() {
            bindings.push(binding(&method, ordinal, &rule)?);
        }
    }
    Ok(bindings)
}

fn binding(rpc: &MethodDescriptor, ordinal: usize, rule: &HttpRule) -> Result<Binding> {
    let at = rpc.full_name();
    if rpc.is_client_streaming() {
        return Err(Error::new(at, Rule::ClientStreaming, "the request is a stream"));
    }
    let template = Template::parse(&rule.template, at)?;
    let input = rpc.input();
    let mut path: Vec<FieldPath> = Vec::new();
    for variable in &template.variables {
        if path.iter().any(|known| known.proto() == variable.field) {
            return Err(Error::new(at, Rule::PathField, format!("`{}` stands twice in the path", variable.field)));
        }
        path.push(path_field(&input, &variable.field, at)?);
    }
    let body = body(&input, rule, &path, at)?;
    let rest = options::rest(rpc);
    let heartbeats = heartbeats(rpc, &rest)?;
    let mut query = match &body {
        Body::Message => Vec::new(),
        Body::Field(field) => query(&input, &path, Some(field), at)?,
        Body::None => query(&input, &path, None, at)?,
    };
    // Only the bridge asks for them.
    query.retain(|path| path.leaf() != heartbeats.as_ref());
    let response_body = named(&rpc.output(), &rule.response_body, at, Rule::ResponseBody)?;
    let sse_id = sse_field(rpc, &rpc.output(), &rest.sse_id)?;
    let sse_resume = sse_field(rpc, &input, &rest.sse_resume)?;
    let rpc = rpc.clone();
    let binding = Binding {
        rpc,
        ordinal,
        method: rule.method,
        template,
        path,
        body,
        query,
        response_body,
        rest,
        sse_id,
        sse_resume,
        heartbeats,
    };
    success(&binding)?;
    Ok(binding)
}

fn success(binding: &Binding) -> Result<()> {
    let at = binding.rpc.full_name();
    let status = binding.rest.success_status;
    if !matches!(status, 200 | 201 | 202 | 204) {
        return Err(Error::new(
            at,
            Rule::SuccessStatus,
            format!("success_status {status} is not 200, 201, 202 or 204"),
        ));
    }
    if status == 204 && !binding.empty() {
        return Err(Error::new(at, Rule::SuccessStatus, "success_status 204 needs an empty response message"));
    }
    if status != 200 && binding.rpc.is_server_streaming() {
        return Err(Error::new(at, Rule::SuccessStatus, "a stream succeeds with 200"));
    }
    Ok(())
}

fn named(message: &MessageDescriptor, name: &str, at: &str, rule: Rule) -> Result<Option<FieldDescriptor>> {
    if name.is_empty() {
        return Ok(None);
    }
    let field = message.get_field_by_name(name);
    field.map(Some).ok_or_else(|| Error::new(at, rule, format!("{} has no field `{name}`", message.full_name())))
}

fn sse_field(rpc: &MethodDescriptor, message: &MessageDescriptor, name: &str) -> Result<Option<FieldDescriptor>> {
    let field = named(message, name, rpc.full_name(), Rule::Sse)?;
    if let Some(field) = &field {
        let singular = matches!(shape(field), Shape::Implicit | Shape::Optional);
        let string = singular && matches!(kind(field)?, Kind::Scalar("string"));
        if !string || !rpc.is_server_streaming() {
            let detail = format!("`{name}` must be a singular string field of a server-streaming call");
            return Err(Error::new(rpc.full_name(), Rule::Sse, detail));
        }
    }
    Ok(field)
}

/// The field that asks for heartbeats.
fn heartbeats(rpc: &MethodDescriptor, rest: &options::Rest) -> Result<Option<FieldDescriptor>> {
    let field = named(&rpc.input(), &rest.heartbeats, rpc.full_name(), Rule::Sse)?;
    if let Some(field) = &field {
        let bool = shape(field) == Shape::Implicit && matches!(kind(field)?, Kind::Scalar("bool"));
        if !bool || !rpc.is_server_streaming() || rest.sse_id.is_empty() {
            let detail = format!("`{}` must be a bool field of a server-streaming call with sse_id", field.name());
            return Err(Error::new(rpc.full_name(), Rule::Sse, detail));
        }
    }
    Ok(field)
}

fn path_field(input: &MessageDescriptor, path: &str, at: &str) -> Result<FieldPath> {
    let wrong = |what: String| Error::new(at, Rule::PathField, what);
    let mut message = input.clone();
    let mut fields = Vec::new();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message
            .get_field_by_name(name)
            .ok_or_else(|| wrong(format!("{} has no field `{name}`", message.full_name())))?;
        if !matches!(shape(&field), Shape::Implicit | Shape::Optional) {
            return Err(wrong(format!("`{path}` goes through a list, a map or a oneof")));
        }
        let of = kind(&field)?;
        fields.push(field);
        match (of, names.peek().is_some()) {
            (Kind::Message(next), true) => message = next,
            (Kind::Scalar(_) | Kind::Enum(_), false) => {}
            _ => return Err(wrong(format!("`{path}` is no scalar field"))),
        }
    }
    Ok(FieldPath(fields))
}

fn body(input: &MessageDescriptor, rule: &HttpRule, path: &[FieldPath], at: &str) -> Result<Body> {
    if rule.body.is_empty() {
        return Ok(Body::None);
    }
    if matches!(rule.method, "GET" | "DELETE") {
        return Err(Error::new(at, Rule::Body, format!("{} takes no body", rule.method)));
    }
    if rule.body == "*" {
        return Ok(Body::Message);
    }
    match named(input, &rule.body, at, Rule::Body)? {
        Some(field) if path.iter().all(|p| p.0.first() != Some(&field)) => Ok(Body::Field(field)),
        _ => Err(Error::new(at, Rule::Body, format!("`{}` is in the path and the body", rule.body))),
    }
}

/// The fields that neither path nor body gives, nested messages taken apart.
fn query(
    input: &MessageDescriptor,
    path: &[FieldPath],
    body: Option<&FieldDescriptor>,
    at: &str,
) -> Result<Vec<FieldPath>> {
    let mut found = Vec::new();
    for field in fields_in_order(input).into_iter().filter(|field| Some(field) != body) {
        descend(&mut found, &FieldPath(vec![field]), path, at)?;
    }
    Ok(found)
}

pub(crate) fn fields_in_order(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let by_name = |field: &prost_reflect::prost_types::FieldDescriptorProto| message.get_field_by_name(field.name());
    message.descriptor_proto().field.iter().filter_map(by_name).collect()
}

fn descend(found: &mut Vec<FieldPath>, here: &FieldPath, path: &[FieldPath], at: &str) -> Result<()> {
    let Some(field) = here.leaf() else { return Ok(()) };
    if path.iter().any(|bound| bound.proto() == here.proto()) {
        return Ok(());
    }
    let wrong =
        |what: &str| Error::new(at, Rule::Query, format!("query parameter `{}` {what}", json_path(&here.proto())));
    let shape = shape(field);
    if shape == Shape::Map {
        return Err(wrong("is a map"));
    }
    match kind(field)? {
        Kind::Scalar(_) | Kind::Enum(_) => found.push(here.clone()),
        Kind::Free(_) => return Err(wrong("has no form in a query")),
        Kind::Message(_) if matches!(shape, Shape::List | Shape::Oneof) => {
            return Err(wrong("is a repeated message, or one in a oneof"));
        }
        Kind::Message(of) => {
            if here.0.iter().any(|above| *above.parent_message() == of) {
                return Err(wrong("is a recursive message"));
            }
            for next in fields_in_order(&of) {
                let mut deeper = here.clone();
                deeper.0.push(next);
                descend(found, &deeper, path, at)?;
            }
        }
    }
    Ok(())
}
