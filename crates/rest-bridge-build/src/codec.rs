//! Emits one reader and one writer for each message and the name tables of each enum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Proto, MessageDescriptor};

use crate::error::{Error, Result, Rule};
use crate::model::{self, Kind, Modules, Shape, has_unspecified, is_unspecified, kind, oneof_field, shape};
use crate::names;
use crate::options;
use crate::routes::fields_in_order;

/// Emits codecs, remembering which are wanted.
pub(crate) struct Codecs<'a> {
    pub(crate) modules: &'a Modules,
    /// Full name to the name of its functions.
    names: BTreeMap<String, String>,
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl<'a> Codecs<'a> {
    pub(crate) fn new(pool: &DescriptorPool, modules: &'a Modules) -> Self {
        let messages = pool.all_messages().map(|m| (m.full_name().to_owned(), m.package_name().to_owned()));
        let enums = pool.all_enums().map(|e| (e.full_name().to_owned(), e.package_name().to_owned()));
        let all: Vec<(String, String)> =
            messages.chain(enums).filter(|(_, package)| modules.0.contains_key(package)).collect();
        let short = |(full, package): &(String, String)| {
            names::plain_snake(full.strip_prefix(package.as_str()).unwrap_or(full))
        };
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for item in &all {
            *uses.entry(short(item)).or_default() += 1;
        }
        let name = |item: &(String, String)| {
            let short = short(item);
            if uses.get(&short) == Some(&1) { short } else { names::plain_snake(&item.0) }
        };
        let names = all.iter().map(|item| (item.0.clone(), name(item))).collect();
        Self { modules, names, messages: BTreeMap::new(), enums: BTreeMap::new() }
    }

    fn name(&self, full_name: &str) -> String {
        self.names.get(full_name).cloned().unwrap_or_else(|| names::plain_snake(full_name))
    }

    /// Wants the codecs of a message and all it holds.
    pub(crate) fn want(&mut self, message: &MessageDescriptor) -> Result<()> {
        let Kind::Message(message) = model::message_kind(message, message.full_name())? else { return Ok(()) };
        if self.messages.insert(message.full_name().to_owned(), message.clone()).is_some() {
            return Ok(());
        }
        for field in message.fields() {
            self.want_value(&value_of(&field))?;
        }
        Ok(())
    }

    /// Wants what a field's value needs.
    pub(crate) fn want_value(&mut self, field: &FieldDescriptor) -> Result<()> {
        match kind(field)? {
            Kind::Message(of) => self.want(&of)?,
            Kind::Enum(of) => {
                self.enums.insert(of.full_name().to_owned(), of);
            }
            Kind::Scalar(_) | Kind::Free(_) => {}
        }
        Ok(())
    }

    /// The expression that reads a value from `r`.
    pub(crate) fn read(&self, kind: &Kind) -> String {
        match kind {
            Kind::Scalar("bytes") => "r.bytes()?.into()".to_owned(),
            Kind::Scalar(name) | Kind::Free(name) => format!("r.{name}()?"),
            Kind::Enum(of) => format!("r.enumeration(json::{}_VALUES)?", self.name(of.full_name()).to_uppercase()),
            Kind::Message(of) => {
                let name = self.name(of.full_name());
                format!("{{ let mut v = Default::default(); json::read_{name}(r, &mut v)?; v }}")
            }
        }
    }

    /// The statement that reads the message `m` from `r`.
    pub(crate) fn read_root(&self, message: &MessageDescriptor) -> String {
        format!("json::read_{}(r, m)?;", self.name(message.full_name()))
    }

    /// The writer of a message.
    pub(crate) fn writer_of(&self, message: &MessageDescriptor) -> String {
        format!("json::write_{}", self.name(message.full_name()))
    }

    /// The expression that parses a value from the string `text`.
    pub(crate) fn parse(&self, kind: &Kind) -> String {
        match kind {
            Kind::Scalar("bytes") => "query::bytes(text)?.into()".to_owned(),
            Kind::Scalar(name) | Kind::Free(name) => format!("query::{name}(text)?"),
            Kind::Enum(of) => format!("enumeration(text, json::{}_VALUES)?", self.name(of.full_name()).to_uppercase()),
            Kind::Message(_) => "Default::default()".to_owned(),
        }
    }

    /// The statement that sets `field` of the message at `place` to a value given as an expression.
    pub(crate) fn assign(&self, place: &str, field: &FieldDescriptor, value: &str) -> Result<String> {
        let name = names::snake(field.name());
        let into = if matches!(kind(field)?, Kind::Message(_)) { ".into()" } else { "" };
        Ok(match shape(field) {
            Shape::Implicit => format!("{place}.{name} = {value};"),
            Shape::Optional => format!("{place}.{name} = Some({value}{into});"),
            Shape::List => format!("{place}.{name}.push({value});"),
            Shape::Map => String::new(),
            Shape::Oneof => {
                let oneof = oneof_field(field);
                let members: Vec<String> = field
                    .containing_oneof()
                    .iter()
                    .flat_map(|o| o.fields().map(|f| f.json_name().to_owned()).collect::<Vec<_>>())
                    .collect();
                format!(
                    "if {place}.{oneof}.is_some() {{ return Err(Fail::oneof(\"{}\")); }} {place}.{oneof} = Some({}::{}({value}{into}));",
                    members.join(", "),
                    self.modules.oneof(field)?,
                    names::camel(field.name()),
                )
            }
        })
    }

    /// The statement that reads `field` of `m` from `r`.
    pub(crate) fn read_field(&self, field: &FieldDescriptor) -> Result<String> {
        let name = names::snake(field.name());
        let of = kind(&value_of(field))?;
        let value = if shape(field) == Shape::Map { String::new() } else { self.read(&of) };
        Ok(match (shape(field), &of) {
            (Shape::List, _) => {
                format!("r.array(|r| {{ m.{name}.push({value}); Ok(()) }})?;")
            }
            (Shape::Map, _) => {
                let key = match map_key(field) {
                    "string" => "k.to_owned()".to_owned(),
                    scalar => format!("query::{scalar}(k)?"),
                };
                format!("r.entries(|r, k| {{ let v = {}; Ok(m.{name}.insert({key}, v).is_some()) }})?;", self.read(&of))
            }
            (Shape::Optional, Kind::Message(of)) => {
                format!("json::read_{}(r, m.{name}.get_or_insert_with(Default::default))?;", self.name(of.full_name()))
            }
            _ => self.assign("m", field, &value)?,
        })
    }

    /// The expression that writes the value at `place` (`m.x`, or `*v`).
    pub(crate) fn write(&self, kind: &Kind, place: &str) -> String {
        let by_ref = place.strip_prefix('*').map_or_else(|| format!("&{place}"), str::to_owned);
        match kind {
            Kind::Scalar(name @ ("string" | "bytes" | "timestamp" | "duration" | "field_mask")) => {
                format!("w.{name}({by_ref})")
            }
            Kind::Scalar(name) => format!("w.{name}({place})"),
            Kind::Free("empty") => "w.empty()".to_owned(),
            Kind::Free(name) => format!("w.{name}({by_ref})"),
            Kind::Enum(of) => format!("w.enumeration({place}, json::name_{}({place}))", self.name(of.full_name())),
            Kind::Message(of) => format!("json::write_{}(w, {by_ref})", self.name(of.full_name())),
        }
    }

    /// The expression that writes the whole value of `field` of `m`, `null` when it is unset.
    pub(crate) fn write_alone(&self, field: &FieldDescriptor) -> Result<String> {
        let name = names::snake(field.name());
        let of = kind(&value_of(field))?;
        Ok(match shape(field) {
            Shape::Implicit => self.write(&of, &format!("m.{name}")),
            Shape::Optional => format!("match &m.{name} {{ Some(v) => {}, None => w.null() }}", self.write(&of, "*v")),
            Shape::List => format!("w.array(&m.{name}, |w, v| {})", self.write(&of, "*v")),
            Shape::Map => format!("w.map(&m.{name}, |w, v| {})", self.write(&of, "*v")),
            Shape::Oneof => format!(
                "match &m.{} {{ Some({}::{}(v)) => {}, _ => w.null() }}",
                oneof_field(field),
                self.modules.oneof(field)?,
                names::camel(field.name()),
                self.write(&of, "*v")
            ),
        })
    }

    /// The statement that writes `field` of `m` as a member, if it is to be written.
    fn write_member(&self, field: &FieldDescriptor) -> Result<String> {
        let name = names::snake(field.name());
        let key = format!("w.key({:?});", format!("\"{}\":", field.json_name()));
        let of = kind(&value_of(field))?;
        let guarded = matches!(&of, Kind::Enum(of) if has_unspecified(of));
        let value = self.write(&of, "*v");
        Ok(match shape(field) {
            Shape::Implicit if guarded => format!("if m.{name} != 0 {{ {key} {}; }}", self.write_alone(field)?),
            Shape::List if options::omit_empty(field) => {
                format!("if !m.{name}.is_empty() {{ {key} {}; }}", self.write_alone(field)?)
            }
            Shape::Implicit | Shape::List | Shape::Map => format!("{key} {};", self.write_alone(field)?),
            Shape::Optional if guarded => {
                format!("if let Some(v) = m.{name}.as_ref().filter(|v| **v != 0) {{ {key} {value}; }}")
            }
            Shape::Optional => format!("if let Some(v) = &m.{name} {{ {key} {value}; }}"),
            Shape::Oneof => format!(
                "if let Some({}::{}(v)) = &m.{} {{ {} {key} {value}; {} }}",
                self.modules.oneof(field)?,
                names::camel(field.name()),
                oneof_field(field),
                if guarded { "if *v != 0 {" } else { "" },
                if guarded { "}" } else { "" },
            ),
        })
    }

    /// The module `json`: all that was wanted.
    pub(crate) fn emit(&self) -> Result<String> {
        let mut out = String::from(
            "/// The JSON codecs of the messages.\npub mod json { use super::json; use ::rest_bridge::fail::{At as _, Fail, Result}; use ::rest_bridge::json::{Reader, Seen, Writer, enumeration, query};",
        );
        for message in self.messages.values() {
            self.message(&mut out, message)?;
        }
        for of in self.enums.values() {
            self.enumeration(&mut out, of)?;
        }
        out.push('}');
        Ok(out)
    }

    fn message(&self, out: &mut String, message: &MessageDescriptor) -> Result<()> {
        let (name, path) = (self.name(message.full_name()), self.modules.message(message)?);
        let fields = fields_in_order(message);
        let words = fields.len().div_ceil(64).max(1);
        let _ = write!(
            out,
            "/// Reads a `{full}`.\npub fn read_{name}(r: &mut Reader<'_>, m: &mut {path}) -> Result<()> {{ let mut seen = Seen::<{words}>::default(); r.begin_object()?; while let Some(key) = r.key()? {{ match &*key {{",
            full = message.full_name()
        );
        for (index, field) in fields.iter().enumerate() {
            let spellings: BTreeSet<String> = [field.json_name(), field.name()].map(|n| format!("{n:?}")).into();
            let spellings = spellings.into_iter().collect::<Vec<_>>().join(" | ");
            let read = self.read_field(field)?;
            // `null` is a value of google.protobuf.Value; to all else it means unset.
            let nullable = matches!(
                (shape(field), kind(&value_of(field))?),
                (Shape::Optional | Shape::Oneof, Kind::Free("value"))
            );
            let call = if nullable {
                format!("seen.mark({index}).and_then(|()| {{ {read} Ok(()) }})")
            } else {
                format!("seen.field(r, {index}, |r| {{ {read} Ok(()) }})")
            };
            let _ = write!(out, "{spellings} => {call}.at({:?})?,", field.json_name());
        }
        let known: Vec<_> = fields.iter().map(|field| format!("{:?}", field.json_name())).collect();
        let _ = write!(out, "_ => return Err(r.unknown(&key, &[{}])), }} }} Ok(()) }}", known.join(", "));
        let _ = write!(
            out,
            "/// Writes a `{full}`.\npub fn write_{name}(w: &mut Writer, m: &{path}) {{ w.begin_object();",
            full = message.full_name()
        );
        for field in &fields {
            out.push_str(&self.write_member(field)?);
        }
        out.push_str("w.end_object(); }");
        Ok(())
    }

    fn enumeration(&self, out: &mut String, of: &EnumDescriptor) -> Result<()> {
        let name = self.name(of.full_name());
        let mut values = String::new();
        let mut arms = String::new();
        let (mut texts, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for value in of.values() {
            let (text, number) = (names::enum_value(of.name(), value.name()), value.number());
            if !texts.insert(text.clone()) {
                let detail = format!("two values are `{text}` in lower case");
                return Err(Error::new(of.full_name(), Rule::EnumNames, detail));
            }
            if !(number == 0 && is_unspecified(value.name())) {
                let _ = write!(values, "({text:?}, {number}),");
            }
            if numbers.insert(number) {
                let _ = write!(arms, "{number} => Some({text:?}),");
            }
        }
        let _ = write!(
            out,
            "/// The values of `{full}` that a request may name.\npub const {upper}_VALUES: &[(&str, i32)] = &[{values}]; /// The name of a value of `{full}`.\npub const fn name_{name}(value: i32) -> Option<&'static str> {{ match value {{ {arms} _ => None }} }}",
            full = of.full_name(),
            upper = name.to_uppercase(),
        );
        Ok(())
    }
}

/// The field that holds the values: the entry's for a map, itself for all else.
pub(crate) fn value_of(field: &FieldDescriptor) -> FieldDescriptor {
    match field.kind() {
        Proto::Message(entry) if field.is_map() => entry.map_entry_value_field(),
        _ => field.clone(),
    }
}

fn map_key(field: &FieldDescriptor) -> &'static str {
    let Proto::Message(entry) = field.kind() else { return "string" };
    match kind(&entry.map_entry_key_field()) {
        Ok(Kind::Scalar(name)) => name,
        _ => "string",
    }
}
