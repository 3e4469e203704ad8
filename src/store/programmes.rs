//! Programmes: who may call, and the credentials they call with.

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;
use crate::domain::pause::Pauses;
use crate::domain::programme::Programme;

/// A programme about to be inserted.
#[derive(Debug)]
pub struct NewProgramme<'a> {
    /// The programme.
    pub programme: &'a Programme,
    /// Its API key.
    pub api_key: Uuid,
    /// argon2id hash of its API secret, a PHC string.
    pub api_secret_hash: &'a str,
    /// Now.
    pub at: Timestamp,
}

row! {
    /// A programme as `customerd programme list` shows it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Listed {
        /// Its id.
        pub id: Uuid,
        /// Its name.
        pub name: String,
        /// Whether it is a sandbox programme.
        pub sandbox: bool,
        /// Whether it was disabled.
        pub disabled: bool,
        /// Its API key, unless deleted.
        pub api_key: Option<Uuid>,
        /// When it was created.
        pub created_at: Timestamp,
    }
}

row! {
    /// What a token exchange needs.
    #[derive(Clone)]
    pub struct Credentials {
        /// The programme.
        pub id: Uuid,
        /// argon2id hash, a PHC string.
        pub api_secret_hash: String,
        /// The generation to issue tokens under.
        pub generation: i64,
    }
}

row! {
    /// The programme behind a bearer token, with one of its signing keys.
    #[derive(Debug, Clone)]
    pub struct Bearer {
        /// Its name.
        pub name: String,
        /// Whether it is a sandbox programme.
        pub sandbox: bool,
        /// Whether it was disabled.
        pub disabled: bool,
        /// The live generation of its credentials.
        pub generation: i64,
        /// The key's id; absent when the programme has none of the keys asked for.
        pub key_id: Option<String>,
        /// The key, SubjectPublicKeyInfo in DER.
        pub public_key: Option<Vec<u8>>,
    }
}

