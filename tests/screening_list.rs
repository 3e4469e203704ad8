//! The list file: what matches, what is refused, and how a change takes effect.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use customerd::screening::{Hit, ListFile, Outage, ScreeningProvider, Verdict};
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
    match list.screen(account).await.unwrap() {
        Verdict::Clear => false,
        Verdict::Hit(hit) => {
            assert_eq!(hit, Hit { reason_code: "SANCTIONED_ADDRESS", list: "ofac.txt".into() });
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
    assert_eq!(list.entries().await, 1);
    assert!(listed(&list, &format!("eip155:1:{EVM}")).await);
    assert!(!listed(&list, &format!("{MAINNET}:{SOLANA}")).await);
}

#[test]
fn a_bad_file_at_start_is_an_error_that_names_the_line() {
    insta::assert_snapshot!(refusal(format!("# one\n{EVM}\n0x12\n")), @"line 3: an eip155 address has 40 hexadecimal digits");
    insta::assert_snapshot!(refusal("12cbQLTFMXRnSzktFkuoG3eHoMeFtpTu3S"), @"line 1: neither a 0x address of 20 bytes nor a base58 address of 32 bytes");
    insta::assert_snapshot!(refusal(b"\xff\xfe0\0x\0"), @"line 1: not UTF-8");
    insta::assert_snapshot!(refusal("# nobody\n\n"), @"holds no entry; a list that names nobody would clear everybody");
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(ListFile::open(folder.path()).unwrap_err(), @"not a regular file");
    insta::assert_snapshot!(ListFile::open(folder.path().join("none")).unwrap_err(), @"No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_change_counts_from_the_next_screening_on() {
    let file = File::new(EVM);
    let list = file.open();
    let (evm, solana) = (format!("eip155:1:{EVM}"), format!("{MAINNET}:{SOLANA}"));
    assert_eq!((listed(&list, &evm).await, listed(&list, &solana).await), (true, false));
    file.replace(SOLANA);
    assert_eq!((listed(&list, &evm).await, listed(&list, &solana).await), (false, true));
}

#[tokio::test]
async fn a_bad_or_missing_file_leaves_the_old_list_in_force() {
    let file = File::new(EVM);
    let list = file.open();
    let account = format!("eip155:1:{EVM}");
    for bad in ["", "# all lifted?\n", "garbage\n", "0x12"] {
        file.replace(bad);
        assert!(listed(&list, &account).await, "{bad:?}");
    }
    fs::remove_file(&file.path).unwrap();
    assert!(listed(&list, &account).await);
    file.replace(SOLANA);
    assert!(!listed(&list, &account).await);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_not_cleared() {
    let list = File::new(EVM).open();
    for account in ["", EVM, "eip155:1:0x12", "bip122:000000000019d6689c085ae165831e93:x"] {
        let answer: Result<Verdict, Outage> = list.screen(account).await;
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
    assert_eq!(list.entries().await, 1_000_000);
    assert!(listed(&list, &format!("eip155:1:0x{:040x}", 999_999)).await);
    assert!(!listed(&list, &format!("eip155:1:0x{:040x}", 1_000_000)).await);
}
