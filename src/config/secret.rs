//! Secrets that come as a value or in a file.

use std::path::Path;

use anyhow::Context as _;
use secrecy::SecretString;

/// The value, or what the file holds without the line end, or nothing when neither is set.
///
/// # Errors
/// The file cannot be read, or is empty.
pub(super) fn read(value: Option<&SecretString>, file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    let Some(path) = file else { return Ok(value.cloned()) };
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the secret in {}: does it exist, may this user read it?", path.display())
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!text.is_empty(), "the secret file {} is empty", path.display());
    Ok(Some(text.into()))
}