/// Inserts a programme.
///
/// # Errors
///
/// [`Error::Unique`] when the API key is taken.
pub async fn insert(tx: &mut Tx, new: &NewProgramme<'_>) -> Result<(), Error> {
    tx.query(
        "INSERT INTO programmes (id, name, sandbox, disabled, api_key, api_secret_hash, generation, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(new.programme.id)
    .bind(new.programme.name.as_str())
    .bind(new.programme.sandbox)
    .bind(false)
    .bind(new.api_key)
    .bind(new.api_secret_hash)
    .bind(1_i64)
    .bind(new.at)
    .execute()
    .await?;
    Ok(())
}

/// Whether there is any programme.
pub async fn any(on: &mut impl Connection) -> Result<bool, Error> {
    Ok(on.query("SELECT id FROM programmes LIMIT 1").optional::<(Uuid,)>().await?.is_some())
}

/// Writes no row, and fails where none could be written: PostgreSQL asks first whether it may.
pub async fn write_nothing(tx: &mut Tx) -> Result<(), Error> {
    tx.query("UPDATE programmes SET name = name WHERE id = $1").bind(Uuid::nil()).execute().await?;
    Ok(())
}

/// Whether there is a live programme that is not disabled.
pub async fn any_live(on: &mut impl Connection) -> Result<bool, Error> {
    let query = on.query("SELECT id FROM programmes WHERE NOT sandbox AND NOT disabled LIMIT 1");
    Ok(query.optional::<(Uuid,)>().await?.is_some())
}

/// All programmes, oldest first.
pub async fn list(on: &mut impl Connection) -> Result<Vec<Listed>, Error> {
    on.query("SELECT id, name, sandbox, disabled, api_key, created_at FROM programmes ORDER BY created_at, id")
        .all()
        .await
}

/// A programme, disabled or not.
pub async fn listed(on: &mut impl Connection, id: Uuid) -> Result<Option<Listed>, Error> {
    on.query("SELECT id, name, sandbox, disabled, api_key, created_at FROM programmes WHERE id = $1")
        .bind(id)
        .optional()
        .await
}

/// The first of these programmes that does not exist.
pub async fn unknown(on: &mut impl Connection, ids: &[Uuid]) -> Result<Option<Uuid>, Error> {
    if ids.is_empty() {
        return Ok(None);
    }
    let known: Vec<(Uuid,)> =
        on.query("SELECT id FROM programmes WHERE id IN ").push_list(ids.iter().copied()).all().await?;
    Ok(ids.iter().copied().find(|id| known.iter().all(|(known,)| known != id)))
}

/// A live programme.
pub async fn get(on: &mut impl Connection, id: Uuid) -> Result<Option<Programme>, Error> {
    let row: Option<(String, bool)> = on
        .query("SELECT name, sandbox FROM programmes WHERE id = $1 AND disabled = $2")
        .bind(id)
        .bind(false)
        .optional()
        .await?;
    Ok(row.map(|(name, sandbox)| Programme { id, name, sandbox }))
}

/// The live programme with this API key.
pub async fn credentials(on: &mut impl Connection, api_key: Uuid) -> Result<Option<Credentials>, Error> {
    on.query("SELECT id, api_secret_hash, generation FROM programmes WHERE api_key = $1 AND disabled = $2")
        .bind(api_key)
        .bind(false)
        .optional()
        .await
}

/// The programme of a bearer token, one row for each of `key_ids` that it has, or one row without a key.
pub async fn bearer(on: &mut impl Connection, id: Uuid, key_ids: &[&str]) -> Result<Vec<Bearer>, Error> {
    if key_ids.is_empty() {
        return on
            .query(
                "SELECT name, sandbox, disabled, generation, CAST(NULL AS text) AS key_id, public_key \
                 FROM programmes LEFT JOIN signing_keys ON false WHERE id = $1",
            )
            .bind(id)
            .optional()
            .await
            .map(|row| row.into_iter().collect());
    }
    let query = on
        .query(
            "SELECT p.name, p.sandbox, p.disabled, p.generation, k.key_id, k.public_key \
             FROM programmes p LEFT JOIN signing_keys k ON k.programme_id = p.id AND k.key_id IN ",
        )
        .push_list(key_ids.iter().copied())
        .push(" WHERE p.id = ")
        .push_bind(id);
    // One row at the most then, which is quicker to ask for.
    if key_ids.len() == 1 { Ok(query.optional().await?.into_iter().collect()) } else { query.all().await }
}

/// Replaces the credentials, or removes them with `None`; every token issued before dies.
///
/// `false` when another programme has the API key.
///
/// # Errors
///
/// [`Error::Retry`] and the like; two programmes that take one key at the same moment end in [`Error::Unique`].
pub async fn set_credentials(tx: &mut Tx, id: Uuid, new: Option<(Uuid, &str)>, at: Timestamp) -> Result<bool, Error> {
    if let Some((api_key, _)) = new {
        let taken: Option<(Uuid,)> = tx
            .query("SELECT id FROM programmes WHERE api_key = $1 AND id <> $2")
            .bind(api_key)
            .bind(id)
            .optional()
            .await?;
        if taken.is_some() {
            return Ok(false);
        }
    }
    tx.query(
        "UPDATE programmes SET api_key = $2, api_secret_hash = $3, generation = generation + 1, updated_at = $4 WHERE id = $1",
    )
    .bind(id)
    .bind(new.map(|(api_key, _)| api_key))
    .bind(new.map(|(_, hash)| hash))
    .bind(at)
    .execute()
    .await?;
    Ok(true)
}

/// Disables a programme, so that its tokens and keys stop working and its deliveries pause; or enables it again, so that its
/// credentials and keys work as before, with new tokens, and its deliveries go on with the time that they had left. `false`
/// when there is none, or it was so before.
pub async fn set_disabled(tx: &mut Tx, id: Uuid, disabled: bool, at: Timestamp) -> Result<bool, Error> {
    let row: Option<(bool, Option<Timestamp>, String)> = tx
        .query("SELECT disabled, disabled_at, pauses FROM programmes WHERE id = $1")
        .bind(id)
        .for_update()
        .optional()
        .await?;
    let Some((_, disabled_at, pauses)) = row.filter(|(before, ..)| *before != disabled) else { return Ok(false) };
    if disabled {
        disable(tx, id, at).await?
    } else {
        enable(tx, (id, at), (disabled_at, &pauses)).await?
    }
    Ok(true)
}

async fn disable(tx: &mut Tx, id: Uuid, at: Timestamp) -> Result<(), Error> {
    tx.query(
        "UPDATE programmes SET disabled = $2, disabled_at = $3, generation = generation + 1, updated_at = $3 WHERE id = $1",
    )
    .bind(id)
    .bind(true)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

async fn enable(
    tx: &mut Tx,
    (id, at): (Uuid, Timestamp),
    (disabled_at, pauses): (Option<Timestamp>, &str),
) -> Result<(), Error> {
    let mut pauses = read_pauses(pauses)?;
    if let Some(disabled_at) = disabled_at {
        pauses.add(disabled_at, at);
    }
    tx.query("UPDATE programmes SET disabled = $2, disabled_at = NULL, pauses = $3, updated_at = $4 WHERE id = $1")
        .bind(id)
        .bind(false)
        .bind(pauses_text(&pauses))
        .bind(at)
        .execute()
        .await?;
    tx.leaves_work();
    Ok(())
}

/// The pauses of a stored text.
pub(super) fn read_pauses(text: &str) -> Result<Pauses, Error> {
    let pairs: Vec<(i64, i64)> =
        serde_json::from_str(text).map_err(|error| Error::unreadable("programmes.pauses", &error.to_string()))?;
    let times = |(from, until)| (Timestamp::from_micros(from), Timestamp::from_micros(until));
    Ok(Pauses::new(pairs.into_iter().map(times).collect()))
}

fn pauses_text(pauses: &Pauses) -> String {
    let pairs: Vec<(i64, i64)> = pauses.iter().map(|(from, until)| (from.micros(), until.micros())).collect();
    // Numbers always serialise.
    serde_json::to_string(&pairs).unwrap_or_else(|_| "[]".to_owned())
}

/// Takes a name for a programme that the same transaction has inserted. `false` when another one has it; where two take one
/// at the same time, the second waits for the first.
pub async fn claim_name(tx: &mut Tx, name: &str, id: Uuid) -> Result<bool, Error> {
    let taken = tx
        .query("INSERT INTO programme_names (name, programme_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(id)
        .execute()
        .await?;
    // A version before this one made programmes without a row here.
    let other: Option<(Uuid,)> = tx
        .query("SELECT id FROM programmes WHERE name = $1 AND id <> $2 LIMIT 1")
        .bind(name)
        .bind(id)
        .optional()
        .await?;
    Ok(taken == 1 && other.is_none())
}
