//! Names: those that prost-build and tonic-build gave to their Rust items, and those that JSON gets.

use heck::{ToLowerCamelCase as _, ToShoutySnakeCase as _, ToSnakeCase as _, ToUpperCamelCase as _};

/// As prost-build escapes identifiers.
fn sanitize(ident: String) -> String {
    const RAW: &[&str] = &[
        "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let", "loop",
        "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "true", "type", "unsafe",
        "use", "where", "while", "dyn", "abstract", "become", "box", "do", "final", "macro", "override", "priv",
        "typeof", "unsized", "virtual", "yield", "async", "await", "try", "gen",
    ];
    const SUFFIXED: &[&str] = &["_", "super", "self", "Self", "extern", "crate"];
    if RAW.contains(&ident.as_str()) {
        format!("r#{ident}")
    } else if SUFFIXED.contains(&ident.as_str()) {
        format!("{ident}_")
    } else if ident.starts_with(char::is_numeric) {
        format!("_{ident}")
    } else {
        ident
    }
}

/// A field, module or method.
pub(crate) fn snake(name: &str) -> String {
    sanitize(name.to_snake_case())
}

/// A type or oneof variant.
pub(crate) fn camel(name: &str) -> String {
    sanitize(name.to_upper_camel_case())
}

/// A name in JSON that is no field's.
pub(crate) fn lower_camel(name: &str) -> String {
    name.to_lower_camel_case()
}

/// A piece of a generated function's name.
pub(crate) fn plain_snake(name: &str) -> String {
    name.to_snake_case()
}

/// tonic-build's module name: an underscore before each upper-case letter that follows or precedes a lower-case one.
pub(crate) fn service_module(name: &str) -> String {
    let mut out = String::new();
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c.to_ascii_lowercase());
        if chars.peek().is_some_and(|next| next.is_uppercase()) {
            out.push('_');
        }
    }
    out
}

/// `CUSTOMER_STATUS_INITIATING` of `CustomerStatus` is `initiating`.
pub(crate) fn enum_value(type_name: &str, value: &str) -> String {
    let prefix = format!("{}_", type_name.to_shouty_snake_case());
    value.strip_prefix(&prefix).filter(|rest| !rest.is_empty()).unwrap_or(value).to_lowercase()
}
