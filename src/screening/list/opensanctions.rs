//! OpenSanctions' entities, a JSON object of the FollowTheMoney model a line. Wallets are listed; a wallet's programme is its
//! own, or its holder's by a `Sanction`, or else its topics. Everything else is passed over, but for the wallets nested in it:
//! some of the files have the entities that belong to another inside its properties.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufRead as _;

use serde::Deserialize;

use super::ListError;
use super::source::Source;
use super::table::{Location, Party, Table};
use crate::screening::address::Entry;

/// The schema of what has an address.
const WALLET: &str = "CryptoWallet";

/// The fields that are read. A field that is absent is empty; one of another type spoils the file.
#[derive(Deserialize)]
struct Entity {
    id: String,
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
        if kind.schema == "Sanction" {
            let sanction: Entity = serde_json::from_slice(&line).map_err(unread)?;
            holders.sanction(&sanction.properties);
        }
        // Few lines have one: the others are not read as a whole.
        if memmem(&line, WALLET.as_bytes()) {
            let value = serde_json::from_slice(&line).map_err(unread)?;
            wallets(table, &mut holders, &value).map_err(malformed)?;
        }
    }
    for (party, holder) in holders.waiting {
        if let (Some(programme), Some(party)) = (holders.programmes.get(&holder), table.party_mut(party)) {
            party.programme.clone_from(programme);
        }
    }
    Ok(())
}

fn memmem(line: &[u8], needle: &[u8]) -> bool {
    line.windows(needle.len()).any(|window| window == needle)
}

/// Reads a wallet, and those nested in an entity. How deep they may be is limited by the JSON parser.
fn wallets(table: &mut Table, holders: &mut Holders, value: &serde_json::Value) -> Result<(), String> {
    match value {
        serde_json::Value::Object(members) => {
            if members.get("schema").and_then(serde_json::Value::as_str) == Some(WALLET) {
                let entity = Entity::deserialize(value).map_err(|error| format!("{WALLET}: {error}"))?;
                wallet(table, holders, &entity)?;
            }
            members.values().try_for_each(|member| wallets(table, holders, member))
        }
        serde_json::Value::Array(items) => items.iter().try_for_each(|item| wallets(table, holders, item)),
        _ => Ok(()),
    }
}

fn wallet(table: &mut Table, holders: &mut Holders, entity: &Entity) -> Result<(), String> {
    // Without a key there is nothing to screen by.
    let (id, properties) = (&entity.id, &entity.properties);
    let currencies: Vec<String> = properties.currency.iter().map(|code| code.trim().to_ascii_uppercase()).collect();
    let mut party = None;
    for key in &properties.public_key {
        let entry = Entry::named(&currencies, key.trim()).map_err(|problem| format!("publicKey of {id}: {problem}"))?;
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
        table.add(entry, Location::Party(index));
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
