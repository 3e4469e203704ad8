//! What the two calls of the sandbox's portal have in common.

use super::Api;
use super::failure::Outcome;
use super::subject::Subject;
use crate::domain::customer::Status;
use crate::domain::{Code, Error};

/// The customer of a link, where the sandbox's portal is for it.
pub(super) async fn subject(api: &Api, token: &str) -> Outcome<Subject> {
    let found = Subject::of(api, token).await?.filter(|subject| subject.by_portal(api));
    Ok(found.ok_or_else(|| Error::new(Code::CustomerNotFound, "There is no portal for this link."))?)
}

/// Whether a partner could decide: not before the customer has got to the verification, nor after a final refusal.
pub(super) const fn open(status: Status) -> bool {
    matches!(status, Status::Verifying | Status::Active | Status::Inactive)
}
