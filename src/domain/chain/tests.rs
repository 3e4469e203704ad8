#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;

use super::*;

fn account(text: &str) -> Result<ChainAccount, Error> {
    ChainAccount::parse(text, &ChainSet::default())
}

fn parsed(text: &str) -> String {
    account(text).unwrap().to_string()
}

fn refused(text: &str) -> &'static str {
    account(text).unwrap_err().code()
}

const SYSTEM: &str = "11111111111111111111111111111111";
const MAIN: &str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

#[test]
fn every_spelling_of_an_eip155_address_becomes_eip55() {
    // The examples of EIP-55.
    for address in [
        "52908400098527886E0F7030069857D2E4169EE7",
        "8617E340B3D01FA5F11F306F4090FD50E238070D",
        "de709f2102306220921060314715629080e2fb77",
        "27b1fdb04752bbc536007a920d24acb045561c26",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "fB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "dbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "D1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ] {
        let canonical = format!("eip155:1:0x{address}");
        assert_eq!(parsed(&canonical), canonical);
        assert_eq!(parsed(&format!("eip155:1:0x{}", address.to_lowercase())), canonical);
        assert_eq!(parsed(&format!("eip155:1:0x{}", address.to_uppercase())), canonical);
    }
    let zero = format!("eip155:1:0x{}", "0".repeat(40));
    assert_eq!(parsed(&zero), zero);
}

#[test]
fn a_wrong_checksum_is_told() {
    let error = account("eip155:1:0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed").unwrap_err();
    assert_eq!(error.code(), "INVALID_CHAIN_ID");
    assert!(error.to_string().contains("EIP-55"), "{error}");
}

#[test]
fn malformed_is_not_unsupported() {
    let zero = "0x0000000000000000000000000000000000000000";
    for text in [
        "",
        ":",
        "::",
        "eip155",
        "eip155:1",
        "eip155:1:",
        &format!("EIP155:1:{zero}"),
        &format!("eip155:01:{zero}"),
        &format!("eip155:0:{zero}"),
        &format!("eip155:0x1:{zero}"),
        &format!("eip155:-1:{zero}"),
        &format!("eip155::{zero}"),
        &format!(" eip155:1:{zero}"),
        &format!("eip155:1:{zero} "),
        &format!("eip155:1:{zero}\n"),
        &format!("eip155:1:{zero}0"),
        &format!("eip155:1:{zero}:0"),
        &format!("eip155:1:{}", &zero[2..]),
        &format!("eip155:1:{}", zero.replace('x', "X")),
        &format!("eip155:1:{}", zero.replace("00000000", "0000000g")),
        &format!("eip155:1:{}é", &zero[..40]),
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:0OIl",
        &format!("{MAIN}:{}", &SYSTEM[1..]),
        &format!("{MAIN}:1{SYSTEM}"),
        &format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp1:{SYSTEM}"),
        "ab:1:x",
        "abcdefghi:1:x",
    ] {
        assert_eq!(refused(text), "INVALID_CHAIN_ID", "{text:?}");
    }
    for text in [
        &format!("eip155:5:{zero}"),
        &format!("eip155:100000000000000000000000000000:{zero}"),
        &format!("solana:8E9rvCKLFQia2Y35HXjjpWzj8weVo44K:{SYSTEM}"),
        "cosmos:cosmoshub-3:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0",
        "bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6",
    ] {
        assert_eq!(refused(text), "UNSUPPORTED_CHAIN", "{text:?}");
    }
}

#[test]
fn the_known_chains() {
    let ids: Vec<String> = Chain::KNOWN.iter().map(Chain::to_string).collect();
    insta::assert_snapshot!(ids.join(" "), @"eip155:1 eip155:10 eip155:56 eip155:137 eip155:324 eip155:300 eip155:8453 eip155:42161 eip155:421614 eip155:11155111 eip155:80002 solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1 solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z");
    for id in ids {
        assert_eq!(id.parse::<Chain>().unwrap().to_string(), id);
    }
}

#[test]
fn only_enabled_chains_are_supported() {
    let enabled = ChainSet::parse(["eip155:8453", MAIN]).unwrap();
    let only = |text: &str| ChainAccount::parse(text, &enabled);
    let base = "eip155:8453:0x0000000000000000000000000000000000000000";
    assert_eq!(only(base).unwrap().to_string(), base);
    assert_eq!(only(&format!("{MAIN}:{SYSTEM}")).unwrap().address(), Address::Solana([0; 32]));
    assert_eq!(
        only(&base.replace("8453", "1")),
        Err(Error::Unsupported { chain: "eip155:1".into(), enabled: enabled.clone() })
    );
    assert!(account(&base.replace("8453", "1")).is_ok());
    assert_eq!(
        base.replace("8453", "1").parse(),
        account(&base.replace("8453", "1")),
        "what is stored is read whatever is enabled"
    );
    let unknown = ChainSet::parse(["eip155:5"]).unwrap_err().to_string();
    assert!(
        unknown.starts_with("the chain eip155:5 is not supported; supported are eip155:1, eip155:10, "),
        "{unknown}"
    );
    let elsewhere = only("cosmos:cosmoshub-3:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0").unwrap_err().to_string();
    assert_eq!(
        elsewhere,
        format!("the chain cosmos:cosmoshub-3 is not supported; supported are eip155:8453, {MAIN}"),
        "only what is enabled is named"
    );
    assert_eq!(ChainSet::parse(["eip155"]).unwrap_err().code(), "INVALID_CHAIN_ID");
}

proptest! {
    #[test]
    fn canonical_accounts_come_back_unchanged(evm in any::<[u8; 20]>(), solana in any::<[u8; 32]>(), chain in 0..11usize) {
        let lower = format!("{}:0x{}", Chain::KNOWN[chain], hex::encode(evm));
        let read = account(&lower).unwrap();
        prop_assert_eq!(read.address(), Address::Evm(evm));
        prop_assert_eq!(read.to_string().parse(), Ok(read));
        let text = format!("{MAIN}:{}", bs58::encode(solana).into_string());
        let read = account(&text).unwrap();
        prop_assert_eq!((read.address(), read.to_string()), (Address::Solana(solana), text));
    }

    #[test]
    fn one_letter_in_the_wrong_case_is_refused(evm in any::<[u8; 20]>(), at in any::<prop::sample::Index>()) {
        let good = Address::Evm(evm).to_string();
        let letters: Vec<usize> = good.char_indices().skip(2).filter(|(_, c)| c.is_ascii_alphabetic()).map(|(i, _)| i).collect();
        prop_assume!(letters.len() > 2);
        let at = letters[at.index(letters.len())];
        let flip = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        let bad: String = good.char_indices().map(|(i, c)| if i == at { flip(c) } else { c }).collect();
        let digits = &bad[2..];
        prop_assume!(digits != digits.to_lowercase() && digits != digits.to_uppercase());
        let text = format!("eip155:1:{bad}");
        prop_assert_eq!(refused(&text), "INVALID_CHAIN_ID");
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = account(&text);
        let _ = account(&format!("eip155:1:0x{text}"));
        let _ = account(&format!("{MAIN}:{text}"));
    }
}
