//! Why a proto cannot be served.

/// The rule that a proto breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The descriptors cannot be read.
    Descriptors,
    /// A package has no Rust module ([`crate::Generator::module`]).
    Module,
    /// Only proto3 messages have a JSON form here.
    Proto3,
    /// A type without a static JSON form: `Any`, `NullValue` as a field, `HttpBody`, groups.
    Type,
    /// Two values of an enum have the same lower-case name.
    EnumNames,
    /// A streaming request cannot be an HTTP request body.
    ClientStreaming,
    /// The path template breaks the grammar of google/api/http.proto, or has `**` before its end.
    Template,
    /// A path variable must be a singular scalar or enum field outside any oneof, named once.
    PathField,
    /// `GET` and `DELETE` take no body; a body names an existing field that is not in the path.
    Body,
    /// A query parameter must be a scalar, an enum or a list of these: no maps, no repeated or recursive messages.
    Query,
    /// `response_body` names a field of the response.
    ResponseBody,
    /// Success is 200, 201, 202 or 204; 204 needs an empty response; streams succeed with 200.
    SuccessStatus,
    /// `sse_id` and `sse_resume` name string fields of a server-streaming call, `heartbeats` a bool field of one with `sse_id`.
    Sse,
    /// A method and path may have one unary and one streaming call.
    Duplicate,
    /// `custom` methods and nested `additional_bindings` are not served.
    Binding,
}

/// A proto that cannot be served: where, which rule, and what exactly.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{at}: {detail} [rule: {rule:?}]")]
pub struct Error {
    /// Full name of the method, message or enum.
    pub at: String,
    /// The rule.
    pub rule: Rule,
    /// What is wrong.
    pub detail: String,
}

impl Error {
    pub(crate) fn new(at: &str, rule: Rule, detail: impl Into<String>) -> Self {
        Self { at: at.to_owned(), rule, detail: detail.into() }
    }

    /// The same error, naming the method that brought it up.
    pub(crate) fn through(mut self, method: &str) -> Self {
        if self.at != method {
            self.detail = format!("{} (through {method})", self.detail);
        }
        self
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;
