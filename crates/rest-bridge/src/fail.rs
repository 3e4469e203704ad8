//! Why a body, a path or a query does not decode: the field's path, a stable reason, a sentence.

use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// What is wrong with one field. The names are what clients see as an error's `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A JSON member that the message does not have, or that its path parameter already gives.
    UnknownField,
    /// A JSON member, or a query parameter that is no list, given twice.
    DuplicateField,
    /// JSON of another type than the field's.
    InvalidType,
    /// The right type, but a value that the field cannot have.
    InvalidValue,
    /// A query parameter that the call does not have.
    UnknownParameter,
    /// Not JSON (RFC 8259), or nested deeper than [`crate::json::MAX_DEPTH`].
    MalformedJson,
}

impl Reason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::DuplicateField => "DUPLICATE_FIELD",
            Self::InvalidType => "INVALID_TYPE",
            Self::InvalidValue => "INVALID_VALUE",
            Self::UnknownParameter => "UNKNOWN_PARAMETER",
            Self::MalformedJson => "MALFORMED_JSON",
        }
    }
}

/// The first thing that does not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail {
    /// Path of the field in lowerCamelCase, as `billingAddress.city` or `types[1]`; empty for the whole body.
    pub path: String,
    /// The kind of fault.
    pub reason: Reason,
    /// A sentence for people.
    pub description: String,
}

/// Boxed, so that the way without an error stays small.
pub type Result<T> = std::result::Result<T, Box<Fail>>;

impl Fail {
    /// A fault of the value being read; the callers add its path on the way up.
    #[cold]
    #[must_use]
    pub fn new(reason: Reason, description: impl Into<String>) -> Box<Self> {
        Box::new(Self { path: String::new(), reason, description: description.into() })
    }

    /// A JSON member that the message does not have; `known` are those that it has.
    #[cold]
    #[must_use]
    pub fn unknown_field<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Box<Self> {
        let known: Vec<_> = known.into_iter().collect();
        let description = match known[..] {
            [] => "this object has no fields".to_owned(),
            _ => format!("this field is not known here; known are {}", known.join(", ")),
        };
        Self::new(Reason::UnknownField, description).below(name)
    }

    /// A query parameter that the call does not have; `known` are those that it has.
    #[cold]
    #[must_use]
    pub fn unknown_parameter(name: &str, known: &[&str]) -> Box<Self> {
        let description = match known {
            [] => "this call takes no query parameters".to_owned(),
            _ => format!("this query parameter is not known here; known are {}", known.join(", ")),
        };
        Self::new(Reason::UnknownParameter, description).below(name)
    }

    /// A second member of a oneof.
    #[cold]
    #[must_use]
    pub fn oneof(members: &str) -> Box<Self> {
        Self::new(Reason::InvalidValue, format!("only one of {members} may be given"))
    }

    /// The same fault, seen from the message or list that holds the value.
    #[cold]
    #[must_use]
    pub fn below(mut self: Box<Self>, name: &str) -> Box<Self> {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// `INVALID_ARGUMENT` with `ErrorInfo` (`VALIDATION_FAILED`) and one `BadRequest` violation.
    #[must_use]
    pub fn into_status(self, domain: &str) -> tonic::Status {
        let message = if self.path.is_empty() {
            self.description.clone()
        } else {
            format!("{}: {}", self.path, self.description)
        };
        let mut details = ErrorDetails::new();
        details.set_error_info("VALIDATION_FAILED", domain, std::collections::HashMap::new());
        details.set_bad_request(vec![FieldViolation {
            field: self.path,
            description: self.description,
            reason: self.reason.as_str().to_owned(),
            localized_message: None,
        }]);
        tonic::Status::with_error_details(tonic::Code::InvalidArgument, message, details)
    }
}

/// The `ErrorInfo` domain of what the bridge itself refuses.
const DOMAIN: &str = "rest-bridge";

/// The status of a call, as its caller sees it: a response that does not decode is not the caller's fault.
pub(crate) fn of_call(status: tonic::Status) -> tonic::Status {
    match status.get_details_error_info() {
        Some(info) if info.domain == DOMAIN => tonic::Status::internal("the response is not a message of its type"),
        _ => status,
    }
}

/// A status that carries only an `ErrorInfo`: what the bridge itself refuses.
pub(crate) fn refusal(code: tonic::Code, reason: &str, message: &str) -> tonic::Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, std::collections::HashMap::new());
    tonic::Status::with_error_details(code, message, details)
}

/// Adds the field's name to a fault on its way up.
pub trait At {
    /// Puts `name` before the path of the error.
    ///
    /// # Errors
    /// The same error with the longer path.
    fn at(self, name: &str) -> Self;
}

impl<T> At for Result<T> {
    fn at(self, name: &str) -> Self {
        self.map_err(|fail| fail.below(name))
    }
}
