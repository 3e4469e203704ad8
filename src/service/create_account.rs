//! CreateAccount.

use super::api::{Api, Prepare};
use super::challenge;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::move_customer::hold;
use super::once::Change;
use crate::api::v1::{self, AccountType, CreateAccountRequest};
use crate::domain::account::{Account, Status};
use crate::domain::event::Origin;
use crate::domain::{Error, Timestamp, currency, customer};
use crate::lifecycle::Recorder;
use crate::store::{Mode, Tx, accounts, customers};

pub(crate) struct CreateAccount {
    api: Api,
    origin: Origin,
    account: Account,
    customer_id: String,
    now: Timestamp,
}

impl Prepare for CreateAccountRequest {
    type Change = CreateAccount;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<CreateAccount> {
        let kind = match AccountType::try_from(self.r#type) {
            Ok(AccountType::CardAccount) => Ok(()),
            Ok(AccountType::Unspecified) => Err(Error::invalid("type", "REQUIRED", "Must be given: card_account.")),
            Err(_) => Err(Error::invalid("type", "INVALID_VALUE", "Must be card_account.")),
        };
        let mut found: Vec<_> = kind.err().into_iter().flat_map(|error| error.violations).collect();
        found
            .extend(currency::one("currencies", &self.currencies).err().into_iter().flat_map(|error| error.violations));
        if !found.is_empty() {
            return Err(Error::violations(found).into());
        }
        let account = Account {
            id: cx.api.clock.id(),
            programme_id: cx.programme().id,
            // Known once the customer is held.
            customer_id: uuid::Uuid::nil(),
            chain_id: None,
            currency: self.currencies.into_iter().next().unwrap_or_default(),
            status: Status::Initiating,
            slept_by: None,
            created_at: cx.now,
            updated_at: cx.now,
            version: 1,
        };
        let customer_id = self.customer_id;
        Ok(CreateAccount { api: cx.api.clone(), origin: cx.origin.clone(), account, customer_id, now: cx.now })
    }
}

impl Change for CreateAccount {
    type Reply = v1::Account;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Account> {
        let mut held = hold(tx, self.account.programme_id, &self.customer_id).await?;
        if held.customer.status != customer::Status::Active {
            return Err(Error::transition("customer", held.customer.status, "given an account").into());
        }
        let created_at = held.chain.next_time(self.now);
        let customer_id = held.customer.id;
        let account = Account { customer_id, created_at, updated_at: created_at, ..self.account.clone() };
        let owner = challenge::account(&held.customer)?;
        let challenge = challenge::issue(&self.api, owner, challenge::ACCOUNT, self.now)?;
        accounts::insert(tx, &account, &challenge)?;
        let recorder = Recorder { origin: &self.origin, clock: &self.api.clock };
        recorder.append(tx, &mut held.chain, vec![account.event(None, "created")]).await?;
        customers::update(tx, &mut held).await?;
        Ok(v1::Account { challenge: Some(challenge.text), ..convert::account(&account) })
    }

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    fn targets(reply: &v1::Account) -> Option<Vec<String>> {
        Some(vec![reply.id.clone()])
    }
}
