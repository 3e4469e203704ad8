//! `Signature-Input` and `Signature` (RFC 9421 §4): dictionaries whose duplicates are refused.
//!
//! sfv lets the last of two equal keys win, as RFC 9651 asks of a generic parser. Here that would let one reader check
//! one signature and another reader another, so visitors look at every entry as it is parsed.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, Never, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, ListSerializer, Parser, StringRef};

use super::Error;
use super::component::Params;

/// More signatures than anybody sends, few enough to verify: each costs up to 0.2 ms.
const MAX_SIGNATURES: usize = 8;
/// Bounds the search for duplicates.
const MAX_COMPONENTS: usize = 64;
const MAX_PARAMETERS: usize = 32;

/// One member of `Signature-Input`.
pub(super) struct Input<'de> {
    pub(super) label: &'de str,
    pub(super) components: Vec<(Cow<'de, StringRef>, Params<'de>)>,
    pub(super) params: Params<'de>,
}

impl Input<'_> {
    /// The value of `"@signature-params"`: the inner list in the order received, serialised as RFC 9421 §2.3 and §3.2
    /// say. For what clients send that is the received text to the byte; optional white space is not part of it.
    pub(super) fn serialised(&self) -> String {
        let mut out = ListSerializer::new();
        let mut list = out.inner_list();
        for (name, params) in &self.components {
            let mut item = list.bare_item(&**name);
            for (key, value) in params {
                item = item.parameter(key, value);
            }
        }
        let mut end = list.finish();
        for (key, value) in &self.params {
            end = end.parameter(key, value);
        }
        out.finish().unwrap_or_default()
    }
}

/// A field's lines joined as one (RFC 9110 §5.3).
pub(super) fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let mut all = Cow::Borrowed(first);
    for line in lines {
        let all = all.to_mut();
        all.extend_from_slice(b", ");
        all.extend_from_slice(line.as_bytes());
    }
    Some(all)
}

/// Reads `Signature-Input`.
pub(super) fn inputs(text: &[u8]) -> Result<Vec<Input<'_>>, Error> {
    Parser::new(text)
        .parse_dictionary_with_visitor(Inputs(Vec::new()))
        .map_err(|e| Error::Malformed(format!("Signature-Input: {e}")))
}

/// Reads `Signature`: label and bytes.
pub(super) fn signatures(text: &[u8]) -> Result<Vec<(&str, Vec<u8>)>, Error> {
    Parser::new(text)
        .parse_dictionary_with_visitor(Signatures(Vec::new()))
        .map_err(|e| Error::Malformed(format!("Signature: {e}")))
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the label {0:?} appears twice")]
    Label(String),
    #[error("more than {MAX_SIGNATURES} signatures")]
    Signatures,
    #[error("the label {0:?} must hold a list in parentheses, e.g. sig=(\"@method\");created=1;keyid=\"k\"")]
    NotList(String),
    #[error("the label {0:?} must hold a byte sequence between colons, e.g. sig=:…:")]
    NotBytes(String),
    #[error("a covered component must be a string in double quotes")]
    NotString,
    #[error("more than {MAX_COMPONENTS} covered components")]
    Components,
    #[error("the component {0} is covered twice")]
    Component(String),
    #[error("the parameter {0:?} appears twice")]
    Parameter(String),
    #[error("more than {MAX_PARAMETERS} parameters")]
    Parameters,
}

struct Inputs<'de>(Vec<Input<'de>>);

impl<'de> DictionaryVisitor<'de> for Inputs<'de> {
    type Out = Vec<Input<'de>>;
    type Error = Fault;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Fault> {
        let label = key.as_str();
        if self.0.iter().any(|known| known.label == label) {
            return Err(Fault::Label(label.to_owned()));
        }
        if self.0.len() == MAX_SIGNATURES {
            return Err(Fault::Signatures);
        }
        Ok(OneInput {
            all: &mut self.0,
            this: Input { label, components: Vec::with_capacity(8), params: Vec::with_capacity(4) },
        })
    }

    fn finish(self) -> Result<Self::Out, Fault> {
        Ok(self.0)
    }
}

