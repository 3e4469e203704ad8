//! What the generator needs to know of a field: its JSON form and how prost holds it.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as Proto, MessageDescriptor, Syntax};

use crate::error::{Error, Result, Rule};
use crate::names;

/// The JSON form of one value.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Scalars, the well-known types that are strings in JSON, and wrappers: the runtime's method of that name.
    Scalar(&'static str),
    /// An enum of the proto.
    Enum(EnumDescriptor),
    /// A message of the proto.
    Message(MessageDescriptor),
    /// Struct, Value, ListValue, Empty: the runtime's method of that name.
    Free(&'static str),
}

/// How prost holds a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The bare value.
    Implicit,
    /// `Option`.
    Optional,
    /// A variant of the oneof's enum.
    Oneof,
    /// `Vec`.
    List,
    /// A map.
    Map,
}

pub(crate) fn shape(field: &FieldDescriptor) -> Shape {
    if field.is_map() {
        Shape::Map
    } else if field.is_list() {
        Shape::List
    } else if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
        Shape::Oneof
    } else if field.supports_presence() {
        Shape::Optional
    } else {
        Shape::Implicit
    }
}

/// The kind of a field's value, or of a list's element.
pub(crate) fn kind(field: &FieldDescriptor) -> Result<Kind> {
    if field.is_group() {
        return Err(Error::new(field.full_name(), Rule::Type, "groups have no JSON form here"));
    }
    Ok(match field.kind() {
        Proto::Double => Kind::Scalar("double"),
        Proto::Float => Kind::Scalar("float"),
        Proto::Int32 | Proto::Sint32 | Proto::Sfixed32 => Kind::Scalar("int32"),
        Proto::Int64 | Proto::Sint64 | Proto::Sfixed64 => Kind::Scalar("int64"),
        Proto::Uint32 | Proto::Fixed32 => Kind::Scalar("uint32"),
        Proto::Uint64 | Proto::Fixed64 => Kind::Scalar("uint64"),
        Proto::Bool => Kind::Scalar("bool"),
        Proto::String => Kind::Scalar("string"),
        Proto::Bytes => Kind::Scalar("bytes"),
        Proto::Enum(of) if of.full_name() == "google.protobuf.NullValue" => {
            return Err(Error::new(field.full_name(), Rule::Type, "google.protobuf.NullValue cannot be a field"));
        }
        Proto::Enum(of) => Kind::Enum(of),
        Proto::Message(of) => message_kind(&of, field.full_name())?,
    })
}

pub(crate) fn message_kind(message: &MessageDescriptor, at: &str) -> Result<Kind> {
    let wrapped = match message.full_name() {
        "google.protobuf.DoubleValue" => "double",
        "google.protobuf.FloatValue" => "float",
        "google.protobuf.Int32Value" => "int32",
        "google.protobuf.Int64Value" => "int64",
        "google.protobuf.UInt32Value" => "uint32",
        "google.protobuf.UInt64Value" => "uint64",
        "google.protobuf.BoolValue" => "bool",
        "google.protobuf.StringValue" => "string",
        "google.protobuf.BytesValue" => "bytes",
        "google.protobuf.Timestamp" => "timestamp",
        "google.protobuf.Duration" => "duration",
        "google.protobuf.FieldMask" => "field_mask",
        "google.protobuf.Empty" => return Ok(Kind::Free("empty")),
        "google.protobuf.Struct" => return Ok(Kind::Free("structure")),
        "google.protobuf.Value" => return Ok(Kind::Free("value")),
        "google.protobuf.ListValue" => return Ok(Kind::Free("list_value")),
        other if other.starts_with("google.protobuf.") || other == "google.api.HttpBody" => {
            return Err(Error::new(at, Rule::Type, format!("{other} has no static JSON form")));
        }
        _ if message.parent_file().syntax() != Syntax::Proto3 => {
            let detail = format!("{} is not proto3", message.full_name());
            return Err(Error::new(at, Rule::Proto3, detail));
        }
        _ => return Ok(Kind::Message(message.clone())),
    };
    Ok(Kind::Scalar(wrapped))
}

/// Where the Rust types of the packages are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modules(pub(crate) BTreeMap<String, String>);

impl Modules {
    /// The Rust module of a package.
    pub(crate) fn of(&self, package: &str, at: &str) -> Result<&str> {
        self.0
            .get(package)
            .map(String::as_str)
            .ok_or_else(|| Error::new(at, Rule::Module, format!("package `{package}` has no Rust module")))
    }

    /// The path of a message's or enum's Rust type.
    fn path(&self, full_name: &str, package: &str) -> Result<String> {
        let local = full_name.strip_prefix(package).unwrap_or(full_name).trim_start_matches('.');
        let mut path = self.of(package, full_name)?.to_owned();
        let mut parts = local.split('.').peekable();
        while let Some(part) = parts.next() {
            path.push_str("::");
            path.push_str(&if parts.peek().is_some() { names::snake(part) } else { names::camel(part) });
        }
        Ok(path)
    }

    /// The Rust type of a message.
    pub(crate) fn message(&self, message: &MessageDescriptor) -> Result<String> {
        match message_kind(message, message.full_name())? {
            Kind::Free("empty") => Ok("()".to_owned()),
            Kind::Message(of) => self.path(of.full_name(), of.package_name()),
            _ => Ok(format!("::rest_bridge::reexport::prost_types::{}", names::camel(message.name()))),
        }
    }

    /// The Rust type of the oneof that holds `field`.
    pub(crate) fn oneof(&self, field: &FieldDescriptor) -> Result<String> {
        let message = field.parent_message();
        let path = self.path(message.full_name(), message.package_name())?;
        let module = path.rsplit_once("::").map_or("", |(module, _)| module);
        let name = field.containing_oneof().map(|oneof| oneof.name().to_owned()).unwrap_or_default();
        let clash = |nested: &str| names::camel(nested) == names::camel(&name);
        let suffix =
            if message.child_messages().any(|m| clash(m.name())) || message.child_enums().any(|e| clash(e.name())) {
                "OneOf"
            } else {
                ""
            };
        Ok(format!("{module}::{}::{}{suffix}", names::snake(message.name()), names::camel(&name)))
    }
}

/// The name of the oneof that holds `field`, as prost's field.
pub(crate) fn oneof_field(field: &FieldDescriptor) -> String {
    names::snake(field.containing_oneof().map(|oneof| oneof.name().to_owned()).unwrap_or_default().as_str())
}

/// The zero value means "not given": it is named `…_UNSPECIFIED`.
pub(crate) fn has_unspecified(of: &EnumDescriptor) -> bool {
    of.get_value(0).is_some_and(|value| is_unspecified(value.name()))
}

pub(crate) fn is_unspecified(name: &str) -> bool {
    name == "UNSPECIFIED" || name.ends_with("_UNSPECIFIED")
}
