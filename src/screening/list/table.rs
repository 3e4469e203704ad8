//! Listed addresses in memory: sorted, 24 bytes for each of Ethereum's kind and 36 for each of Solana's.

use std::collections::BTreeMap;

use crate::domain::screening::{Hit, SANCTIONED_ADDRESS};

use super::super::address::{Address, Entry};

/// The addresses of a list, each with where it stands.
#[derive(Debug, Default)]
pub(super) struct Table {
    everywhere: Addresses,
    by_chain: BTreeMap<Box<str>, Addresses>,
    /// What [`Location::Party`] counts.
    parties: Vec<Party>,
    /// Addresses of chains that no customer can have.
    foreign: usize,
}

/// Whom a list names.
#[derive(Debug, Default)]
pub(super) struct Party {
    /// As the list identifies it.
    pub(super) entry: String,
    /// The sanctions programmes.
    pub(super) programme: String,
}

/// Where in a list an address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    /// On this line, from 1.
    Line(usize),
    /// With this party, by its index.
    Party(usize),
}

#[derive(Debug, Default)]
struct Addresses {
    evm: Vec<([u8; 20], u32)>,
    solana: Vec<([u8; 32], u32)>,
}

/// Lines and parties share 32 bits: the lowest bit tells which.
fn pack(place: Location) -> u32 {
    let (number, kind) = match place {
        Location::Line(number) => (number, 0),
        Location::Party(number) => (number, 1),
    };
    u32::try_from(number).unwrap_or(u32::MAX >> 1).min(u32::MAX >> 1) << 1 | kind
}

impl Addresses {
    fn add(&mut self, address: Address, place: Location) {
        match address {
            Address::Evm(bytes) => self.evm.push((bytes, pack(place))),
            Address::Solana(bytes) => self.solana.push((bytes, pack(place))),
        }
    }

    /// Sorts, and keeps the first of those that are there twice.
    fn seal(&mut self) {
        self.evm.sort_unstable();
        self.evm.dedup_by_key(|(address, _)| *address);
        self.evm.shrink_to_fit();
        self.solana.sort_unstable();
        self.solana.dedup_by_key(|(address, _)| *address);
        self.solana.shrink_to_fit();
    }

    fn find(&self, address: &Address) -> Option<u32> {
        match address {
            Address::Evm(bytes) => find(&self.evm, bytes),
            Address::Solana(bytes) => find(&self.solana, bytes),
        }
    }

    fn len(&self) -> usize {
        self.evm.len() + self.solana.len()
    }
}

fn find<const N: usize>(sorted: &[([u8; N], u32)], address: &[u8; N]) -> Option<u32> {
    let index = sorted.binary_search_by(|(listed, _)| listed.cmp(address)).ok()?;
    sorted.get(index).map(|(_, place)| *place)
}

impl Table {
    pub(super) fn add(&mut self, entry: Entry<'_>, place: Location) {
        match entry {
            Entry::Everywhere(address) => self.everywhere.add(address, place),
            Entry::On(chain, address) => match self.by_chain.get_mut(chain) {
                Some(listed) => listed.add(address, place),
                None => {
                    let mut listed = Addresses::default();
                    listed.add(address, place);
                    self.by_chain.insert(chain.into(), listed);
                }
            },
            Entry::Foreign => self.foreign += 1,
        }
    }

    /// Counts an address of a chain that no customer can have.
    pub(super) fn pass_over(&mut self) {
        self.foreign += 1;
    }

    /// Adds a party; its index.
    pub(super) fn party(&mut self, party: Party) -> usize {
        self.parties.push(party);
        self.parties.len() - 1
    }

    /// A party, to be told more of.
    pub(super) fn party_mut(&mut self, index: usize) -> Option<&mut Party> {
        self.parties.get_mut(index)
    }

    /// All has been read: makes it ready to be asked.
    pub(super) fn seal(&mut self) {
        self.everywhere.seal();
        self.by_chain.values_mut().for_each(Addresses::seal);
        self.parties.shrink_to_fit();
    }

    /// The hit of an account on a chain, if it is listed.
    pub(super) fn find(&self, chain: &str, address: &Address, list: &str) -> Option<Hit> {
        let on_chain = || self.by_chain.get(chain).and_then(|listed| listed.find(address));
        let place = self.everywhere.find(address).or_else(on_chain)?;
        let (number, hit) = (place >> 1, Hit::new(SANCTIONED_ADDRESS, list));
        if place & 1 == 0 {
            return Some(hit.found("", &format!("line {number}")));
        }
        let party = usize::try_from(number).ok().and_then(|number| self.parties.get(number));
        Some(party.map_or(hit.clone(), |party| hit.found(&party.programme, &party.entry)))
    }

    /// Whether nobody at all is named, on whatever chain.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.foreign == 0
    }

    /// How many addresses are listed.
    pub(super) fn len(&self) -> usize {
        self.everywhere.len() + self.by_chain.values().map(Addresses::len).sum::<usize>()
    }

    /// How many addresses were passed over, because no customer can have them.
    pub(super) fn foreign(&self) -> usize {
        self.foreign
    }
}
