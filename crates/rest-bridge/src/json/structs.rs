//! google.protobuf.Struct, Value and ListValue: any JSON.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use super::{Reader, Writer};
use crate::fail::Result;

impl Reader<'_> {
    /// Reads any JSON value; `null` is a value here.
    ///
    /// # Errors
    /// Not JSON, a key given twice, a number beyond a double.
    pub fn value(&mut self) -> Result<Value> {
        let kind = match self.peek() {
            Some(b'"') => Kind::StringValue(self.string()?),
            Some(b'{') => Kind::StructValue(self.structure()?),
            Some(b'[') => Kind::ListValue(self.list_value()?),
            Some(b't' | b'f') => Kind::BoolValue(self.bool()?),
            Some(b'n') if self.null()? => Kind::NullValue(0),
            Some(b'0'..=b'9' | b'-') => Kind::NumberValue(self.double()?),
            _ => return Err(self.mismatch("a JSON value")),
        };
        Ok(Value { kind: Some(kind) })
    }

    /// Reads any JSON object.
    ///
    /// # Errors
    /// Another type, a key given twice.
    pub fn structure(&mut self) -> Result<Struct> {
        let mut out = Struct::default();
        self.entries(|reader, key| Ok(out.fields.insert(key.to_owned(), reader.value()?).is_some()))?;
        Ok(out)
    }

    /// Reads any JSON array.
    ///
    /// # Errors
    /// Another type.
    pub fn list_value(&mut self) -> Result<ListValue> {
        let mut out = ListValue::default();
        self.array(|reader| {
            out.values.push(reader.value()?);
            Ok(())
        })?;
        Ok(out)
    }
}

impl Writer {
    /// Any JSON value.
    pub fn value(&mut self, value: &Value) {
        match &value.kind {
            None => self.fail("a google.protobuf.Value has no kind"),
            Some(Kind::NullValue(_)) => self.null(),
            Some(Kind::NumberValue(number)) if number.is_finite() => self.double(*number),
            Some(Kind::NumberValue(_)) => self.fail("a google.protobuf.Value is not finite"),
            Some(Kind::StringValue(text)) => self.string(text),
            Some(Kind::BoolValue(value)) => self.bool(*value),
            Some(Kind::StructValue(value)) => self.structure(value),
            Some(Kind::ListValue(value)) => self.list_value(value),
        }
    }

    /// Any JSON object.
    pub fn structure(&mut self, value: &Struct) {
        self.map(&value.fields, Self::value);
    }

    /// Any JSON array.
    pub fn list_value(&mut self, value: &ListValue) {
        self.array(&value.values, Self::value);
    }
}
