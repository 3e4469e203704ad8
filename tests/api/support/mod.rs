//! What the stories are told with.

#![allow(dead_code, unused_imports, reason = "a vocabulary: not every story uses every word")]

pub mod accounts;
mod answer;
mod call;
pub mod half;
mod ledger;
pub mod load;
mod partner;
mod proxy;
mod receiver;
mod service;
mod signing;
#[path = "../../support/stores.rs"]
pub(crate) mod stores;
mod verify;
mod wallet;
mod wire;

use crate::{pgbouncer, postgres};
pub use answer::Answer;
pub use call::{Call, sha256};
pub use half::{Half, Stream};
pub use ledger::{Books, Ledger};
pub use partner::{Operator, Partner, account, public_pem};
pub use proxy::Proxy;
pub use receiver::{Received, Receiver};
pub use service::{AUTHORITY, House, ORIGIN, START, Service};
pub use signing::Signing;
pub use verify::Keys;
pub use wallet::{Evm, Solana, b64, unb64};
pub use wire::{Following, Http, exchange, follow, try_exchange};

/// Makes of every story `async fn name(House)` four tests: `sqlite::name`, `sqlite_split::name`, `postgres::name`,
/// `postgres_split::name`.
macro_rules! everywhere {
    ($($name:ident),* $(,)?) => {
        $crate::support::everywhere!(@ sqlite, Sqlite, false, $($name)*);
        $crate::support::everywhere!(@ sqlite_split, Sqlite, true, $($name)*);
        $crate::support::everywhere!(@ postgres, Postgres, false, $($name)*);
        $crate::support::everywhere!(@ postgres_split, Postgres, true, $($name)*);
    };
    (@ $module:ident, $database:ident, $split:literal, $($name:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(house) = $crate::support::House::$database($split).await {
                    super::$name(house).await;
                }
            })*
        }
    };
}
pub(crate) use everywhere;
