//! Component identifiers (RFC 9421 §2): those implemented in full, and nothing else.

use http::HeaderName;
use sfv::{BareItemFromInput, ItemSerializer, KeyRef, StringRef};

use super::Error;

/// What a component names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    TargetUri,
    RequestTarget,
    /// The parameter's name as in `name="…"`: percent-encoded.
    QueryParam(String),
    Field(HeaderName),
}

/// A component, with its identifier serialised as it stands in the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) name: Name,
    pub(super) identifier: String,
}

pub(super) type Params<'de> = Vec<(&'de KeyRef, BareItemFromInput<'de>)>;

impl Component {
    /// Reads one member of the inner list. Any parameter but `@query-param`'s `name` changes what the component means
    /// (`;req` is another message's, `;bs`, `;sf`, `;key`, `;tr` another value), so it is refused, never ignored.
    pub(super) fn new(name: &StringRef, params: &Params<'_>) -> Result<Self, Error> {
        let identifier = params
            .iter()
            .fold(ItemSerializer::new().bare_item(name), |out, (key, value)| out.parameter(key, value))
            .finish();
        let refused = |reason| Err(Error::component(&identifier, reason));
        let name = match (name.as_str(), params.as_slice()) {
            ("@query-param", [(key, BareItemFromInput::String(parameter))]) if key.as_str() == "name" => {
                Name::QueryParam(parameter.as_str().to_owned())
            }
            ("@query-param", _) => return refused("needs exactly the parameter name=\"…\""),
            (_, [_, ..]) => return refused("component parameters are not supported"),
            ("@method", _) => Name::Method,
            ("@scheme", _) => Name::Scheme,
            ("@authority", _) => Name::Authority,
            ("@path", _) => Name::Path,
            ("@query", _) => Name::Query,
            ("@target-uri", _) => Name::TargetUri,
            ("@request-target", _) => Name::RequestTarget,
            (other, _) if other.starts_with('@') => {
                return refused("is not a component of a request that is supported");
            }
            (field, _) => match HeaderName::from_bytes(field.as_bytes()) {
                Ok(name) if name.as_str() == field => Name::Field(name),
                _ => return refused("is not a header name in lower case"),
            },
        };
        Ok(Self { name, identifier })
    }
}
