//! OpenVerification.

use std::time::Duration;

use uuid::Uuid;

use super::Api;
use super::api::Open;
use super::failure::{Failure, Outcome};
use super::subject::Subject;
use crate::api::v1::{OpenVerificationRequest, OpenVerificationResponse, VerificationPage as Page};
use crate::domain::customer::Status;
use crate::domain::kyc::KycStatus;
use crate::domain::verification::{Progress, progress};
use crate::kyc::{Kyc, KycProvider as _, Outage, Session};
use crate::store::verifications::{self, Verification};
use crate::store::{self, Tx, customers};

/// How long the partner may take: a person waits. The provider has a shorter deadline of its own.
const DEADLINE: Duration = Duration::from_secs(10);
/// When to try again, unless the partner says otherwise.
const RETRY: Duration = Duration::from_secs(60);

impl Open for OpenVerificationRequest {
    type Reply = OpenVerificationResponse;

    async fn answer(self, api: &Api) -> Outcome<OpenVerificationResponse> {
        let Some(subject) = Subject::of(api, &self.token).await? else { return Ok(page(Page::UnknownLink)) };
        let with_reasons = |kind| OpenVerificationResponse {
            reasons: subject.state.reasons.iter().map(|reason| reason.message.clone()).collect(),
            ..page(kind)
        };
        Ok(match progress(subject.customer.status, &subject.state) {
            Progress::AwaitingChallenge => page(Page::ChallengeUnsigned),
            Progress::Screening => page(Page::Screening),
            Progress::Kyc(KycStatus::InReview) => page(Page::InReview),
            Progress::Kyc(KycStatus::Approved) => page(Page::Approved),
            Progress::Kyc(KycStatus::Rejected) if subject.state.status == KycStatus::Rejected => {
                with_reasons(Page::Rejected)
            }
            Progress::Kyc(KycStatus::Rejected) => page(Page::Rejected),
            Progress::Kyc(KycStatus::NeedsInformation) if !self.resume => with_reasons(Page::NeedsInformation),
            Progress::Kyc(_) => go(api, &subject, &self.token).await?,
        })
    }
}

fn page(page: Page) -> OpenVerificationResponse {
    OpenVerificationResponse { page: page.into(), ..OpenVerificationResponse::default() }
}

/// On to the partner, with no transaction open while it is asked.
async fn go(api: &Api, subject: &Subject, token: &str) -> Outcome<OpenVerificationResponse> {
    let customer_id = subject.customer.id;
    let unavailable = |outage: &Outage| {
        tracing::warn!(customer = %customer_id, %outage, "the verification cannot be opened");
        let wait = outage.retry_after.unwrap_or(RETRY).as_secs();
        OpenVerificationResponse { retry_after: u32::try_from(wait).unwrap_or(u32::MAX), ..page(Page::Unavailable) }
    };
    let kyc = &*api.settings.kyc;
    if matches!(kyc, Kyc::Sandbox(_)) && !subject.by_portal(api) {
        tracing::warn!(
            customer = %customer_id,
            "verification is not open: no provider is configured, and a live programme's customers wait for an operator"
        );
        return Ok(page(Page::NotOpen));
    }
    let return_url = api.keys().links.verification(customer_id);
    let now_s = api.clock.now().unix_seconds();
    let session = Session { customer_id, token, return_url: &return_url, now_s };
    match api.clock.timeout(DEADLINE, kyc.start_or_resume(session)).await {
        Ok(Ok(redirect)) => {
            if subject.state.opened() != subject.state {
                api.store.transact(&Opened { api, customer_id }).await?;
            }
            Ok(OpenVerificationResponse { redirect_url: redirect.url, ..OpenVerificationResponse::default() })
        }
        Ok(Err(outage)) => Ok(unavailable(&outage)),
        Err(elapsed) => Ok(unavailable(&Outage::new(format!("no answer: {elapsed}")))),
    }
}

/// Notes that the person has begun.
struct Opened<'a> {
    api: &'a Api,
    customer_id: Uuid,
}

impl store::Change for Opened<'_> {
    type Out = ();
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let held = customers::lock(tx, self.customer_id).await?;
        let Some(held) = held.filter(|held| held.customer.status == Status::Verifying) else { return Ok(()) };
        let known = verifications::get_any(tx, self.customer_id).await?;
        let (state, provider) = known.map(|known| (known.state, known.provider)).unwrap_or_default();
        let updated_at = self.api.clock.now().max(held.customer.updated_at);
        let opened = Verification { state: state.opened(), provider, updated_at };
        Ok(verifications::put(tx, self.customer_id, &opened).await?)
    }
}
