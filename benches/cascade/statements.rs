//! The statements that the service runs when a customer is put to sleep, with nothing between them: the values are there
//! already, and nothing that is read is looked at.

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::event::Event;
use customerd::store::customers::{self, Held};
use customerd::store::idempotency::{self, Conditions, Slot, Stored};
use customerd::store::{Connection as _, Precondition, Standing, Store, Tx, events};
use uuid::Uuid;

use super::family::Family;

/// Children moved by one statement.
const BATCH: usize = 500;

/// A customer to put to sleep, and the events that the service wrote when it did.
pub struct Bare {
    pub family: Family,
    /// Oldest first: the customer's, the accounts', the cards'.
    pub events: Vec<Event>,
}

impl Bare {
    /// One transaction.
    pub async fn run(&self, store: &Store, clock: &Clock, programme_id: Uuid) {
        let now = clock.now();
        let mut tx = store.begin().await.unwrap();
        let held = customers::lock(&mut tx, self.family.customer).await.unwrap().unwrap();
        let (own, children) = self.events.split_at(1);
        let (accounts, cards) = children.split_at(self.family.accounts.len());
        events::insert(&mut tx, own).await.unwrap();
        self.accounts(&mut tx, accounts, now).await;
        self.cards(&mut tx, cards, now).await;
        write_back(&mut tx, held, &self.events).await;
        let slot = Slot { scope: programme_id, key: clock.id(), now, expires_at: now };
        let stored = Stored { fingerprint: vec![0; 32], status: 0, reply: vec![0; 150] };
        let standing = Precondition::Programme(Standing { programme_id, generation: 1, key_id: None });
        idempotency::put(&mut tx, slot, &stored, Conditions { precondition: Some(&standing), unscoped: None })
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn accounts(&self, tx: &mut Tx, recorded: &[Event], now: Timestamp) {
        let mut after = (Timestamp::EPOCH, Uuid::nil());
        for (batch, recorded) in self.family.accounts.chunks(BATCH).zip(recorded.chunks(BATCH)) {
            let query = tx.query(
                "SELECT id, created_at, programme_id, customer_id, chain_id, currency, status, slept_by, updated_at, version \
                 FROM accounts WHERE customer_id = $1 AND status = 'active' AND (created_at, id) > ($2, $3) \
                 ORDER BY created_at, id LIMIT $4",
            );
            let query = query.bind(self.family.customer).bind(after.0).bind(after.1).bind(BATCH as i64);
            let read: Vec<(Uuid, Timestamp)> = query.all().await.unwrap();
            after = read.last().map(|(id, at)| (*at, *id)).unwrap();
            events::insert(tx, recorded).await.unwrap();
            let update = "UPDATE accounts SET status = $1, slept_by = $2, updated_at = $3, challenge = NULL, \
                          challenge_expires_at = NULL, version = version + 1 WHERE id IN ";
            let update = tx.query(update).bind("inactive").bind("customer").bind(now);
            update.push_list(batch.iter().copied()).execute().await.unwrap();
        }
    }

    async fn cards(&self, tx: &mut Tx, recorded: &[Event], now: Timestamp) {
        let mut after = (Timestamp::EPOCH, Uuid::nil());
        for (batch, recorded) in self.family.cards.chunks(BATCH).zip(recorded.chunks(BATCH)) {
            let query = tx.query(
                "SELECT id, created_at, programme_id, customer_id, account_id, card_type, name, network, last_four, \
                 expiration_date, billing_address, shipping_address, status, slept_by, updated_at, version FROM cards \
                 WHERE customer_id = $1 AND status NOT IN ('blocked', 'issue_failed', 'terminated') AND status = 'active' \
                 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4",
            );
            let query = query.bind(self.family.customer).bind(after.0).bind(after.1).bind(BATCH as i64);
            let read: Vec<(Uuid, Timestamp)> = query.all().await.unwrap();
            after = read.last().map(|(id, at)| (*at, *id)).unwrap();
            events::insert(tx, recorded).await.unwrap();
            let update =
                "UPDATE cards SET status = $1, slept_by = $2, updated_at = $3, version = version + 1 WHERE id IN ";
            let update = tx.query(update).bind("inactive").bind("customer").bind(now);
            update.push_list(batch.iter().map(|card| card.id)).execute().await.unwrap();
        }
    }
}

async fn write_back(tx: &mut Tx, mut held: Held, events: &[Event]) {
    held.chain.seq = events.len() as i64;
    customers::update(tx, &mut held).await.unwrap();
}
