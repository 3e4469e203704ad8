//! Postal addresses, and the guard against card numbers in free text.

use serde::{Deserialize, Serialize};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::error::{Error, Violation};
use super::text;

/// A postal address. Its JSON is that of the API, and of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Street and number.
    pub first_line: String,
    /// What the first line has no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_line: Option<String>,
    /// Town or city.
    pub city: String,
    /// State, province or region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Postal code; absent only where the country has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_code: Option<String>,
}

impl Address {
    /// The violations of an address under `path`; none when it is valid.
    pub fn violations(&self, path: &str) -> Vec<Violation> {
        let fields = [
            ("firstLine", Some(&self.first_line), 128),
            ("secondLine", self.second_line.as_ref(), 128),
            ("city", Some(&self.city), 128),
            ("state", self.state.as_ref(), 64),
            ("postCode", self.post_code.as_ref(), 16),
        ];
        let mut found = Vec::new();
        for (name, value, max) in fields {
            let Some(value) = value else { continue };
            let field = format!("{path}.{name}");
            let checked = text::printable(&field, value, max).and_then(|()| no_card_number(&field, value));
            found.extend(checked.err().into_iter().flat_map(|error| error.violations));
        }
        if !COUNTRIES.contains(&self.country.as_str()) {
            found.push(Violation {
                field: format!("{path}.country"),
                code: if self.country.is_empty() { "REQUIRED" } else { "INVALID_COUNTRY" },
                message: "Must be a country of ISO 3166-1 alpha-2 in upper case, such as DE.".into(),
            });
        } else if self.post_code.is_none() && !WITHOUT_POST_CODES.contains(&self.country.as_str()) {
            found.push(Violation {
                field: format!("{path}.postCode"),
                code: "REQUIRED",
                message: "Must be given: the country has postal codes.".into(),
            });
        }
        found
    }
}

/// Refuses text that holds what looks like a full card number: a run of digits, of which 12 to 19 in a row end with their
/// Luhn check digit (ISO/IEC 7812-1). Decimal digits (Nd) of any script count. What is put between them does not end the run:
/// spaces, dashes, dots, slashes, underscores, and marks and format characters, which are drawn with a digit or not at all:
/// variation selectors, joiners, enclosing keycaps. A run of that length is nothing that an address or a name needs, so that a
/// false alarm costs little.
///
/// # Errors
///
/// `CARD_NUMBER_FORBIDDEN` on `field`; the number is not repeated.
pub fn no_card_number(field: &str, value: &str) -> Result<(), Error> {
    let mut digits: Vec<u32> = Vec::new();
    for c in value.chars().chain(['\n']) {
        if let Some(digit) = digit(c) {
            digits.push(digit);
        } else if !separates(c) {
            if holds_pan(&digits) {
                let message = "Must not hold a card number.";
                return Err(Error::invalid(field, "CARD_NUMBER_FORBIDDEN", message));
            }
            digits.clear();
        }
    }
    Ok(())
}

/// The value of a decimal digit. The digits of a script follow one another from 0 to 9 (the Unicode Standard, section 4.6), so
/// that the value is the distance from where the run of digits begins; some runs hold several sets of ten.
fn digit(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    if c.general_category() != GeneralCategory::DecimalNumber {
        return None;
    }
    let before = (0..u32::from(c)).rev().map_while(char::from_u32);
    let distance = before.take_while(|c| c.general_category() == GeneralCategory::DecimalNumber).count();
    u32::try_from(distance % 10).ok()
}

fn separates(c: char) -> bool {
    match c.general_category() {
        GeneralCategory::SpaceSeparator
        | GeneralCategory::DashPunctuation
        | GeneralCategory::ConnectorPunctuation
        | GeneralCategory::Format => true,
        _ => c.general_category_group() == GeneralCategoryGroup::Mark || matches!(c, '.' | '/' | '\u{b7}' | '\u{2212}'),
    }
}

fn holds_pan(digits: &[u32]) -> bool {
    (12..=19).any(|length| digits.windows(length).any(luhn))
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// ISO 3166-1 alpha-2, officially assigned (2026).
const COUNTRIES: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ", "BA", "BB", "BD",
    "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS", "BT", "BV", "BW", "BY", "BZ", "CA",
    "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN", "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE",
    "DJ", "DK", "DM", "DO", "DZ", "EC", "EE", "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA",
    "GB", "GD", "GE", "GF", "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK",
    "HM", "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM", "JO", "JP",
    "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC", "LI", "LK", "LR", "LS", "LT",
    "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK", "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS",
    "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA", "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ",
    "OM", "PA", "PE", "PF", "PG", "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS",
    "RU", "RW", "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS", "ST",
    "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO", "TR", "TT", "TV", "TW",
    "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG", "VI", "VN", "VU", "WF", "WS", "YE", "YT", "ZA",
    "ZM", "ZW",
];

