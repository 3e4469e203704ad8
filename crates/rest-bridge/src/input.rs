//! What a request message is decoded from: body, path parameters, query.

use crate::fail::{At as _, Fail, Reason, Result};
use crate::json::Reader;
use crate::percent;
use crate::route::{Route, Segments};

/// One request as the generated decoders see it.
#[derive(Debug)]
pub struct Input<'a> {
    pub(crate) route: &'static Route,
    pub(crate) path: &'a str,
    pub(crate) segments: &'a Segments,
    pub(crate) query: Option<&'a str>,
    pub(crate) body: &'a [u8],
    pub(crate) last_event_id: Option<&'a str>,
}

impl<'a> Input<'a> {
    /// Reads the body; an absent one leaves everything unset.
    ///
    /// # Errors
    /// Those of `read`, or data after the value.
    pub fn body(&self, read: impl FnOnce(&mut Reader<'a>) -> Result<()>) -> Result<()> {
        self.body_beside(&[], read)
    }

    /// Reads the body of a call whose path gives the fields `in_path`.
    ///
    /// # Errors
    /// As [`body`](Self::body).
    pub fn body_beside(
        &self,
        in_path: &'static [&'static str],
        read: impl FnOnce(&mut Reader<'a>) -> Result<()>,
    ) -> Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        let mut reader = Reader::new(self.body).beside(in_path);
        read(&mut reader)?;
        reader.finish()
    }

    /// The call takes no body.
    ///
    /// # Errors
    /// There is one, be it `{}`.
    pub fn no_body(&self) -> Result<()> {
        if self.body.is_empty() {
            Ok(())
        } else {
            Err(Fail::new(Reason::UnknownField, "this call takes no body").below("body"))
        }
    }

    /// The body must not give what the path gives: `unset` says whether it left the field `name` alone.
    ///
    /// # Errors
    /// It did not.
    pub fn only_in_path(&self, unset: bool, name: &str) -> Result<()> {
        if unset {
            Ok(())
        } else {
            Err(Fail::new(Reason::UnknownField, "the path gives this field, the body must not").below(name))
        }
    }

    /// Path parameter `index` by `parse`.
    ///
    /// # Errors
    /// Broken percent-encoding, or no such value.
    pub fn path<T>(&self, index: usize, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        let Some(&capture) = self.route.captures.get(index) else {
            return Err(Fail::new(Reason::InvalidValue, "is not in the path").below(name));
        };
        let raw = self.segments.text(self.path, capture);
        let one = capture.to == Some(capture.from + 1);
        let text = if one { percent::segment(raw) } else { percent::segments(raw) };
        text.and_then(|text| parse(&text)).at(name)
    }

    /// Calls `parameter` with each decoded name and value.
    ///
    /// # Errors
    /// Broken percent-encoding, and those of `parameter`.
    pub fn query(&self, mut parameter: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        for pair in self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent::query(name).at(name)?;
            let value = percent::query(value).at(&name)?;
            parameter(&name, &value)?;
        }
        Ok(())
    }

    /// The call takes no query parameters.
    ///
    /// # Errors
    /// There is one.
    pub fn no_query(&self) -> Result<()> {
        self.query(|name, _| Err(Fail::unknown_parameter(name, &[])))
    }

    /// The `Last-Event-ID` header, with which an event source resumes.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&'a str> {
        self.last_event_id
    }
}
