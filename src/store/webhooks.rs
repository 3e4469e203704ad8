//! Subscriptions.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::deliveries::Lease;
use super::programmes::read_pauses;
use super::reseal::{Batch, Which};
use super::standing;
use super::value::row;
use super::{Connection, Error, Owner, Tx};
use crate::domain::Timestamp;
use crate::domain::callback_url::CallbackUrl;
use crate::domain::pause::Pauses;
use crate::domain::reach::Reach;
use crate::domain::webhook::{DisabledReason, RotatedSecret, Settings, Subscription, Summary, WebhookType};
use crate::sealing::{Place, Sealer};

fn place<'i>(column: &'static str, id: &'i Uuid) -> Place<'i> {
    Place::new("webhooks", column, id.as_bytes())
}

const SECRET: &str = "sealed_secret";
const PREVIOUS: &str = "sealed_previous_secret";

async fn seal(tx: &mut Tx, (column, id): (&'static str, Uuid), secret: &SecretString) -> Result<Vec<u8>, Error> {
    tx.seal(place(column, &id), secret.expose_secret().as_bytes()).await
}

fn open(sealer: &Sealer, (column, id): (&'static str, Uuid), sealed: &[u8]) -> Result<SecretString, Error> {
    let secret = sealer.open(place(column, &id), sealed)?;
    let text = std::str::from_utf8(secret.expose_secret());
    Ok(text.map_err(|_| Error::Unreadable(format!("webhooks.{column}: no text")))?.into())
}

row! {
    struct WebhookRow {
        id: Uuid,
        programme_id: Uuid,
        callback_url: String,
        types: String,
        fifo: bool,
        disabled_reason: Option<String>,
        probe_at: Option<Timestamp>,
        failing_since: Option<Timestamp>,
        failures: i64,
        sealed_secret: Vec<u8>,
        sealed_previous_secret: Option<Vec<u8>>,
        previous_secret_until: Option<Timestamp>,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
}

impl WebhookRow {
    fn read(self, sealer: &Sealer) -> Result<Subscription, Error> {
        let settings = settings(&self.callback_url, &self.types, self.fifo)?;
        let secret = open(sealer, (SECRET, self.id), &self.sealed_secret)?;
        let previous =
            self.sealed_previous_secret.map(|sealed| open(sealer, (PREVIOUS, self.id), &sealed)).transpose()?;
        let previous = previous.zip(self.previous_secret_until);
        Ok(Subscription {
            id: self.id,
            programme_id: self.programme_id,
            settings,
            disabled_reason: self.disabled_reason.map(disabled_reason).transpose()?,
            probe_at: self.probe_at,
            failing_since: self.failing_since,
            failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
            secret,
            previous_secret: previous.map(|(secret, until)| RotatedSecret { secret, until }),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

row! {
    /// Without its secrets: one that does not open keeps nobody from reading the rest.
    struct SummaryRow {
        id: Uuid,
        callback_url: String,
        types: String,
        fifo: bool,
        disabled_reason: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
}

impl SummaryRow {
    fn read(self) -> Result<Summary, Error> {
        Ok(Summary {
            id: self.id,
            settings: settings(&self.callback_url, &self.types, self.fifo)?,
            disabled_reason: self.disabled_reason.map(disabled_reason).transpose()?,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn settings(callback_url: &str, types: &str, fifo: bool) -> Result<Settings, Error> {
    // Judged by the rules of its programme when it was set, and again whenever it is called.
    let callback_url = CallbackUrl::parse(callback_url, Reach::Private)
        .map_err(|error| Error::unreadable("webhooks.callback_url", &error.to_string()))?;
    let known: Option<BTreeSet<_>> = types.split(',').map(WebhookType::from_name).collect();
    let types = known.ok_or_else(|| Error::unreadable("webhooks.types", types))?;
    Ok(Settings { callback_url, types, fifo })
}

fn disabled_reason(name: String) -> Result<DisabledReason, Error> {
    DisabledReason::from_name(&name).ok_or_else(|| Error::unreadable("webhooks.disabled_reason", &name))
}

fn types(settings: &Settings) -> String {
    let names: Vec<_> = settings.types.iter().map(|it| it.as_str()).collect();
    names.join(",")
}

/// Inserts a subscription.
pub async fn insert(tx: &mut Tx, it: &Subscription) -> Result<(), Error> {
    let sealed = seal(tx, (SECRET, it.id), &it.secret).await?;
    tx.query(
        "INSERT INTO webhooks (id, programme_id, callback_url, types, fifo, failures, sealed_secret, created_at, updated_at, deleted) \
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9)",
    )
    .bind(it.id)
    .bind(it.programme_id)
    .bind(it.settings.callback_url.as_str())
    .bind(types(&it.settings))
    .bind(it.settings.fifo)
    .bind(sealed)
    .bind(it.created_at)
    .bind(it.updated_at)
    .bind(false)
    .execute()
    .await?;
    Ok(())
}

/// A programme's subscription.
pub async fn get_owned<'o>(
    on: &mut impl Connection,
    owner: impl Into<Owner<'o>>,
    id: Uuid,
) -> Result<Option<Summary>, Error> {
    let Owner { programme_id, standing } = owner.into();
    let query = on
        .query(
            "SELECT id, callback_url, types, fifo, disabled_reason, created_at, updated_at FROM webhooks \
             WHERE id = $1 AND programme_id = $2 AND deleted = $3",
        )
        .bind(id)
        .bind(programme_id)
        .bind(false);
    let row: Option<SummaryRow> = standing::and(query, standing).optional().await?;
    row.map(SummaryRow::read).transpose()
}

/// A subscription held for a change, of any programme.
pub async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Subscription>, Error> {
    let sealer = tx.sealer().clone();
    let row: Option<WebhookRow> = tx
        .query(
            "SELECT id, programme_id, callback_url, types, fifo, disabled_reason, probe_at, failing_since, failures, sealed_secret, \
             sealed_previous_secret, previous_secret_until, created_at, updated_at FROM webhooks WHERE id = $1 AND deleted = $2",
        )
        .bind(id)
        .bind(false)
        .for_update()
        .optional()
        .await?;
    row.map(|row| row.read(&sealer)).transpose()
}

/// Writes back what [`lock`] gave and a change left.
pub async fn update(tx: &mut Tx, it: &Subscription) -> Result<(), Error> {
    let sealed = seal(tx, (SECRET, it.id), &it.secret).await?;
    let sealed_previous = match &it.previous_secret {
        Some(old) => Some(seal(tx, (PREVIOUS, it.id), &old.secret).await?),
        None => None,
    };
    tx.query(
        "UPDATE webhooks SET callback_url = $2, types = $3, fifo = $4, disabled_reason = $5, probe_at = $6, \
         failing_since = $7, failures = $8, sealed_secret = $9, sealed_previous_secret = $10, \
         previous_secret_until = $11, updated_at = $12 \
         WHERE id = $1",
    )
    .bind(it.id)
    .bind(it.settings.callback_url.as_str())
    .bind(types(&it.settings))
    .bind(it.settings.fifo)
    .bind(it.disabled_reason.map(DisabledReason::as_str))
    .bind(it.probe_at)
    .bind(it.failing_since)
    .bind(i64::from(it.failures))
    .bind(sealed)
    .bind(sealed_previous)
    .bind(it.previous_secret.as_ref().map(|old| old.until))
    .bind(it.updated_at)
    .execute()
    .await?;
    Ok(())
}

/// Deletes a subscription, as far as anybody can see; `false` when the programme has no such. What is left of it goes
/// with [`sweep`].
pub async fn delete(tx: &mut Tx, programme_id: Uuid, id: Uuid) -> Result<bool, Error> {
    let gone = tx
        .query("UPDATE webhooks SET deleted = $3, sealed_secret = NULL, sealed_previous_secret = NULL WHERE id = $1 AND programme_id = $2 AND deleted = $4")
        .bind(id)
        .bind(programme_id)
        .bind(true)
        .bind(false)
        .execute()
        .await?;
    Ok(gone == 1)
}

/// Removes at most `limit` deliveries of one deleted subscription, and the subscription after its last; how many.
pub async fn sweep(tx: &mut Tx, limit: i64) -> Result<u64, Error> {
    let gone: Option<(Uuid,)> = tx
        .query("SELECT id FROM webhooks WHERE deleted ORDER BY id LIMIT 1")
        .for_update_skip_locked()
        .optional()
        .await?;
    let Some((id,)) = gone else { return Ok(0) };
    let removed = tx
        .query(
            "DELETE FROM deliveries WHERE webhook_id = $1 AND event_id IN \
             (SELECT event_id FROM deliveries WHERE webhook_id = $1 ORDER BY event_id LIMIT $2)",
        )
        .bind(id)
        .bind(limit)
        .execute()
        .await?;
    if removed == 0 {
        tx.query("DELETE FROM webhook_leases WHERE webhook_id = $1").bind(id).execute().await?;
        tx.query("DELETE FROM webhooks WHERE id = $1").bind(id).execute().await?;
    }
    Ok(removed)
}

/// At most `limit` of a programme's subscriptions after the one where the last page ended, newest first.
pub async fn page(
    on: &mut impl Connection,
    programme_id: Uuid,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Summary>, Error> {
    let mut query = on
        .query(
            "SELECT id, callback_url, types, fifo, disabled_reason, created_at, updated_at FROM webhooks \
             WHERE programme_id = $1 AND deleted = $2",
        )
        .bind(programme_id)
        .bind(false);
    if let Some((at, id)) = after {
        query = query.push(" AND (created_at, id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    let rows: Vec<SummaryRow> = query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit).all().await?;
    rows.into_iter().map(SummaryRow::read).collect()
}

row! {
    struct RecipientRow {
        id: Uuid,
        programme_id: Uuid,
        callback_url: String,
        types: String,
        fifo: bool,
        disabled_reason: Option<String>,
        probe_at: Option<Timestamp>,
        failing_since: Option<Timestamp>,
        failures: i64,
        sealed_secret: Vec<u8>,
        sealed_previous_secret: Option<Vec<u8>>,
        previous_secret_until: Option<Timestamp>,
        created_at: Timestamp,
        updated_at: Timestamp,
        sandbox: bool,
        pauses: String,
    }
}

/// A subscription that a node has leased, and what sending its deliveries asks of its programme.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The subscription.
    pub subscription: Subscription,
    /// Whether its programme is a sandbox.
    pub sandbox: bool,
    /// When its programme was disabled.
    pub pauses: Pauses,
}

/// The subscription of a lease, with its secrets; `None` where the lease has ended, the subscription is deleted, or its programme is
/// disabled.
pub async fn leased(on: &mut impl Connection, lease: &Lease) -> Result<Option<Recipient>, Error> {
    let sealer = on.sealer().clone();
    let row: Option<RecipientRow> = on
        .query(
            "SELECT w.id, w.programme_id, w.callback_url, w.types, w.fifo, w.disabled_reason, w.probe_at, w.failing_since, \
             w.failures, w.sealed_secret, w.sealed_previous_secret, w.previous_secret_until, w.created_at, w.updated_at, p.sandbox, \
             p.pauses FROM webhook_leases l JOIN webhooks w ON w.id = l.webhook_id JOIN programmes p ON p.id = w.programme_id \
             WHERE l.webhook_id = $1 AND l.node = $2 AND l.epoch = $3 AND NOT w.deleted AND NOT p.disabled",
        )
        .bind(lease.webhook_id)
        .bind(lease.node)
        .bind(lease.epoch)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (sandbox, pauses) = (row.sandbox, read_pauses(&row.pauses)?);
    let row = WebhookRow {
        id: row.id,
        programme_id: row.programme_id,
        callback_url: row.callback_url,
        types: row.types,
        fifo: row.fifo,
        disabled_reason: row.disabled_reason,
        probe_at: row.probe_at,
        failing_since: row.failing_since,
        failures: row.failures,
        sealed_secret: row.sealed_secret,
        sealed_previous_secret: row.sealed_previous_secret,
        previous_secret_until: row.previous_secret_until,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(Some(Recipient { subscription: row.read(&sealer)?, sandbox, pauses }))
}

/// A subscription with its secrets as they are stored.
type SealedRow = (Uuid, Option<Vec<u8>>, Option<Vec<u8>>);

/// Seals the secrets of at most `limit` subscriptions after one.
pub(super) async fn reseal(tx: &mut Tx, which: Which, (after, limit): (Uuid, i64)) -> Result<Batch<Uuid>, Error> {
    let sealer = tx.sealer().clone();
    let rows: Vec<SealedRow> = tx
        .query("SELECT id, sealed_secret, sealed_previous_secret FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .for_update()
        .all()
        .await?;
    let mut batch = Batch { sealed: 0, last: rows.last().map(|(id, ..)| *id) };
    for (id, secret, previous) in rows {
        let reseal = |column, value: Option<&Vec<u8>>| match value {
            Some(value) => which.reseal(&sealer, place(column, &id), value),
            None => Ok(None),
        };
        let sealed = (reseal(SECRET, secret.as_ref())?, reseal(PREVIOUS, previous.as_ref())?);
        if sealed == (None, None) {
            continue;
        }
        let update = tx.query("UPDATE webhooks SET sealed_secret = $2, sealed_previous_secret = $3 WHERE id = $1");
        batch.sealed += update.bind(id).bind(sealed.0.or(secret)).bind(sealed.1.or(previous)).execute().await?;
    }
    Ok(batch)
}
