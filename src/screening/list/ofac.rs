//! OFAC's SDN_ADVANCED.XML, and its other lists in the same format (the Advanced Sanctions List Standard).
//!
//! What is read of it, by local names, whatever the namespace:
//!
//! - `FeatureType ID="345"` says "Digital Currency Address - ETH": features of that type are addresses.
//! - `DistinctParty FixedRef` holds a `Profile ID` with its names and its features; the `VersionDetail` of such a feature is
//!   an address.
//! - `SanctionsEntry ProfileID` has a `SanctionsMeasure` for each programme, whose `SanctionsTypeID` is that of the
//!   `SanctionsType` "Program" and whose `Comment` is the programme, such as CYBER2.
//!
//! The three come in this order. The file has some hundred megabytes: it is streamed, and of a party without addresses nothing
//! is kept.

use std::collections::{HashMap, HashSet};

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::ListError;
use super::source::Source;
use super::table::{Location, Party, Table};
use crate::screening::address::Entry;

/// How the name of a feature that is an address begins; the currency's code follows.
const ADDRESS: &str = "Digital Currency Address - ";
/// The measure whose comment is a sanctions programme.
const PROGRAMME: &str = "Program";
/// What the document is.
const ROOT: &str = "Sanctions";
/// Longest text of an element that is kept, in bytes.
const TEXT_MAX: usize = 1024;

pub(super) fn read(source: Source, table: &mut Table) -> Result<Source, ListError> {
    let mut reader = Reader::from_reader(source);
    reader.config_mut().expand_empty_elements = true;
    let (mut list, mut buffer, mut depth, mut whole) = (Document::new(table), Vec::new(), 0_usize, false);
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => return Err(at(&reader, format!("not well-formed XML: {error}"))),
        };
        let read = match event {
            Event::Start(element) => {
                depth += 1;
                if depth == 1 && element.local_name().as_ref() != ROOT {
                    let name = element.local_name().as_ref().to_owned();
                    return Err(at(&reader, format!("the XML is not a list of OFAC's: want {ROOT}, found {name}")));
                }
                list.start(&element)
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                whole = depth == 0;
                list.end(element.local_name().as_ref())
            }
            Event::Text(text) => {
                list.text(&text);
                Ok(())
            }
            Event::CData(text) => {
                list.text(&text);
                Ok(())
            }
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref() {
                    Ok(Some(c)) => list.text(c.encode_utf8(&mut [0; 4])),
                    _ => list.text(resolve_predefined_entity(&reference).unwrap_or_default()),
                }
                Ok(())
            }
            Event::Eof if whole => return Ok(reader.into_inner()),
            Event::Eof => return Err(at(&reader, "the file ends in the middle".to_owned())),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => Ok(()),
        };
        read.map_err(|problem| at(&reader, problem))?;
    }
}

fn at(reader: &Reader<Source>, problem: String) -> ListError {
    ListError::Malformed { line: reader.get_ref().line(), problem }
}

/// The part of the document that is in memory while it is read.
struct Document<'a> {
    table: &'a mut Table,
    /// Currencies by the id of their feature type.
    currencies: HashMap<String, String>,
    /// Ids of the measure "Program".
    programmes: HashSet<String>,
    /// Parties of the table by the id of their profile.
    profiles: HashMap<String, usize>,
    /// The text of the element that is read, where it is of interest.
    text: Option<String>,
    /// The id that the element, or the one around it, has.
    id: String,
    party: OpenParty,
    /// The currency of the feature that is read.
    currency: Option<String>,
    /// The party whose sanctions are read, and whether the measure that is read is a programme.
    sanctioned: (Option<usize>, bool),
}

/// The party that is read.
#[derive(Default)]
struct OpenParty {
    reference: String,
    profile: String,
    /// The parts of its first name.
    name: Vec<String>,
    names: usize,
    /// Its index in the table, once it has an address.
    index: Option<usize>,
}

