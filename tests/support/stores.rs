//! An open store on a database of its own, on SQLite or PostgreSQL, and the macro that runs a test on both.

use customerd::store::{Store, StoreOptions};

use super::pgbouncer::PgBouncer;

/// A migrated database for one test.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) url: String,
    pooler: Option<PgBouncer>,
    _directory: Option<tempfile::TempDir>,
}

impl TestStore {
    /// On a file in a temporary directory.
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        Self { _directory: Some(directory), ..Self::open(url, None).await }
    }

    /// In the throw-away cluster; `None` where PostgreSQL is not installed.
    pub(crate) async fn postgres() -> Option<Self> {
        Some(Self::open(super::postgres::database().await?, None).await)
    }

    /// The same behind PgBouncer, which gives three sessions to all transactions; `None` where that is not installed either.
    pub(crate) async fn pooled() -> Option<Self> {
        let pooler = PgBouncer::of_transactions(&super::postgres::database().await?)?;
        Some(Self::open(pooler.url.clone(), Some(pooler)).await)
    }

    /// Closes the store and opens the same database with other options.
    pub(crate) async fn reopen(self, options: StoreOptions) -> Self {
        self.store.close().await.expect("the store closes");
        let options = StoreOptions { transaction_pooler: self.pooler.is_some(), ..options };
        let store = Store::open(&self.url, options).await.expect("the same database opens");
        Self { store, ..self }
    }

    async fn open(url: String, pooler: Option<PgBouncer>) -> Self {
        let options = StoreOptions { transaction_pooler: pooler.is_some(), ..StoreOptions::default() };
        let store = Store::open(&url, options).await.expect("a fresh database opens");
        Self { store, url, pooler, _directory: None }
    }
}

/// Makes of every `async fn name(TestStore)` the tests `sqlite::name` and `postgres::name`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::stores::TestStore::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(test) = crate::support::stores::TestStore::postgres().await {
                    super::$name(test).await;
                }
            })*
        }
    };
}
pub(crate) use on_both;
