//! Who acts on the command line, for the record of acts.

use crate::clock::Clock;
use crate::store::acts::{Act, DONE};

/// An act of the user who ran the command, on `target_id`: what comes before the dot of `act` is its type. Record it with
/// [`record`](crate::store::acts::record) in the transaction of the change.
pub(super) fn act(clock: &Clock, act: &str, target_id: &str) -> Act {
    // The user that the process runs as: the environment could say anything.
    let user = whoami::username().unwrap_or_else(|_| "unknown".to_owned());
    Act {
        id: clock.id(),
        at: clock.now(),
        actor: format!("command-line:{user}"),
        act: act.to_owned(),
        target_type: act.split_once('.').map_or(act, |(target, _)| target).to_owned(),
        target_id: Some(target_id.to_owned()),
        programme_id: None,
        reason: None,
        client: whoami::hostname().ok(),
        request_id: None,
        outcome: DONE.to_owned(),
    }
}
