//! Path templates, by the grammar of google/api/http.proto.

use crate::error::{Error, Result, Rule};
use crate::names;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// `*`
    One,
    /// `**`
    Rest,
}

/// A variable: its field path and its segments; `to` is `None` when it ends with `**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) field: String,
    pub(crate) from: usize,
    pub(crate) to: Option<usize>,
}

/// A parsed template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// Without its colon; empty if there is none.
    pub(crate) verb: String,
}

/// A placeholder of the template as OpenAPI shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) name: String,
    /// The variable it belongs to.
    pub(crate) variable: Option<usize>,
    pub(crate) rest: bool,
}

/// The runtime cuts a path into at most 32 segments.
const MAX_SEGMENTS: usize = 31;

impl Template {
    pub(crate) fn parse(text: &str, at: &str) -> Result<Self> {
        let wrong = |what: &str| Error::new(at, Rule::Template, format!("`{text}`: {what}"));
        let mut template = Self::default();
        let mut rest = text.strip_prefix('/').ok_or_else(|| wrong("a template begins with a slash"))?;
        if let Some((path, verb)) = split_verb(rest) {
            if !is_literal(verb) {
                return Err(wrong("what follows the colon is no verb"));
            }
            template.verb = verb.to_owned();
            rest = path;
        }
        loop {
            let (piece, after) = next_piece(rest).ok_or_else(|| wrong("a brace is not closed"))?;
            template.piece(piece).map_err(|what| wrong(&what))?;
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        let rests = template.segments.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
        if rests {
            return Err(wrong("`**` may only stand at the end"));
        }
        if template.segments.len() > MAX_SEGMENTS {
            return Err(wrong("more than 31 segments"));
        }
        Ok(template)
    }

    fn piece(&mut self, piece: &str) -> std::result::Result<(), String> {
        let Some(inner) = piece.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
            return self.segment(piece);
        };
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let part =
            |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && part.chars().all(is_ident);
        if !field.split('.').all(part) {
            return Err(format!("`{field}` is no field path"));
        }
        let from = self.segments.len();
        for segment in pattern.split('/') {
            self.segment(segment)?;
        }
        let to = (self.segments.last() != Some(&Segment::Rest)).then_some(self.segments.len());
        self.variables.push(Variable { field: field.to_owned(), from, to });
        Ok(())
    }

    fn segment(&mut self, text: &str) -> std::result::Result<(), String> {
        self.segments.push(match text {
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal if is_literal(literal) => Segment::Literal(literal.to_owned()),
            other => return Err(format!("`{other}` is no segment")),
        });
        Ok(())
    }

    /// The template as OpenAPI writes it, and its placeholders in order.
    pub(crate) fn display(&self) -> (String, Vec<Placeholder>) {
        let mut path = String::new();
        let mut placeholders: Vec<Placeholder> = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            path.push('/');
            let rest = match segment {
                Segment::Literal(literal) => {
                    path.push_str(literal);
                    continue;
                }
                Segment::One => false,
                Segment::Rest => true,
            };
            let variable = self.variables.iter().position(|v| v.from <= index && v.to.is_none_or(|to| index < to));
            let base =
                variable.and_then(|v| self.variables.get(v)).map_or("segment".to_owned(), |v| json_path(&v.field));
            let same = placeholders.iter().filter(|p| p.variable == variable).count();
            let name = if same == 0 { base } else { format!("{base}{}", same + 1) };
            path.push_str(&format!("{{{name}}}"));
            placeholders.push(Placeholder { name, variable, rest });
        }
        if !self.verb.is_empty() {
            path.push(':');
            path.push_str(&self.verb);
        }
        (path, placeholders)
    }
}

/// `billing_address.city` is `billingAddress.city`.
pub(crate) fn json_path(field: &str) -> String {
    field.split('.').map(names::lower_camel).collect::<Vec<_>>().join(".")
}

/// A trailing `:verb` outside braces and in the last segment.
fn split_verb(text: &str) -> Option<(&str, &str)> {
    let last = text.rfind(['/', '}']).map_or(0, |at| at + 1);
    let colon = last + text.get(last..)?.rfind(':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// The text up to the next slash outside braces, and what follows it.
fn next_piece(text: &str) -> Option<(&str, Option<&str>)> {
    let mut depth = 0_u8;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth = depth.checked_add(1)?,
            '}' => depth = depth.checked_sub(1)?,
            '/' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..))),
            _ => {}
        }
    }
    (depth == 0).then_some((text, None))
}

fn is_ident(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The characters of a path segment that need no encoding, without the colon, which begins a verb.
fn is_literal(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=@".contains(c))
}
