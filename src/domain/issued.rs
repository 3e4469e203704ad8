//! What issuing gives a card, and that no full number is among it.

use super::address::no_card_number;
use super::error::{Error, Violation};
use super::text;

/// What issuing gave a card. Never its full number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The name on it.
    pub name: String,
    /// Its network.
    pub network: String,
    /// The last four digits of its number.
    pub last_four: String,
    /// MM/YYYY.
    pub expiration_date: String,
}

impl Issued {
    /// The number as it is shown: masked but for the last four digits.
    pub fn masked_pan(&self) -> String {
        format!("**** **** **** {}", self.last_four)
    }

    /// The violations of what an issuing service reports; none when it is valid. A full number is refused wherever it
    /// stands, and not repeated.
    pub fn violations(&self) -> Vec<Violation> {
        let four_digits = self.last_four.len() == 4 && self.last_four.bytes().all(|b| b.is_ascii_digit());
        let network = self.network.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rules = [
            ("name", &self.name, 64, true, ""),
            ("network", &self.network, 32, network, "Must be lower-case letters and digits, such as visa."),
            (
                "lastFour",
                &self.last_four,
                32,
                four_digits,
                "Must be the last four digits of the number, and no more of it.",
            ),
            ("expirationDate", &self.expiration_date, 32, is_month(&self.expiration_date), "Must be MM/YYYY."),
        ];
        let checked = rules.into_iter().map(|(field, value, max, right, rule)| {
            text::printable(field, value, max)
                .and_then(|()| no_card_number(field, value))
                .and_then(|()| if right { Ok(()) } else { Err(Error::invalid(field, "INVALID_VALUE", rule)) })
        });
        checked.filter_map(Result::err).flat_map(|error| error.violations).collect()
    }
}

/// Whether a text is MM/YYYY.
fn is_month(text: &str) -> bool {
    let Some((month, year)) = text.split_once('/') else { return false };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    month.len() == 2 && year.len() == 4 && digits(month) && digits(year) && ("01"..="12").contains(&month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_issuing_reports_never_holds_a_number() {
        let issued = |name: &str, network: &str, last_four: &str, date: &str| Issued {
            name: name.into(),
            network: network.into(),
            last_four: last_four.into(),
            expiration_date: date.into(),
        };
        assert_eq!(issued("ANNA MUSTER", "visa", "0042", "01/2030").violations(), []);
        let faults =
            |issued: Issued| -> Vec<_> { issued.violations().into_iter().map(|v| (v.field, v.code)).collect() };
        let fault = |field: &str, code| (field.to_owned(), code);
        assert_eq!(
            faults(issued("4111 1111 1111 1111", "Visa", "4111111111111111", "13/2030")),
            [
                fault("name", "CARD_NUMBER_FORBIDDEN"),
                fault("network", "INVALID_VALUE"),
                fault("lastFour", "CARD_NUMBER_FORBIDDEN"),
                fault("expirationDate", "INVALID_VALUE"),
            ]
        );
        for (last_four, date) in [("123", "00/2030"), ("12345", "1/2030"), ("12a4", "01/30"), ("１２３４", "0１/2030")]
        {
            let faults = faults(issued("A", "visa", last_four, date));
            assert_eq!(faults, [fault("lastFour", "INVALID_VALUE"), fault("expirationDate", "INVALID_VALUE")]);
        }
    }
}
