//! Currencies (ISO 4217).

use super::error::Error;

/// Checks the currencies of a new account: exactly one, of `CODES`.
///
/// # Errors
///
/// A violation of `field`, or of its elements: `field[i]`.
pub fn one(field: &str, currencies: &[String]) -> Result<(), Error> {
    if currencies.is_empty() {
        return Err(Error::invalid(field, "REQUIRED", "Must hold one currency."));
    }
    let mut found = Vec::new();
    for (index, currency) in currencies.iter().enumerate() {
        let (code, message) = if CODES.binary_search(&currency.as_str()).is_err() {
            ("INVALID_CURRENCY", "Must be a currency of ISO 4217 in upper case, such as EUR.")
        } else if index > 0 {
            ("TOO_MANY", "An account has one currency.")
        } else {
            continue;
        };
        found.extend(Error::invalid(format!("{field}[{index}]"), code, message).violations);
    }
    if found.is_empty() { Ok(()) } else { Err(Error::violations(found)) }
}

/// Every active code of a currency that people pay with (ISO 4217 list one, 2026), sorted. Left out are funds, precious
/// metals, and the codes for testing and for no currency.
const CODES: [&str; 155] = [
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD", "BIF", "BMD", "BND",
    "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE",
    "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD",
    "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY",
    "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD",
    "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO",
    "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF",
    "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VED", "VES", "VND",
    "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(currencies: &[&str]) -> Vec<(String, &'static str)> {
        let currencies: Vec<String> = currencies.iter().map(|code| (*code).to_owned()).collect();
        let error = one("currencies", &currencies).err();
        error.into_iter().flat_map(|error| error.violations).map(|v| (v.field, v.code)).collect()
    }

    #[test]
    fn one_currency_and_every_fault_named() {
        assert!(CODES.is_sorted());
        for code in CODES {
            assert_eq!(faults(&[code]), []);
        }
        let fault = |field: &str, code| (field.to_owned(), code);
        assert_eq!(faults(&[]), [fault("currencies", "REQUIRED")]);
        assert_eq!(faults(&["eur"]), [fault("currencies[0]", "INVALID_CURRENCY")]);
        assert_eq!(faults(&["XXX"]), [fault("currencies[0]", "INVALID_CURRENCY")]);
        assert_eq!(
            faults(&["EUR", "USD", ""]),
            [fault("currencies[1]", "TOO_MANY"), fault("currencies[2]", "INVALID_CURRENCY")]
        );
    }
}
