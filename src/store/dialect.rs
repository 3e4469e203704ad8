//! Where the two databases want different words. One SQL text serves both everywhere else.

/// Which database a connection speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The embedded database: one writer at a time, so rows need no locks.
    Sqlite,
    /// PostgreSQL 15 or newer, or an engine that speaks its protocol; READ COMMITTED with row locks.
    Postgres,
}

impl Dialect {
    /// The database that a URL names, by its scheme.
    pub fn of_url(url: &str) -> Option<Self> {
        match url.split_once("://")? {
            ("sqlite", _) => Some(Self::Sqlite),
            ("postgres" | "postgresql", _) => Some(Self::Postgres),
            _ => None,
        }
    }

    /// What names the database in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Locks the selected rows until the transaction ends.
    pub(super) const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// Keeps others from changing the selected rows until the transaction ends.
    pub(super) const fn for_share(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
        }
    }

    /// Locks the selected rows, passing over those that another transaction holds.
    pub(super) const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// The most parameters one statement may carry (`SQLITE_MAX_VARIABLE_NUMBER`; a 16-bit count on PostgreSQL's wire).
    pub(super) const fn max_parameters(self) -> usize {
        match self {
            Self::Sqlite => 32_766,
            Self::Postgres => 65_535,
        }
    }
}
