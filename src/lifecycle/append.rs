//! The one append to the audit chain.

use crate::clock::Clock;
use crate::domain::event::{Chain, Draft, Origin};
use crate::store::customers::{self, Held};
use crate::store::{Error, Tx, events};

/// Appends to customers' audit chains, in the name of one actor.
#[derive(Clone, Copy)]
pub struct Recorder<'a> {
    /// Who caused the changes.
    pub origin: &'a Origin,
    /// Gives the events their ids.
    pub clock: &'a Clock,
}

impl Recorder<'_> {
    /// Appends changes to the chain of a customer whose row `tx` has locked, in their order, and writes their events. The
    /// caller writes the end of the chain back with the customer.
    ///
    /// A change whose time is before the last event of the chain gets the time of that event: see [`Chain::next_time`].
    pub async fn append(self, tx: &mut Tx, chain: &mut Chain, drafts: Vec<Draft>) -> Result<(), Error> {
        let append = |draft| chain.append(self.clock.id(), draft, self.origin);
        let recorded: Vec<_> = drafts.into_iter().map(append).collect();
        events::insert(tx, &recorded).await
    }

    /// Inserts a new customer with the first event of its chain.
    ///
    /// # Errors
    ///
    /// Those of [`customers::insert`].
    pub async fn open(self, tx: &mut Tx, held: &mut Held) -> Result<(), Error> {
        let event = held.chain.append(self.clock.id(), held.customer.event(None, "created"), self.origin);
        customers::insert(tx, held).await?;
        events::insert(tx, &[event]).await
    }
}