struct OneInput<'a, 'de> {
    all: &'a mut Vec<Input<'de>>,
    this: Input<'de>,
}

impl<'de> EntryVisitor<'de> for OneInput<'_, 'de> {
    type Error = Fault;

    fn item(self) -> Result<impl ItemVisitor<'de>, Fault> {
        Err::<Never, _>(Fault::NotList(self.this.label.to_owned()))
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Fault> {
        Ok(self)
    }
}

impl<'de> InnerListVisitor<'de> for OneInput<'_, 'de> {
    type Error = Fault;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Fault> {
        if self.this.components.len() == MAX_COMPONENTS {
            return Err(Fault::Components);
        }
        Ok(OneComponent(&mut self.this.components))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Fault> {
        Ok(self)
    }
}

/// The signature's own parameters.
impl<'de> ParameterVisitor<'de> for OneInput<'_, 'de> {
    type Out = ();
    type Error = Fault;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Fault> {
        push(&mut self.this.params, key, value)
    }

    fn finish(self) -> Result<(), Fault> {
        self.all.push(self.this);
        Ok(())
    }
}

/// One more component, then its parameters. Two are the same only if their parameters are too (RFC 9421 §2).
struct OneComponent<'a, 'de>(&'a mut Vec<(Cow<'de, StringRef>, Params<'de>)>);

impl<'de> ItemVisitor<'de> for OneComponent<'_, 'de> {
    type Out = ();
    type Error = Fault;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Fault> {
        let BareItemFromInput::String(name) = item else { return Err(Fault::NotString) };
        self.0.push((name, Vec::new()));
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for OneComponent<'_, 'de> {
    type Out = ();
    type Error = Fault;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Fault> {
        self.0.last_mut().map_or(Ok(()), |(_, params)| push(params, key, value))
    }

    fn finish(self) -> Result<(), Fault> {
        match self.0.split_last() {
            Some((last, others)) if others.contains(last) => Err(Fault::Component(format!("{:?}", last.0.as_str()))),
            _ => Ok(()),
        }
    }
}

fn push<'de>(params: &mut Params<'de>, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Fault> {
    if params.iter().any(|(known, _)| *known == key) {
        return Err(Fault::Parameter(key.as_str().to_owned()));
    }
    if params.len() == MAX_PARAMETERS {
        return Err(Fault::Parameters);
    }
    params.push((key, value));
    Ok(())
}

struct Signatures<'de>(Vec<(&'de str, Vec<u8>)>);

impl<'de> DictionaryVisitor<'de> for Signatures<'de> {
    type Out = Vec<(&'de str, Vec<u8>)>;
    type Error = Fault;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Fault> {
        let label = key.as_str();
        if self.0.iter().any(|(known, _)| *known == label) {
            return Err(Fault::Label(label.to_owned()));
        }
        if self.0.len() == MAX_SIGNATURES {
            return Err(Fault::Signatures);
        }
        Ok(OneSignature { label, out: &mut self.0 })
    }

    fn finish(self) -> Result<Self::Out, Fault> {
        Ok(self.0)
    }
}

struct OneSignature<'a, 'de> {
    label: &'de str,
    out: &'a mut Vec<(&'de str, Vec<u8>)>,
}

impl<'de> EntryVisitor<'de> for OneSignature<'_, 'de> {
    type Error = Fault;

    fn item(self) -> Result<impl ItemVisitor<'de>, Fault> {
        Ok(move |item: BareItemFromInput<'de>| {
            let BareItemFromInput::ByteSequence(bytes) = item else {
                return Err(Fault::NotBytes(self.label.to_owned()));
            };
            self.out.push((self.label, bytes));
            Ok(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Fault> {
        Err::<Never, _>(Fault::NotBytes(self.label.to_owned()))
    }
}
