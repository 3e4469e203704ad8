//! CreateCustomer.

use super::api::{Api, Prepare};
use super::challenge;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1;
use crate::domain::commitment::CustomerKey;
use crate::domain::customer::{self, Customer, Status};
use crate::domain::event::{Chain, Origin};
use crate::domain::{Code, Error};
use crate::lifecycle::Recorder;
use crate::store::customers::{self, Held};
use crate::store::{Mode, Tx};

pub(crate) struct CreateCustomer {
    api: Api,
    origin: Origin,
    held: Held,
}

impl Prepare for v1::CreateCustomerRequest {
    type Change = CreateCustomer;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<CreateCustomer> {
        let account = convert::chain_account("chainId", &self.chain_id, &cx.api.settings.chains);
        let external_id = customer::external_id("externalId", &self.external_id);
        let account = match (account, external_id) {
            (Ok(account), Ok(())) => account,
            (Err(mut first), Err(second)) => {
                first.violations.extend(second.violations);
                return Err(Error::violations(first.violations).into());
            }
            (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error.into()),
        };
        let customer = Customer {
            id: cx.api.clock.id(),
            programme_id: cx.programme().id,
            external_id: self.external_id,
            chain_id: account.to_string(),
            status: Status::Initiating,
            created_at: cx.now,
            updated_at: cx.now,
            version: 1,
        };
        let challenge = Some(challenge::issue(cx.api, account, challenge::CUSTOMER, cx.now)?);
        let held = Held::new(customer, Chain::new(CustomerKey::new(cx.api.clock.random())), challenge);
        Ok(CreateCustomer { api: cx.api.clone(), origin: cx.origin.clone(), held })
    }
}

impl Change for CreateCustomer {
    type Reply = v1::Customer;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Customer> {
        let mut held = self.held.clone();
        let recorder = Recorder { origin: &self.origin, clock: &self.api.clock };
        recorder.open(tx, &mut held).await?;
        Ok(v1::Customer {
            challenge: held.challenge.map(|challenge| challenge.text),
            verification_url: Some(self.api.keys().links.verification(held.customer.id)),
            ..convert::customer(&held.customer)
        })
    }

    fn mode(&self) -> Mode {
        Mode::Combined
    }

    fn targets(reply: &v1::Customer) -> Option<Vec<String>> {
        Some(vec![reply.id.clone()])
    }

    /// Names the fields that are taken, and by whom.
    async fn conflict(&self, tx: &mut Tx) -> Outcome<Option<Error>> {
        let wanted = &self.held.customer;
        let mut error =
            Error::new(Code::CustomerExists, "The programme has a customer with this chainId or externalId already.");
        let existing = customers::conflict(tx, wanted).await?;
        if existing.is_empty() {
            return Ok(None);
        }
        for existing in existing {
            if error.extra.is_empty() {
                error = error.with("existingId", existing.id.to_string());
            }
            let fields = [
                ("chainId", existing.chain_id == wanted.chain_id),
                ("externalId", existing.external_id == wanted.external_id),
            ];
            for (field, _) in fields.into_iter().filter(|(_, same)| *same) {
                error = error.on(field, "CUSTOMER_EXISTS", format!("Customer {} has it already.", existing.id));
            }
        }
        Ok(Some(error))
    }
}
