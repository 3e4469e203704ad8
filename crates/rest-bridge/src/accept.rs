//! `Accept` (RFC 9110 section 12.5.1) and `Content-Type`.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

/// A form of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/json`, the unary answer.
    Json,
    /// `application/x-ndjson`: one message a line.
    Ndjson,
    /// `text/event-stream`: one message an event.
    Events,
}

impl Form {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }
}

/// Weight (in thousandths) and how exactly `range` names `form`; `None`: it does not.
fn weigh(range: &str, form: Form) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let exactness = match name.split_once('/')? {
        ("*", "*") => 0,
        (kind, "*") if form.media_type().split_once('/').is_some_and(|(k, _)| k == kind) => 1,
        _ if name == form.media_type() => 2,
        _ => return None,
    };
    let weight = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(Some(1.0), |(_, q)| q.trim().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)))?;
    // In range: 0 to 1000.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the weight is between 0 and 1000")]
    let thousandths = (weight * 1000.0).round() as u16;
    Some((exactness, thousandths))
}

/// The best of `offered` (its first is the default); `None` when `Accept` excludes all.
pub(crate) fn negotiate(headers: &HeaderMap, offered: &[Form]) -> Option<Form> {
    let mut best: Option<(u16, u8, Form)> = None;
    let mut any = false;
    for &form in offered {
        // The most exact range that names the form decides its weight.
        let mut of_form: Option<(u8, u16)> = None;
        for value in headers.get_all(ACCEPT) {
            if value.as_bytes().trim_ascii().is_empty() {
                // A list without members prefers nothing.
                continue;
            }
            any = true;
            if value.as_bytes() == b"*/*" {
                of_form = of_form.max(Some((0, 1000)));
                continue;
            }
            for range in value.to_str().unwrap_or_default().split(',').filter(|r| !r.trim().is_empty()) {
                of_form = match (of_form, weigh(range, form)) {
                    (Some(old), Some(new)) if new.0 > old.0 => Some(new),
                    (None, new) => new,
                    (old, _) => old,
                };
            }
        }
        if let Some((exactness, weight @ 1..)) = of_form
            && best.is_none_or(|(w, e, _)| (weight, exactness) > (w, e))
        {
            best = Some((weight, exactness, form));
        }
    }
    if any { best.map(|(_, _, form)| form) } else { offered.first().copied() }
}

/// Whether the body is JSON: `application/json`, in UTF-8 and with no content coding.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let coded =
        headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    if value.as_bytes() == b"application/json" {
        return !coded;
    }
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    json && !coded
        && parts.filter(|part| !part.is_empty()).all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("charset")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}
