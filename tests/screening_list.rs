//! The list file: what matches, what is refused, and how a change takes effect.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use std::time::Duration;

use customerd::screening::{Hit, ListFile, Lists, Outage, Screened, Screening, ScreeningProvider, Verdict};
use tempfile::TempDir;

const EVM: &str = "0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";
const SOLANA: &str = "7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv";
const MAINNET: &str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ofac.txt");
        fs::write(&path, content).unwrap();
        Self { path, _folder: folder }
    }

    /// As an operator should: a complete file renamed over the old one.
    fn replace(&self, content: impl AsRef<[u8]>) {
        let new = self.path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    fn open(&self) -> ListFile {
        ListFile::open(&self.path).unwrap()
    }
}

fn refusal(content: impl AsRef<[u8]>) -> String {
    ListFile::open(File::new(content).path.clone()).unwrap_err().to_string()
}

async fn listed(list: &ListFile, account: &str) -> bool {
    match list.screen(account).await.unwrap().verdict {
        Verdict::Clear => false,
        Verdict::Hit(hit) => {
            assert_eq!((hit.reason_code, &hit.list[..]), ("SANCTIONED_ADDRESS", "ofac.txt"));
            true
        }
    }
}

#[tokio::test]
async fn a_bare_address_matches_on_every_chain_of_its_namespace() {
    let list = File::new(format!("{}\n{SOLANA}\n", EVM.to_uppercase().replace("0X", "0x"))).open();
    assert!(listed(&list, &format!("eip155:1:{EVM}")).await);
    assert!(listed(&list, &format!("eip155:8453:{}", EVM.to_lowercase())).await);
    assert!(listed(&list, &format!("{MAINNET}:{SOLANA}")).await);
    assert!(listed(&list, &format!("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:{SOLANA}")).await);
    assert!(!listed(&list, "eip155:1:0x0000000000000000000000000000000000000001").await);
    // base58 tells case apart: this is another key.
    assert!(!listed(&list, &format!("{MAINNET}:{}", SOLANA.replacen('S', "s", 1))).await);
}

#[tokio::test]
async fn an_account_id_matches_on_its_chain_only() {
    let list = File::new(format!("eip155:1:{}\n{MAINNET}:{SOLANA}", EVM.to_lowercase())).open();
    assert!(listed(&list, &format!("eip155:1:{EVM}")).await);
    assert!(!listed(&list, &format!("eip155:10:{EVM}")).await);
    assert!(listed(&list, &format!("{MAINNET}:{SOLANA}")).await);
    assert!(!listed(&list, &format!("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:{SOLANA}")).await);
}

#[tokio::test]
async fn comments_blank_lines_and_the_marks_of_other_systems_do_not_count() {
    let list = File::new(format!("\u{feff}# header\r\n\r\n  {EVM}\t# Lazarus\r\n#{SOLANA}\r\n")).open();
    assert_eq!(list.addresses(), 1);
    assert!(listed(&list, &format!("eip155:1:{EVM}")).await);
    assert!(!listed(&list, &format!("{MAINNET}:{SOLANA}")).await);
}

