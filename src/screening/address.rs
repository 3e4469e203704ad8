//! Accounts in the form in which they are compared.

use super::foreign;

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
        if !of(namespace, 3..=8, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
            return Err("the namespace is malformed");
        }
        if !of(reference, 1..=32, |c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_') {
            return Err("the chain reference is malformed");
        }
        match namespace {
            "eip155" => Ok(Self::On(chain, evm(address)?)),
            "solana" => Ok(Self::On(chain, solana(address)?)),
            _ if of(address, 1..=128, |c| c.is_ascii_alphanumeric() || b"-.%".contains(&c)) => Ok(Self::Foreign),
            _ => Err("the address is malformed"),
        }
    }
}

impl<'a> Entry<'a> {
    /// Reads an address that a list gives with the code of its currency, such as `XBT`. The form counts first: a token such
    /// as USDT is on several chains, and an address that a customer can have is listed whatever the code beside it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn named(currency: &str, text: &'a str) -> Result<Self, &'static str> {
        match bare(text) {
            Err(_) if !OURS.contains(&currency) && of(text, 4..=128, |c| c.is_ascii_graphic()) => Ok(Self::Foreign),
            read => read,
        }
    }
}

/// Currencies of chains that customers can have. Of any other, what does not look like an address of ours is not one.
const OURS: [&str; 10] = ["ETH", "ETC", "SOL", "USDT", "USDC", "ARB", "BSC", "BNB", "MATIC", "POL"];

fn of(text: &str, length: std::ops::RangeInclusive<usize>, allowed: impl Fn(u8) -> bool) -> bool {
    length.contains(&text.len()) && text.bytes().all(allowed)
}

fn bare<'a>(text: &str) -> Result<Entry<'a>, &'static str> {
    if text.starts_with("0x") || text.starts_with("0X") {
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
    fn the_form_counts_before_the_currency() {
        let evm = format!("0x{}", "aB".repeat(20));
        for currency in ["ETH", "USDT", "XBT", "SUI"] {
            assert_eq!(Entry::named(currency, &evm), Ok(Entry::Everywhere(Address::Evm([0xab; 20]))));
        }
        let tron = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
        assert_eq!((Entry::named("USDT", tron), Entry::named("TRX", tron)), (Ok(Entry::Foreign), Ok(Entry::Foreign)));
        assert_eq!(Entry::named("SUI", &format!("0x{}", "0".repeat(64))), Ok(Entry::Foreign));
        assert_eq!(Entry::named("XVG", "DNyq3eWYbQpyaWi9tBLdWqy1GP8iMZhV9r"), Ok(Entry::Foreign));
        for (currency, bad) in
            [("ETH", "0x12"), ("USDT", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6"), ("XBT", "a b"), ("XBT", "")]
        {
            assert!(Entry::named(currency, bad).is_err(), "{currency} {bad}");
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
