//! Emits, for each binding, the decoder of its request message and the encoder of its response.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::codec::{Codecs, value_of};
use crate::error::Result;
use crate::model::{Kind, Shape, kind, shape};
use crate::names;
use crate::routes::{Binding, Body, FieldPath};

/// `fn decode_N`.
pub(crate) fn decoder(codecs: &Codecs<'_>, index: usize, binding: &Binding) -> Result<String> {
    let request = codecs.modules.message(&binding.rpc.input())?;
    let mut out = format!("fn decode_{index}(input: &Input<'_>, m: &mut {request}) -> Result<()> {{");
    match &binding.body {
        Body::None => out.push_str("input.no_body()?;"),
        Body::Message => {
            let of = crate::model::message_kind(&binding.rpc.input(), binding.rpc.full_name())?;
            let _ = match of {
                Kind::Message(_) => {
                    let read = codecs.read_root(&binding.rpc.input());
                    match quoted(&binding.path) {
                        in_path if in_path.is_empty() => write!(out, "input.body(|r| {{ {read} Ok(()) }})?;"),
                        in_path => write!(out, "input.body_beside(&[{in_path}], |r| {{ {read} Ok(()) }})?;"),
                    }
                }
                other => write!(out, "input.body(|r| {{ *m = {}; Ok(()) }})?;", codecs.read(&other)),
            };
        }
        Body::Field(field) => {
            let read = codecs.read_field(field)?;
            let _ = write!(out, "input.body(|r| {{ if !r.null()? {{ {read} }} Ok(()) }})?;");
        }
    }
    for (position, path) in binding.path.iter().enumerate() {
        out.push_str(&path_parameter(codecs, binding, position, path)?);
    }
    out.push_str(&query(codecs, binding)?);
    if let Some(field) = &binding.sse_resume {
        let assign = codecs.assign("m", field, "id.to_owned()")?;
        let _ = write!(out, "if let Some(id) = input.last_event_id() {{ {assign} }}");
    }
    if let Some(field) = &binding.heartbeats {
        let _ = write!(out, "m.{} = true;", names::snake(field.name()));
    }
    out.push_str("Ok(()) }");
    Ok(out)
}

/// The JSON names of the fields, as a list of literals.
fn quoted(paths: &[FieldPath]) -> String {
    paths.iter().map(|path| format!("{:?}", path.json())).collect::<Vec<_>>().join(", ")
}

/// The place of the message that holds the last field of a path.
fn place(path: &FieldPath) -> String {
    let mut place = "m".to_owned();
    for field in path.0.iter().rev().skip(1).rev() {
        let _ = write!(place, ".{}.get_or_insert_with(Default::default)", names::snake(field.name()));
    }
    place
}

/// The expression that says whether the field at the end of a path is as `Default` leaves it.
fn unset(path: &FieldPath) -> String {
    let mut value = "&*m".to_owned();
    let mut unset = String::new();
    for (at, field) in path.0.iter().enumerate() {
        let name = names::snake(field.name());
        if at + 1 < path.0.len() {
            let _ = write!(unset, "({value}).{name}.as_ref().is_none_or(|v| ");
            value = "v".to_owned();
        } else {
            let test = match (shape(field), kind(field)) {
                (Shape::Implicit, Ok(Kind::Scalar("string" | "bytes"))) => "is_empty()",
                (Shape::Implicit, Ok(Kind::Scalar("bool"))) => "eq(&false)",
                (Shape::Implicit, Ok(Kind::Scalar("double" | "float"))) => "eq(&0.0)",
                (Shape::Implicit, _) => "eq(&0)",
                _ => "is_none()",
            };
            let _ = write!(unset, "({value}).{name}.{test}");
        }
    }
    unset.push_str(&")".repeat(path.0.len().saturating_sub(1)));
    unset
}

fn path_parameter(codecs: &Codecs<'_>, binding: &Binding, position: usize, path: &FieldPath) -> Result<String> {
    let Some(field) = path.leaf() else { return Ok(String::new()) };
    let json = path.json();
    let mut out = String::new();
    if matches!(binding.body, Body::Message) {
        let _ = write!(out, "input.only_in_path({}, {json:?})?;", unset(path));
    }
    let value = codecs.parse(&kind(field)?);
    let assign =
        codecs.assign(&place(path), field, &format!("input.path({position}, {json:?}, |text| Ok({value}))?"))?;
    out.push_str(&assign);
    Ok(out)
}

fn query(codecs: &Codecs<'_>, binding: &Binding) -> Result<String> {
    if binding.query.is_empty() {
        return Ok("input.no_query()?;".to_owned());
    }
    let words = binding.query.len().div_ceil(64);
    let mut out = format!("let mut seen = Seen::<{words}>::default(); input.query(|name, text| {{ match name {{");
    for (index, path) in binding.query.iter().enumerate() {
        let Some(field) = path.leaf() else { continue };
        let spellings: BTreeSet<String> = [path.json(), path.proto()].map(|n| format!("{n:?}")).into();
        let spellings = spellings.into_iter().collect::<Vec<_>>().join(" | ");
        let once = if shape(field) == Shape::List { String::new() } else { format!("seen.mark({index})?;") };
        let assign = codecs.assign(&place(path), field, &codecs.parse(&kind(&value_of(field))?))?;
        let _ = write!(out, "{spellings} => (|| -> Result<()> {{ {once} {assign} Ok(()) }})().at({:?}),", path.json());
    }
    let _ = write!(out, "_ => Err(Fail::unknown_parameter(name, &[{}])), }} }})?;", quoted(&binding.query));
    Ok(out)
}

/// The expression of the encoder, and a function for it if it needs one.
pub(crate) fn encoder(codecs: &Codecs<'_>, index: usize, binding: &Binding) -> Result<(String, String)> {
    let output = binding.rpc.output();
    let response = codecs.modules.message(&output)?;
    let body = match &binding.response_body {
        Some(field) => codecs.write_alone(field)?,
        None => match crate::model::message_kind(&output, binding.rpc.full_name())? {
            Kind::Message(_) => return Ok((codecs.writer_of(&output), String::new())),
            other => codecs.write(&other, "*m"),
        },
    };
    Ok((format!("encode_{index}"), format!("fn encode_{index}(w: &mut Writer, m: &{response}) {{ {body}; }}")))
}
