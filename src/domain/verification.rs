//! What a customer's status and its KYC progress say together.

use super::customer::{Move, Status};
use super::kyc::{KycState, KycStatus};

/// How far a customer is on its way through ownership, screening and identity verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// The ownership challenge is not signed.
    AwaitingChallenge,
    /// The account is being screened.
    Screening,
    /// Identity verification, as the partner says.
    Kyc(KycStatus),
}

/// How far a customer is.
///
/// A customer who is active although the partner now asks for more stays active, and the partner's wish shows; one whom
/// no partner ever decided about, because an operator or the simulator did, counts as approved.
pub const fn progress(customer: Status, kyc: &KycState) -> Progress {
    match customer {
        Status::Initiating => Progress::AwaitingChallenge,
        Status::Screening => Progress::Screening,
        Status::Verifying => Progress::Kyc(kyc.status),
        Status::Active | Status::Inactive if kyc.decided_at_ms.is_some() => Progress::Kyc(kyc.status),
        Status::Active | Status::Inactive => Progress::Kyc(KycStatus::Approved),
        Status::Rejected => Progress::Kyc(KycStatus::Rejected),
    }
}

/// The move that a decision of the partner calls for. It never leads backwards: a customer who is active stays so unless
/// refused for good. A decision that came early is followed once the customer gets there.
pub const fn consequence(customer: Status, kyc: KycStatus) -> Option<Move> {
    match (customer, kyc) {
        (Status::Verifying, KycStatus::Approved) => Some(Move::Approve),
        (Status::Screening | Status::Verifying | Status::Active | Status::Inactive, KycStatus::Rejected) => {
            Some(Move::Reject)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consequence_is_a_move_that_the_table_has_and_none_leads_back() {
        for customer in Status::ALL {
            for kyc in KycStatus::ALL {
                let Some(by) = consequence(customer, kyc) else { continue };
                let to = customer.after(by);
                assert_eq!(to, Some(if kyc == KycStatus::Approved { Status::Active } else { Status::Rejected }));
            }
        }
        assert_eq!(consequence(Status::Initiating, KycStatus::Rejected), None);
        assert_eq!(consequence(Status::Active, KycStatus::NeedsInformation), None);
    }

    #[test]
    fn an_active_customer_shows_what_the_partner_asks_for_later() {
        let undecided = KycState { status: KycStatus::InProgress, ..KycState::default() };
        let asked = KycState { status: KycStatus::NeedsInformation, decided_at_ms: Some(1), ..KycState::default() };
        assert_eq!(progress(Status::Active, &undecided), Progress::Kyc(KycStatus::Approved));
        assert_eq!(progress(Status::Inactive, &asked), Progress::Kyc(KycStatus::NeedsInformation));
        assert_eq!(progress(Status::Verifying, &undecided), Progress::Kyc(KycStatus::InProgress));
        assert_eq!(progress(Status::Rejected, &asked), Progress::Kyc(KycStatus::Rejected));
        assert_eq!(progress(Status::Initiating, &asked), Progress::AwaitingChallenge);
    }
}