#[test]
fn a_bad_file_at_start_is_an_error_that_names_the_line() {
    insta::assert_snapshot!(refusal(format!("# one\n{EVM}\n0x12\n")), @"line 3: an eip155 address has 40 hexadecimal digits");
    insta::assert_snapshot!(refusal("12cbQLTFMXRnSzktFkuoG3eHoMeFtpTu3T"), @"line 1: no address: neither 0x with 40 hexadecimal digits, nor base58 of 32 bytes, nor one of another chain");
    insta::assert_snapshot!(refusal(b"\xff\xfe0\0x\0"), @"line 1: not UTF-8");
    insta::assert_snapshot!(refusal("# nobody\n\n"), @"holds no address; a list that names nobody would clear everybody");
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(ListFile::open(folder.path()).unwrap_err(), @"not a regular file");
    insta::assert_snapshot!(ListFile::open(folder.path().join("none")).unwrap_err(), @"No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_change_counts_once_the_file_was_checked() {
    let file = File::new(EVM);
    let list = file.open();
    let (evm, solana) = (format!("eip155:1:{EVM}"), format!("{MAINNET}:{SOLANA}"));
    assert_eq!((listed(&list, &evm).await, listed(&list, &solana).await), (true, false));
    let before = Lists::new(vec![file.open()]).fingerprint();
    file.replace(SOLANA);
    assert_eq!((listed(&list, &evm).await, listed(&list, &solana).await), (true, false));
    list.reload(Duration::ZERO);
    assert_eq!((listed(&list, &evm).await, listed(&list, &solana).await), (false, true));
    let after = Lists::new(vec![list]).fingerprint();
    assert_ne!(after, before);
    file.replace(EVM);
    assert_eq!(Lists::new(vec![file.open()]).fingerprint(), before, "it is the content that counts");
}

#[tokio::test]
async fn a_bad_or_missing_file_leaves_the_old_list_in_force() {
    let file = File::new(EVM);
    let list = file.open();
    let account = format!("eip155:1:{EVM}");
    for bad in ["", "# all lifted?\n", "garbage\n", "0x12"] {
        file.replace(bad);
        list.reload(Duration::ZERO);
        assert!(listed(&list, &account).await, "{bad:?}");
    }
    fs::remove_file(&file.path).unwrap();
    list.reload(Duration::ZERO);
    assert!(listed(&list, &account).await);
    file.replace(SOLANA);
    list.reload(Duration::ZERO);
    assert!(!listed(&list, &account).await);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_not_cleared() {
    let list = File::new(EVM).open();
    for account in ["", EVM, "eip155:1:0x12", "bip122:000000000019d6689c085ae165831e93:x"] {
        let answer: Result<Screened, Outage> = list.screen(account).await;
        assert!(answer.is_err(), "{account}");
    }
}

#[tokio::test]
async fn a_million_entries() {
    let mut text = String::with_capacity(45_000_000);
    for number in 0..1_000_000_u32 {
        writeln!(text, "0x{number:040x}").unwrap();
    }
    let list = File::new(&text).open();
    assert_eq!(list.addresses(), 1_000_000);
    assert!(listed(&list, &format!("eip155:1:0x{:040x}", 999_999)).await);
    assert!(!listed(&list, &format!("eip155:1:0x{:040x}", 1_000_000)).await);
}

/// What the hit of an account says.
fn hit(list: &ListFile, account: &str) -> Option<Hit> {
    match list.find(account).unwrap().verdict {
        Verdict::Clear => None,
        Verdict::Hit(hit) => Some(hit),
    }
}

const TRON: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
const BITCOIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

#[tokio::test]
async fn addresses_of_other_chains_are_counted_and_passed_over() {
    let list = File::new(format!("{TRON}\n{EVM}\n{BITCOIN} # mixer\n1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\n")).open();
    assert_eq!((list.addresses(), list.passed_over()), (1, 3));
    assert_eq!(hit(&list, &format!("eip155:1:{EVM}")).unwrap().entry.unwrap(), "line 2");
    // A list of another chain alone names nobody of ours, and is a list all the same: beside another.
    let foreign = File::new(BITCOIN).open();
    assert_eq!(foreign.addresses(), 0);
    assert!(Lists::new(vec![list, foreign]).check().is_ok() && Lists::default().check().is_ok());
}

const NOBODY: &str = "no list holds an address of a chain that customers can have; that would clear everybody";

#[tokio::test]
async fn lists_that_name_nobody_here_clear_nobody() {
    for content in [BITCOIN.to_owned(), format!("{TRON}\n{BITCOIN}"), format!("eip155:99999:{EVM}")] {
        let lists = Lists::new(vec![File::new(content).open(), File::new(TRON).open()]);
        let screening = Screening::default().with_lists(lists);
        assert!(!screening.is_configured());
        assert!(screening.screen(&format!("eip155:1:{EVM}"), false).await.is_err());
    }
    let error = Lists::new(vec![File::new(BITCOIN).open()]).check().unwrap_err();
    assert_eq!(error.to_string(), NOBODY);
    // Nor does one that came to that: the old one stays in force, unless another names somebody.
    let (evm, solana) = (File::new(EVM), File::new(SOLANA));
    let lists = Lists::new(vec![evm.open(), solana.open()]);
    evm.replace(BITCOIN);
    lists.reload(Duration::ZERO);
    assert!(lists.hit(&format!("eip155:1:{EVM}")).unwrap().is_none());
    solana.replace(TRON);
    lists.reload(Duration::ZERO);
    assert!(lists.hit(&format!("{MAINNET}:{SOLANA}")).unwrap().is_some());
}

#[test]
fn a_chain_that_cannot_match_spoils_the_file_or_is_passed_over() {
    for wrong in [
        format!("solana:mainnet:{SOLANA}"),
        format!("eip155:one:{EVM}"),
        format!("eip155:01:{EVM}"),
        format!("eip115:1:{EVM}"),
        "bip122:x:zzzz".to_owned(),
    ] {
        let refusal = refusal(format!("{EVM}\n{wrong}\n"));
        assert!(refusal.starts_with("line 2: "), "{wrong}: {refusal}");
    }
    let list = File::new(format!("{EVM}\neip155:99999:{EVM}\n0x{}\n", "ab".repeat(32))).open();
    assert_eq!((list.addresses(), list.passed_over()), (1, 2));
}

/// A document of OFAC's with these features: type and address. In its own order and namespace, and no longer than it must be.
fn ofac(features: &[(&str, &str)]) -> String {
    let feature = |(kind, address): &(&str, &str)| {
        format!(
            "<Feature ID=\"1\" FeatureTypeID=\"{kind}\"><FeatureVersion ID=\"2\" ReliabilityID=\"1560\"><Comment />\n\
             <VersionDetail DetailTypeID=\"1432\">{address}</VersionDetail></FeatureVersion>\
             <IdentityReference IdentityID=\"3\" IdentityFeatureLinkTypeID=\"1\" /></Feature>"
        )
    };
    let features: String = features.iter().map(feature).collect();
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<Sanctions xmlns="https://example.com/ADVANCED_XML" Version="1">
<DateOfIssue CalendarTypeID="1"><Year>2026</Year><Month>11</Month><Day>2</Day></DateOfIssue>
<ReferenceValueSets>
<FeatureTypeValues>
<FeatureType ID="8" FeatureTypeGroupID="1">Birthdate</FeatureType>
<FeatureType ID="344" FeatureTypeGroupID="1">Digital Currency Address - XBT</FeatureType>
<FeatureType ID="345" FeatureTypeGroupID="1">Digital Currency Address - ETH</FeatureType>
<FeatureType ID="887" FeatureTypeGroupID="1">Digital Currency Address - USDT</FeatureType>
<FeatureType ID="999" FeatureTypeGroupID="1">Digital Currency Address - NEW</FeatureType>
</FeatureTypeValues>
<SanctionsTypeValues><SanctionsType ID="1">Program</SanctionsType><SanctionsType ID="1705">Block</SanctionsType></SanctionsTypeValues>
</ReferenceValueSets>
<DistinctParties>
<DistinctParty FixedRef="11"><Comment /><Profile ID="11" PartySubTypeID="4"><Identity ID="7"><Alias Primary="true">
<DocumentedName ID="5"><DocumentedNamePart><NamePartValue>SOMEBODY ELSE</NamePartValue></DocumentedNamePart></DocumentedName></Alias></Identity>
<Feature ID="1" FeatureTypeID="8"><FeatureVersion ID="9"><VersionDetail DetailTypeID="1432">1970</VersionDetail></FeatureVersion></Feature>
</Profile></DistinctParty>
<DistinctParty FixedRef="4711"><Comment /><Profile ID="4712" PartySubTypeID="4"><Identity ID="8"><Alias Primary="true">
<DocumentedName ID="5"><DocumentedNamePart><NamePartValue>MILL &amp; SONS</NamePartValue></DocumentedNamePart></DocumentedName></Alias>
<Alias><DocumentedName ID="6"><DocumentedNamePart><NamePartValue>AKA</NamePartValue></DocumentedNamePart></DocumentedName></Alias></Identity>
{features}
</Profile></DistinctParty>
</DistinctParties>
<SanctionsEntries>
<SanctionsEntry ID="11" ProfileID="11" ListID="1550"><SanctionsMeasure ID="1" SanctionsTypeID="1"><Comment>OTHER</Comment></SanctionsMeasure></SanctionsEntry>
<SanctionsEntry ID="4711" ProfileID="4712" ListID="1550"><EntryEvent ID="4"><Comment>not this</Comment></EntryEvent>
<SanctionsMeasure ID="2" SanctionsTypeID="1705"><Comment>nor this</Comment></SanctionsMeasure>
<SanctionsMeasure ID="3" SanctionsTypeID="1"><Comment>CYBER2</Comment></SanctionsMeasure>
<SanctionsMeasure ID="4" SanctionsTypeID="1"><Comment>DPRK3</Comment></SanctionsMeasure></SanctionsEntry>
</SanctionsEntries>
</Sanctions>"#
    )
}

#[tokio::test]
async fn ofacs_file_is_read_with_programme_and_party() {
    let list =
        File::new(ofac(&[("344", BITCOIN), ("887", TRON), ("887", EVM), ("345", SOLANA), ("999", "odd:form~1")]))
            .open();
    assert_eq!((list.addresses(), list.passed_over()), (2, 3));
    insta::assert_snapshot!(hit(&list, &format!("eip155:10:{EVM}")).unwrap(), @"SANCTIONED_ADDRESS: ofac.txt, programme CYBER2, DPRK3, party 4711 MILL & SONS");
    assert!(hit(&list, &format!("{MAINNET}:{SOLANA}")).is_some(), "the form counts, not the currency");
    assert_eq!(hit(&list, "eip155:1:0x0000000000000000000000000000000000000001"), None);
}

#[test]
fn ofacs_file_is_spoilt_by_what_is_no_address_and_by_a_missing_end() {
    insta::assert_snapshot!(refusal(ofac(&[("887", &TRON[1..])])), @"line 23: USDT of party 4711: no address: neither 0x with 40 hexadecimal digits, nor base58 of 32 bytes, nor one of another chain");
    insta::assert_snapshot!(refusal(ofac(&[("345", "0x12")])), @"line 23: ETH of party 4711: an eip155 address has 40 hexadecimal digits");
    let whole = ofac(&[("345", EVM)]);
    for cut in [whole.len() - 1, whole.len() / 2, whole.rfind("<SanctionsEntries>").unwrap()] {
        let refusal = refusal(&whole[..cut]);
        assert!(refusal.starts_with("line "), "{refusal}");
    }
    insta::assert_snapshot!(refusal(ofac(&[])), @"holds no address; a list that names nobody would clear everybody");
    insta::assert_snapshot!(refusal("<html><body>moved</body></html>"), @"line 1: the XML is not a list of OFAC's: want Sanctions, found html");
}

#[tokio::test]
async fn opensanctions_entities_are_read_with_the_holders_programme() {
    let lines = [
        serde_json::json!({"id": "x-1", "schema": "Person", "properties": {"name": ["A"]}}),
        serde_json::json!({"id": "x-2", "schema": "CryptoWallet", "caption": "w", "properties": {
            "publicKey": [EVM], "currency": ["ETH"], "holder": ["x-1"], "topics": ["sanction"]}, "datasets": ["us"]}),
        serde_json::json!({"id": "x-3", "schema": "CryptoWallet", "properties": {"publicKey": [TRON], "currency": ["USDT"]}}),
        serde_json::json!({"id": "x-4", "schema": "CryptoWallet", "properties": {
            "publicKey": [SOLANA], "topics": ["crime.theft", "sanction"]}}),
        serde_json::json!({"id": "x-5", "schema": "CryptoWallet", "properties": {"accountId": ["1"]}}),
        serde_json::json!({"id": "x-6", "schema": "Sanction", "properties": {"entity": ["x-1"], "programId": ["US-CYBER2"]}}),
    ];
    let text = |lines: &[serde_json::Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let list = File::new(text(&lines)).open();
    assert_eq!((list.addresses(), list.passed_over()), (2, 1));
    insta::assert_snapshot!(hit(&list, &format!("eip155:1:{EVM}")).unwrap(), @"SANCTIONED_ADDRESS: ofac.txt, programme US-CYBER2, entity x-2");
    insta::assert_snapshot!(hit(&list, &format!("{MAINNET}:{SOLANA}")).unwrap(), @"SANCTIONED_ADDRESS: ofac.txt, programme crime.theft, sanction, entity x-4");
    let bad = serde_json::json!({"id": "x-7", "schema": "CryptoWallet", "properties": {"publicKey": ["0x12"], "currency": ["ETH"]}});
    insta::assert_snapshot!(refusal(text(&[lines[0].clone(), bad])), @"line 2: publicKey of x-7: an eip155 address has 40 hexadecimal digits");
    insta::assert_snapshot!(refusal(format!("{}\n{{\"id\": \"x-8\"", lines[1])), @"line 2: no entity: want a JSON object with id, schema and properties");
    insta::assert_snapshot!(refusal(text(&lines[..1])), @"holds no address; a list that names nobody would clear everybody");
}

#[test]
fn wallets_are_found_wherever_they_are_nested() {
    let wallet = |id: &str, key: &str, currency: serde_json::Value| {
        serde_json::json!({"id": id, "schema": "CryptoWallet", "properties": {
            "publicKey": [key], "currency": currency, "topics": ["sanction"]}})
    };
    let person = |nested: serde_json::Value| {
        serde_json::json!({"id": "x-1", "schema": "Person", "properties": {"name": ["CryptoWallet"], "ownershipOwner": [
            {"id": "x-2", "schema": "Ownership", "properties": {"asset": [
                {"id": "x-3", "schema": "Company", "properties": {"cryptoWallets": [nested]}}]}}]}})
    };
    let list = File::new(person(wallet("x-4", EVM, serde_json::json!(["ETH"]))).to_string()).open();
    insta::assert_snapshot!(hit(&list, &format!("eip155:1:{EVM}")).unwrap(), @"SANCTIONED_ADDRESS: ofac.txt, programme sanction, entity x-4");
    // Every currency counts, and so does the form.
    for currency in [serde_json::json!(["XBT", "ETH"]), serde_json::json!(["Ethereum"]), serde_json::json!(["XBT"])] {
        let spoilt = person(wallet("x-4", &EVM[..41], currency)).to_string();
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal(spoilt), @"line 1: publicKey of x-4: an eip155 address has 40 hexadecimal digits");
        }
    }
    let ton = wallet("x-5", "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPrHF", serde_json::json!([]));
    let without = serde_json::json!({"id": "x-6", "schema": "CryptoWallet", "properties": {}});
    let list = File::new(format!("{ton}\n{without}\n{}\n", wallet("x-7", EVM, serde_json::json!([])))).open();
    assert_eq!((list.addresses(), list.passed_over()), (1, 1));
    assert_eq!(refusal(without.to_string()), "holds no address; a list that names nobody would clear everybody");
}