/// Countries without postal codes, by the addressing sheets of the Universal Postal Union (2025). Where lists made from them
/// disagree a country is here: to demand a code that nobody has stops a card, a code that was left out does not. Ireland has
/// codes for every address (Eircode) and is not here.
const WITHOUT_POST_CODES: [&str; 61] = [
    "AE", "AG", "AO", "AW", "BF", "BI", "BJ", "BO", "BQ", "BS", "BV", "BW", "BZ", "CD", "CF", "CG", "CI", "CK", "CM",
    "CW", "DJ", "DM", "ER", "FJ", "GA", "GD", "GM", "GQ", "GY", "HK", "HM", "JM", "KI", "KM", "KP", "LY", "ML", "MO",
    "MR", "MW", "NR", "NU", "QA", "RW", "SB", "SC", "SL", "SR", "ST", "SX", "SY", "TD", "TF", "TG", "TK", "TO", "TV",
    "UG", "VU", "YE", "ZW",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            first_line: "Unter den Linden 1".into(),
            second_line: None,
            city: "Berlin".into(),
            state: None,
            country: "DE".into(),
            post_code: Some("10117".into()),
        }
    }

    #[test]
    fn every_fault_is_named() {
        assert_eq!(address().violations("billingAddress"), []);
        let bad = Address {
            first_line: String::new(),
            second_line: Some(" x".into()),
            country: "de".into(),
            post_code: Some("1".repeat(17)),
            ..address()
        };
        let found: Vec<_> = bad.violations("billingAddress").into_iter().map(|v| (v.field, v.code)).collect();
        let expected = [
            ("billingAddress.firstLine", "REQUIRED"),
            ("billingAddress.secondLine", "INVALID_VALUE"),
            ("billingAddress.postCode", "TOO_LONG"),
            ("billingAddress.country", "INVALID_COUNTRY"),
        ];
        assert_eq!(found, expected.map(|(field, code)| (field.to_owned(), code)));
    }

    #[test]
    fn a_post_code_is_needed_where_there_are_some() {
        let blamed = |country: &str, post_code: Option<&str>| {
            let address = Address { country: country.into(), post_code: post_code.map(Into::into), ..address() };
            address.violations("billingAddress").into_iter().map(|v| (v.field, v.code)).collect::<Vec<_>>()
        };
        for country in WITHOUT_POST_CODES {
            assert!(COUNTRIES.contains(&country), "{country}");
            assert_eq!(blamed(country, None), []);
            assert_eq!(blamed(country, Some("00000")), [], "some forms insist on one");
        }
        for country in ["DE", "US", "IE", "JP"] {
            assert_eq!(blamed(country, None), [("billingAddress.postCode".to_owned(), "REQUIRED")]);
        }
    }

    #[test]
    fn card_numbers_are_seen_in_any_dress_and_nothing_else() {
        for pan in [
            "4111111111111111",
            "5555 5555 5555 4444",
            "3782-822463-10005",
            "Flat 4111111111111111 b",
            "00 4111 1111 1111 1111",
            "4111.1111/1111_1111",
            "4111\u{2011}1111\u{2013}1111\u{2009}1111",
            "4111\u{200d}1111\u{3000}1111\u{b7}1111",
            "４１１１１１１１１１１１１１１１",
            "٤١١١١١١١١١١١١١١١",
            // Variation selectors, keycaps, a joiner, an Arabic number sign between digits.
            "4\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1\u{fe0f}1",
            "4\u{20e3}1\u{fe0f}\u{20e3}11\u{e0100}1111\u{200c}1111\u{600}1111",
            // Gujarati, Tamil, mathematical bold and monospace (one run of fifty), Adlam, Khmer.
            "૪૧૧૧૧૧૧૧૧૧૧૧૧૧૧૧",
            "௪௧௧௧௧௧௧௧௧௧௧௧௧௧௧௧",
            "\u{1d7d2}\u{1d7cf}\u{1d7cf}\u{1d7cf}\u{1d7f7}\u{1d7f7}\u{1d7f7}\u{1d7f7}\u{1d7cf}\u{1d7cf}\u{1d7cf}\u{1d7cf}\u{1d7f7}\u{1d7f7}\u{1d7f7}\u{1d7f7}",
            "\u{1e954}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}\u{1e951}",
            "៤១១១ ១១១១ ១១១១ ១១១១",
        ] {
            let error = no_card_number("name", pan).unwrap_err();
            assert!(!format!("{error:?}").contains("1111"), "{error:?}");
        }
        for fine in [
            "41111111112",
            "Street 12345",
            "+49 30 1234567",
            "000000000000",
            "**** **** **** 1111",
            "4111 1111, 1111 1111",
        ] {
            assert_eq!(no_card_number("name", fine), Ok(()), "{fine}");
        }
    }
}
