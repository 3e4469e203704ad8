//! Accounts in the form in which they are compared.

use super::foreign;
use crate::domain::chain::{Chain, Error, Namespace};

/// A blockchain account, whatever the spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// 20 bytes, written in hexadecimal; case does not matter.
    Evm([u8; 20]),
    /// 32 bytes, written in base58; case matters.
    Solana([u8; 32]),
}

/// One line of a list, or one account to screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The address on every chain of its namespace.
    Everywhere(Address),
    /// The address on one chain, given as CAIP-2.
    On(&'a str, Address),
    /// An address, or a well-formed CAIP-10 id, of a chain that no customer here can have.
    Foreign,
}

impl<'a> Entry<'a> {
    /// Reads a CAIP-10 account id or a bare address.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let Some((chain, address)) = text.rsplit_once(':').filter(|_| !foreign::is_address(text)) else {
            return bare(text);
        };
        let (namespace, reference) =
            chain.split_once(':').ok_or("an account id has three parts: namespace:reference:address")?;
        let known = match chain.parse::<Chain>() {
            Ok(known) => Some(known),
            Err(Error::Unsupported { .. }) => None,
            Err(Error::Malformed(problem)) => return Err(problem),
        };
        match namespace {
            "eip155" => {
                let address = evm(address)?;
                Ok(known.map_or(Self::Foreign, |_| Self::On(chain, address)))
            }
            // There are few of them, and a name such as mainnet is a mistake.
            "solana" if known.is_none() => {
                Err("a solana chain reference is the first 32 characters of its genesis hash")
            }
            "solana" => Ok(Self::On(chain, solana(address)?)),
            _ => elsewhere((namespace, reference), address),
        }
    }

    /// Reads an address that a list gives with the codes or names of its currencies, such as `XBT`, in upper case. The form
    /// counts first: a token such as USDT is on several chains, and an address that a customer can have is listed whatever the
    /// code beside it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn named(currencies: &[String], text: &'a str) -> Result<Self, &'static str> {
        // What begins as an account of ours does is never one of another chain.
        let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        let ours = currencies.iter().any(|code| OURS.contains(&code.as_str()))
            || [&Namespace::Eip155, &Namespace::Solana].iter().any(|ours| begins(&format!("{}:", ours.name())))
            || begins("0x");
        match Self::parse(text) {
            Err(_) if !currencies.is_empty() && !ours && of(text, 4..=128, |c| c.is_ascii_graphic()) => {
                Ok(Self::Foreign)
            }
            read => read,
        }
    }
}

/// Currencies of chains that customers can have. Of any other, what does not look like an address of ours is not one.
const OURS: [&str; 12] =
    ["ETH", "ETHEREUM", "ETC", "SOL", "SOLANA", "USDT", "USDC", "ARB", "BSC", "BNB", "MATIC", "POL"];

/// An account on a chain of a namespace that is not ours. An address in a form of ours there is more likely a namespace that was
/// mistyped.
fn elsewhere<'a>((namespace, reference): (&str, &str), address: &str) -> Result<Entry<'a>, &'static str> {
    if matches!(bare(address), Ok(Entry::Everywhere(_))) {
        return Err("the address is one of eip155 or solana, the namespace is not");
    }
    if address.starts_with("0x") || address.starts_with("0X") {
        bare(address)?;
    }
    if !of(address, 1..=128, |c| c.is_ascii_alphanumeric() || b"-.%".contains(&c)) {
        return Err("the address is malformed");
    }
    // CAIP-4: the first 32 digits of the hash of the chain's first block.
    if namespace == "bip122" {
        if !of(reference, 32..=32, |c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("a bip122 chain reference has 32 hexadecimal digits");
        }
        if !foreign::is_address(address) {
            return Err("the address is malformed");
        }
    }
    Ok(Entry::Foreign)
}

fn of(text: &str, length: std::ops::RangeInclusive<usize>, allowed: impl Fn(u8) -> bool) -> bool {
    length.contains(&text.len()) && text.bytes().all(allowed)
}

fn bare<'a>(text: &str) -> Result<Entry<'a>, &'static str> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // Sui, Aptos, Starknet.
        if of(digits, 64..=64, |c| c.is_ascii_hexdigit()) {
            return Ok(Entry::Foreign);
        }
        return evm(text).map(Entry::Everywhere);
    }
    match solana(text) {
        Ok(address) => Ok(Entry::Everywhere(address)),
        Err(_) if foreign::is_address(text) => Ok(Entry::Foreign),
        Err(_) => {
            Err("no address: neither 0x with 40 hexadecimal digits, nor base58 of 32 bytes, nor one of another chain")
        }
    }
}

/// EIP-55 is not asked for: a list spells an address in whatever case, and a hit must not depend on it.
fn evm(text: &str) -> Result<Address, &'static str> {
    let digits =
        text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or("an eip155 address begins with 0x")?;
    let mut bytes = [0; 20];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| "an eip155 address has 40 hexadecimal digits")?;
    Ok(Address::Evm(bytes))
}