impl<'a> Document<'a> {
    fn new(table: &'a mut Table) -> Self {
        Self {
            table,
            currencies: HashMap::new(),
            programmes: HashSet::new(),
            profiles: HashMap::new(),
            text: None,
            id: String::new(),
            party: OpenParty::default(),
            currency: None,
            sanctioned: (None, false),
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        match element.local_name().as_ref() {
            "FeatureType" | "SanctionsType" => {
                self.id = attribute(element, "ID")?;
                self.text = Some(String::new());
            }
            "DistinctParty" => {
                self.party = OpenParty { reference: attribute(element, "FixedRef")?, ..OpenParty::default() };
            }
            "Profile" => self.party.profile = attribute(element, "ID")?,
            "DocumentedName" => self.party.names += 1,
            "NamePartValue" if self.party.names == 1 => self.text = Some(String::new()),
            "Feature" => self.currency = self.currencies.get(&attribute(element, "FeatureTypeID")?).cloned(),
            "VersionDetail" if self.currency.is_some() => self.text = Some(String::new()),
            "SanctionsEntry" => self.sanctioned.0 = self.profiles.get(&attribute(element, "ProfileID")?).copied(),
            "SanctionsMeasure" => {
                self.sanctioned.1 = self.programmes.contains(&attribute(element, "SanctionsTypeID")?);
            }
            "Comment" if self.sanctioned.0.is_some() && self.sanctioned.1 => self.text = Some(String::new()),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(kept) = self.text.as_mut().filter(|kept| kept.len() + text.len() <= TEXT_MAX) {
            kept.push_str(text);
        }
    }

    fn end(&mut self, name: &str) -> Result<(), String> {
        let text = self.text.take().map(|text| text.trim().to_owned());
        match (name, text) {
            ("FeatureType", Some(text)) => {
                if let Some(currency) = text.strip_prefix(ADDRESS) {
                    self.currencies.insert(std::mem::take(&mut self.id), currency.trim().to_ascii_uppercase());
                }
            }
            ("SanctionsType", Some(text)) if text == PROGRAMME => {
                self.programmes.insert(std::mem::take(&mut self.id));
            }
            ("NamePartValue", Some(text)) => self.party.name.push(text),
            ("VersionDetail", Some(text)) => self.address(&text)?,
            ("Comment", Some(text)) => self.programme(&text),
            ("Feature", _) => self.currency = None,
            ("SanctionsMeasure", _) => self.sanctioned.1 = false,
            ("SanctionsEntry", _) => self.sanctioned.0 = None,
            _ => {}
        }
        Ok(())
    }

    fn address(&mut self, text: &str) -> Result<(), String> {
        let currency = self.currency.as_slice();
        let entry = Entry::named(currency, text)
            .map_err(|problem| format!("{} of party {}: {problem}", currency.concat(), self.party.reference))?;
        if entry == Entry::Foreign {
            self.table.pass_over();
            return Ok(());
        }
        let index = match self.party.index {
            Some(index) => index,
            None => {
                let OpenParty { reference, name, .. } = &self.party;
                let entry = format!("party {reference} {}", name.join(" ")).trim_end().to_owned();
                let index = self.table.party(Party { entry, programme: String::new() });
                self.party.index = Some(index);
                self.profiles.insert(self.party.profile.clone(), index);
                index
            }
        };
        self.table.add(entry, Location::Party(index));
        Ok(())
    }

    fn programme(&mut self, text: &str) {
        let party = self.sanctioned.0.and_then(|index| self.table.party_mut(index));
        if let Some(party) = party.filter(|_| !text.is_empty()) {
            let more = if party.programme.is_empty() { "" } else { ", " };
            party.programme = format!("{}{more}{text}", party.programme);
        }
    }
}

/// The value of an attribute; empty where it is absent.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<String, String> {
    let malformed = |error: &dyn std::fmt::Display| format!("attribute {name}: {error}");
    match element.try_get_attribute(name).map_err(|error| malformed(&error))? {
        Some(attribute) => {
            Ok(attribute.normalized_value(XmlVersion::default()).map_err(|error| malformed(&error))?.into_owned())
        }
        None => Ok(String::new()),
    }
}
