//! GetVerification.

use super::api::Read;
use super::context::Context;
use super::convert::{self, timestamp};
use super::failure::Outcome;
use super::get_customer::not_found;
use crate::api::v1::{GetVerificationRequest, Verification, VerificationStatus};
use crate::domain::kyc::KycStatus;
use crate::domain::reason::PublicReason;
use crate::domain::verification::{Progress, progress};
use crate::store::{customers, verifications};

impl Read for GetVerificationRequest {
    type Reply = Verification;

    async fn read(self, cx: &Context<'_>) -> Outcome<Verification> {
        let id = convert::id(&self.customer_id, not_found())?;
        let mut reader = cx.api.store.reader().await?;
        let customer = customers::get_owned(&mut reader, cx.programme().id, id).await?.ok_or_else(not_found)?;
        let known = verifications::get_any(&mut reader, id).await?;
        let updated_at = known.as_ref().map_or(customer.updated_at, |known| known.updated_at.max(customer.updated_at));
        let state = known.map(|known| known.state).unwrap_or_default();
        let progress = progress(customer.status, &state);
        let rejected = progress == Progress::Kyc(KycStatus::Rejected);
        let reasons = if rejected && cx.caller.operator().is_none() {
            let reason = customers::rejection(&mut reader, id).await?.unwrap_or(PublicReason::Other);
            vec![reason.as_str().to_owned()]
        } else if progress == Progress::Kyc(state.status) {
            state.reasons.into_iter().map(|reason| reason.message).collect()
        } else {
            // Reasons belong to the provider's decision: not to one that somebody else made since.
            Vec::new()
        };
        Ok(Verification {
            status: status(progress).into(),
            verification_url: cx.api.keys().links.verification(id),
            reasons,
            updated_at: Some(timestamp(updated_at)),
        })
    }
}

fn status(progress: Progress) -> VerificationStatus {
    match progress {
        Progress::AwaitingChallenge => VerificationStatus::AwaitingChallenge,
        Progress::Screening => VerificationStatus::Screening,
        Progress::Kyc(KycStatus::NotStarted) => VerificationStatus::NotStarted,
        Progress::Kyc(KycStatus::InProgress) => VerificationStatus::InProgress,
        Progress::Kyc(KycStatus::InReview) => VerificationStatus::InReview,
        Progress::Kyc(KycStatus::NeedsInformation) => VerificationStatus::NeedsInformation,
        Progress::Kyc(KycStatus::Approved) => VerificationStatus::Approved,
        Progress::Kyc(KycStatus::Rejected) => VerificationStatus::Rejected,
    }
}
