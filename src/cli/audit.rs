//! `customerd audit …`: what operators and the command line did.

use std::str::FromStr;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app;
use crate::clock::Clock;
use crate::config::{Common, Span};
use crate::domain::Timestamp;
use crate::store::acts::{self, Act, ActFilter};
use crate::store::{Migrations, Store};

/// Acts that are read at once.
const PAGE: u64 = 500;

/// What to show.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List the acts of operators and of the command line as JSON lines, newest first
    Acts {
        /// Only acts since then: a time such as 2026-11-28T09:00:00Z, or so long ago, such as 24h
        #[arg(long, value_name = "TIME")]
        since: Option<Since>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
}

/// A time, or a span before now.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// A time.
    At(Timestamp),
    /// So long ago.
    Ago(Span),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse().map(Self::Ago);
        span.or_else(|_| text.parse().map(Self::At)).map_err(|_: crate::domain::timestamp::TimestampError| {
            "want a time such as 2026-11-28T09:00:00Z, or a span such as 24h".to_owned()
        })
    }
}

/// Shows it.
///
/// # Errors
///
/// The database cannot be opened or read.
pub(super) async fn run(command: Audit, common: &Common) -> anyhow::Result<()> {
    let Audit::Acts { since, limit } = command;
    let since = since.map(|since| match since {
        Since::At(time) => time,
        Since::Ago(span) => Clock::system().now() - span.0,
    });
    let store = app::open_store(common, Migrations::Check).await?;
    let done = show(&store, since, limit).await;
    store.close().await?;
    done
}

async fn show(store: &Store, since: Option<Timestamp>, limit: u64) -> anyhow::Result<()> {
    let (mut before, mut left): (Option<(Timestamp, Uuid)>, u64) = (None, limit);
    while left > 0 {
        let size = left.min(PAGE);
        let filter = ActFilter { since, before, limit: i64::try_from(size)? };
        let page = acts::page(&mut store.reader().await?, &filter).await?;
        for act in &page {
            super::print(&shown(act).to_string())?;
        }
        match page.last() {
            Some(last) if page.len() as u64 == size => before = Some((last.at, last.id)),
            _ => break,
        }
        left -= size;
    }
    Ok(())
}

/// An act without the members that do not apply.
fn shown(act: &Act) -> Value {
    let members = [
        ("id", json!(act.id)),
        ("at", act.at.to_string().into()),
        ("actor", act.actor.as_str().into()),
        ("act", act.act.as_str().into()),
        ("targetType", act.target_type.as_str().into()),
        ("targetId", json!(act.target_id)),
        ("programmeId", json!(act.programme_id)),
        ("reason", json!(act.reason)),
        ("client", json!(act.client)),
        ("requestId", json!(act.request_id)),
        ("outcome", act.outcome.as_str().into()),
    ];
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span() {
        assert!(matches!("24h".parse(), Ok(Since::Ago(_))));
        assert!(matches!("2026-11-28T09:00:00Z".parse(), Ok(Since::At(_))));
        assert!("yesterday".parse::<Since>().is_err());
    }
}
