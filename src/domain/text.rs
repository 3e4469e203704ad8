//! Free text that callers give: printable, of a bounded length, and never with the looks of a card number.

use super::error::Error;

/// Checks that `value` is 1 to `max` printable characters of any script with no space at either end.
///
/// Characters are Unicode scalar values. Refused are control and format characters, line and paragraph separators,
/// private-use characters and noncharacters: what does not show cannot be told apart by a person. The joiners U+200C
/// and U+200D are allowed inside, because Persian, Hindi and emoji are spelt with them.
///
/// # Errors
///
/// A violation of `field`: `REQUIRED`, `TOO_LONG` or `INVALID_VALUE`.
pub fn printable(field: &str, value: &str, max: usize) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::invalid(field, "REQUIRED", "Must be given."));
    }
    if value.chars().count() > max {
        return Err(Error::invalid(field, "TOO_LONG", format!("Must have at most {max} characters.")));
    }
    if value.starts_with(char::is_whitespace) || value.ends_with(char::is_whitespace) {
        return Err(Error::invalid(field, "INVALID_VALUE", "Must not begin or end with a space."));
    }
    match value.chars().find(|c| !is_printable(*c)) {
        Some(c) => Err(Error::invalid(
            field,
            "INVALID_VALUE",
            format!("Must have printable characters only; U+{:04X} is not one.", u32::from(c)),
        )),
        None => Ok(()),
    }
}

fn is_printable(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    let noncharacter = u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    !c.is_control() && !invisible && !noncharacter
}

#[cfg(test)]
mod tests {
    use super::printable;

    fn code(value: &str) -> Option<&'static str> {
        printable("name", value, 8).err().map(|e| e.violations[0].code)
    }

    #[test]
    fn any_script_within_the_length() {
        for good in ["u-1", "ユーザー", "a b", "é", "👩\u{200d}🚀", "می\u{200c}خواهم", "12345678"] {
            assert_eq!(code(good), None, "{good}");
        }
    }

    #[test]
    fn what_does_not_show_is_refused() {
        assert_eq!(code(""), Some("REQUIRED"));
        assert_eq!(code("123456789"), Some("TOO_LONG"));
        for bad in [
            " a",
            "a ",
            "\u{3000}a",
            "a\u{a0}",
            "a\nb",
            "a\u{0}b",
            "a\u{7f}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{feff}a",
            "a\u{e000}",
        ] {
            assert_eq!(code(bad), Some("INVALID_VALUE"), "{bad:?}");
        }
    }
}
