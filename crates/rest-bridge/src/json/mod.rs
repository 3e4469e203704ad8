//! ProtoJSON, strict: a pull reader and a writer that the generated codecs call. No tree is built and nothing is
//! looked up at run time.

mod base64;
mod number;
mod reader;
mod scalar;
mod seen;
mod structs;
mod time;
mod writer;

pub use reader::{MAX_DEPTH, Reader};
pub use scalar::{enumeration, query};
pub use seen::Seen;
pub use writer::{WriteFailure, Writer};

/// Decodes a whole body: one JSON value and nothing after it.
///
/// # Errors
/// The first fault, with the path of its field.
pub fn from_slice<T: Default>(
    input: &[u8],
    read: impl FnOnce(&mut Reader<'_>, &mut T) -> crate::fail::Result<()>,
) -> crate::fail::Result<T> {
    let mut value = T::default();
    let mut reader = Reader::new(input);
    read(&mut reader, &mut value)?;
    reader.finish()?;
    Ok(value)
}

/// Encodes a value with one of the generated writers.
///
/// # Errors
/// The message holds something that ProtoJSON has no form for (a timestamp after year 9999, for one).
pub fn to_vec(write: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, WriteFailure> {
    let mut writer = Writer::with_capacity(256);
    write(&mut writer);
    writer.finish()
}
