//! Addresses of contracts that are not deployed yet (EIP-1014).

use super::{Address, keccak256};

/// The address at which `factory` deploys with CREATE2: the last 20 bytes of
/// keccak256(0xff ‖ factory ‖ salt ‖ keccak256(init code)).
#[must_use]
pub fn create2(factory: &[u8; 20], salt: &[u8; 32], init_code_hash: &[u8; 32]) -> Address {
    let hash = keccak256(&[&[0xff], factory, salt, init_code_hash]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    Address::Evm(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of EIP-1014: factory, salt, init code, address.
    const EXAMPLES: [(&str, &str, &str, &str); 7] = [
        (ZERO, "00", "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
        ("deadbeef00000000000000000000000000000000", "00", "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
        (
            "deadbeef00000000000000000000000000000000",
            "000000000000000000000000feed000000000000000000000000000000000000",
            "00",
            "0xD04116cDd17beBE565EB2422F2497E06cC1C9833",
        ),
        (ZERO, "00", "deadbeef", "0x70f2b2914A2a4b783FaEFb75f459A580616Fcb5e"),
        (
            "00000000000000000000000000000000deadbeef",
            "00000000000000000000000000000000000000000000000000000000cafebabe",
            "deadbeef",
            "0x60f3f640a8508fC6a86d45DF051962668E1e8AC7",
        ),
        (
            "00000000000000000000000000000000deadbeef",
            "00000000000000000000000000000000000000000000000000000000cafebabe",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
            "0x1d8bfDC5D46DC4f61D6b6115972536eBE6A8854C",
        ),
        (ZERO, "00", "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
    ];
    const ZERO: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn the_examples_of_eip_1014() {
        for (factory, salt, code, address) in EXAMPLES {
            let salt = format!("{salt:0>64}");
            let [factory, salt, code] = [factory, &salt, code].map(|text| hex::decode(text).unwrap_or_default());
            let (Ok(factory), Ok(salt)) = (factory.try_into(), salt.try_into()) else { panic!("wrong lengths") };
            assert_eq!(create2(&factory, &salt, &keccak256(&[&code])).to_string(), address);
        }
    }
}
