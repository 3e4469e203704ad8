//! OpenSanctions' entities, a JSON object of the FollowTheMoney model a line. Wallets are listed; a wallet's programme is its
//! own, or its holder's by a `Sanction`, or else its topics. Everything else is passed over.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufRead as _;

use serde::Deserialize;

use super::ListError;
use super::source::Source;
use super::table::{Party, Place, Table};
use crate::screening::address::Entry;

/// The fields that are read. A field that is absent is empty; one of another type spoils the file.
#[derive(Deserialize)]
struct Entity {
    id: String,
    schema: String,
    #[serde(default)]
    properties: Properties,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    public_key: Vec<String>,
    #[serde(default)]
    currency: Vec<String>,
    #[serde(default)]
    holder: Vec<serde_json::Value>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    program_id: Vec<String>,
    #[serde(default)]
    program: Vec<String>,
    #[serde(default)]
    entity: Vec<serde_json::Value>,
}

/// Reads only what tells whether a line is of interest.
#[derive(Deserialize)]
struct Kind {
    schema: String,
}

impl Properties {
    /// The programmes, in one text.
    fn programmes(&self) -> String {
        let named = if self.program_id.is_empty() { &self.program } else { &self.program_id };
        named.join(", ")
    }
}

/// What is known of holders, by a hash of their ids: a list has many more of them than wallets. Two ids of one hash would
/// exchange a name in the audit trail, no more.
#[derive(Default)]
struct Holders {
    programmes: HashMap<u64, String>,
    /// Parties of the table whose programme is their holder's.
    waiting: Vec<(usize, u64)>,
}

pub(super) fn read(source: &mut Source, table: &mut Table) -> Result<(), ListError> {
    let (mut line, mut holders) = (Vec::new(), Holders::default());
    loop {
        let number = source.line();
        line.clear();
        if source.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let malformed = |problem: String| ListError::Malformed { line: number, problem };
        let unread = |_| malformed("no entity: want a JSON object with id, schema and properties".to_owned());
        let kind: Kind = serde_json::from_slice(&line).map_err(unread)?;
        if !matches!(kind.schema.as_str(), "CryptoWallet" | "Sanction") {
            continue;
        }
        let entity: Entity = serde_json::from_slice(&line).map_err(unread)?;
        match entity.schema.as_str() {
            "Sanction" => holders.sanction(&entity.properties),
            _ => wallet(table, &mut holders, &entity).map_err(malformed)?,
        }
    }
    for (party, holder) in holders.waiting {
        if let (Some(programme), Some(party)) = (holders.programmes.get(&holder), table.party_mut(party)) {
            party.programme.clone_from(programme);
        }
    }
    Ok(())
}

fn wallet(table: &mut Table, holders: &mut Holders, entity: &Entity) -> Result<(), String> {
    let (id, properties) = (&entity.id, &entity.properties);
    if properties.public_key.is_empty() {
        // There is nothing to screen by.
        table.pass_over();
        return Ok(());
    }
    let currency = properties.currency.first().map(|code| code.trim().to_ascii_uppercase()).unwrap_or_default();
    let mut party = None;
    for key in &properties.public_key {
        let read = if currency.is_empty() { Entry::parse(key.trim()) } else { Entry::named(&currency, key.trim()) };
        let entry = read.map_err(|problem| format!("publicKey of {id}: {problem}"))?;
        if entry == Entry::Foreign {
            table.pass_over();
            continue;
        }
        let index = *party.get_or_insert_with(|| {
            let own = properties.programmes();
            let programme = if own.is_empty() { properties.topics.join(", ") } else { own.clone() };
            let index = table.party(Party { entry: format!("entity {id}"), programme });
            if own.is_empty()
                && let Some(holder) = properties.holder.iter().find_map(reference)
            {
                holders.waiting.push((index, holder));
            }
            index
        });
        table.add(entry, Place::Party(index));
    }
    Ok(())
}

impl Holders {
    fn sanction(&mut self, properties: &Properties) {
        let programmes = properties.programmes();
        if programmes.is_empty() {
            return;
        }
        for id in properties.entity.iter().filter_map(reference) {
            let known = self.programmes.entry(id).or_default();
            if known.is_empty() {
                known.clone_from(&programmes);
            } else if known.len() < 64 && *known != programmes {
                *known = format!("{known}, {programmes}");
            }
        }
    }
}

/// Another entity: its id, or nested as a whole.
fn reference(value: &serde_json::Value) -> Option<u64> {
    let id = value.as_str().or_else(|| value.get("id")?.as_str())?;
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    Some(hasher.finish())
}