fn solana(text: &str) -> Result<Address, &'static str> {
    const WRONG: &str = "a solana address is base58 of 32 bytes";
    let mut bytes = [0; 32];
    match bs58::decode(text).onto(&mut bytes) {
        Ok(32) => Ok(Address::Solana(bytes)),
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "11111111111111111111111111111111";

    #[test]
    fn case_matters_for_base58_only() {
        let upper = format!("0X{}", "AB".repeat(20));
        let lower = format!("0x{}", "ab".repeat(20));
        assert_eq!(Entry::parse(&upper), Ok(Entry::Everywhere(Address::Evm([0xab; 20]))));
        assert_eq!(Entry::parse(&lower), Entry::parse(&upper));
        assert_eq!(Entry::parse(SYSTEM), Ok(Entry::Everywhere(Address::Solana([0; 32]))));
    }

    #[test]
    fn an_account_id_names_its_chain() {
        let id = format!("eip155:8453:0x{}", "00".repeat(20));
        assert_eq!(Entry::parse(&id), Ok(Entry::On("eip155:8453", Address::Evm([0; 20]))));
        let id = format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{SYSTEM}");
        assert_eq!(
            Entry::parse(&id),
            Ok(Entry::On("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", Address::Solana([0; 32])))
        );
        assert_eq!(
            Entry::parse("bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6"),
            Ok(Entry::Foreign)
        );
    }

    #[test]
    fn a_chain_that_nobody_can_have_is_foreign_and_a_mistyped_one_is_not() {
        let (evm, move_vm) = (format!("0x{}", "ab".repeat(20)), format!("0x{}", "ab".repeat(32)));
        let bitcoin = "128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6";
        for foreign in [
            format!("eip155:99999:{evm}"),
            format!("eip155:{}:{evm}", u128::MAX / 10_000_000),
            format!("sui:mainnet:{move_vm}"),
            "cosmos:cosmoshub-4:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0".to_owned(),
            format!("bip122:000000000019d6689c085ae165831e93:{bitcoin}"),
            "hedera:mainnet:0.0.1234567890-zbhlt".to_owned(),
            move_vm.clone(),
        ] {
            assert_eq!(Entry::parse(&foreign), Ok(Entry::Foreign), "{foreign}");
        }
        for mistyped in [
            format!("eip155:one:{evm}"),
            format!("eip155:01:{evm}"),
            format!("eip155:0:{evm}"),
            format!("eip155:-1:{evm}"),
            format!("eip155:0x1:{evm}"),
            format!("eip155:99999:{}", &evm[..41]),
            format!("eip155:1:{move_vm}"),
            format!("eip115:1:{evm}"),
            format!("eip115:1:{}", &evm[..41]),
            format!("sui:mainnet:{}", &move_vm[..65]),
            format!("solana:mainnet:{SYSTEM}"),
            format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdq:{SYSTEM}"),
            format!("sol:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{SYSTEM}"),
            "bip122:x:zzzz".to_owned(),
            format!("bip122:x:{bitcoin}"),
            "bip122:000000000019d6689c085ae165831e93:zzzz".to_owned(),
        ] {
            assert!(Entry::parse(&mistyped).is_err(), "{mistyped}");
        }
    }

    fn named<'a>(currencies: &[&str], text: &'a str) -> Result<Entry<'a>, &'static str> {
        Entry::named(&currencies.iter().map(|&code| code.to_owned()).collect::<Vec<_>>(), text)
    }

    #[test]
    fn the_form_counts_before_the_currency() {
        let evm = format!("0x{}", "aB".repeat(20));
        for currency in ["ETH", "USDT", "XBT", "SUI"] {
            assert_eq!(named(&[currency], &evm), Ok(Entry::Everywhere(Address::Evm([0xab; 20]))));
        }
        let tron = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
        assert_eq!((named(&["USDT"], tron), named(&["TRX"], tron)), (Ok(Entry::Foreign), Ok(Entry::Foreign)));
        assert_eq!(named(&["SUI"], &format!("0x{}", "0".repeat(64))), Ok(Entry::Foreign));
        assert_eq!(named(&["XVG"], "DNyq3eWYbQpyaWi9tBLdWqy1GP8iMZhV9r"), Ok(Entry::Foreign));
        for (currencies, bad) in [
            (&["ETH"][..], "0x12"),
            (&["USDT"], "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6"),
            (&["XBT"], "a b"),
            (&["XBT"], ""),
            (&["XBT"], "0x12"),
            (&["XBT", "ETH"], "7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaK0"),
            (&["XBT", "ETH"], &evm[..41]),
            (&["SOLANA"], "7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaK0"),
            (&["XBT"], &evm[..41]),
            (&["XBT"], "0X12"),
            (&["XBT"], "eip155:01:0x12"),
            (&["XBT"], "Solana:mainnet:11111111111111111111111111111111"),
            (&[], "odd-form"),
        ] {
            assert!(named(currencies, bad).is_err(), "{currencies:?} {bad}");
        }
    }

    #[test]
    fn malformed_entries_are_refused() {
        for bad in [
            "",
            "0x",
            "0x12",
            "128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p5",
            "eip155:0x00",
            ":1:x",
            "eip155::0x",
            "EIP155:1:0x00",
            "eip155:1:",
            "cosmos:hub:a b",
            "0xé",
        ] {
            assert!(Entry::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Entry::parse("128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6"), Ok(Entry::Foreign));
        let short = format!("eip155:1:0x{}", "0".repeat(39));
        assert_eq!(Entry::parse(&short), Err("an eip155 address has 40 hexadecimal digits"));
    }
}
