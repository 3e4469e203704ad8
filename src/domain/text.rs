//! Free text that callers give: printable, of a bounded length, and never with the looks of a card number.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::error::Error;

/// Checks that `value` is 1 to `max` printable characters of any script with no space at either end.
///
/// Characters are Unicode scalar values, judged by their general category (Unicode 17 and the few that later versions
/// added). Refused are control characters (Cc), format characters (Cf), line and paragraph separators (Zl, Zp), private-use
/// characters (Co) and what is not assigned (Cn): what does not show cannot be told apart by a person, and the bidirectional
/// controls among them (U+202A to U+202E, U+2066 to U+2069) change what a person reads. Variation selectors are marks (Mn)
/// and belong to names. Of the format characters the joiners U+200C and U+200D are allowed, because Persian, Hindi and emoji
/// are spelt with them, and the prepended concatenation marks, which show.
///
/// # Errors
///
/// A violation of `field`: `REQUIRED`, `TOO_LONG` or `INVALID_VALUE`, which names the code point and its place.
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
    match value.chars().zip(1..).find(|(c, _)| !is_printable(*c)) {
        Some((c, place)) => Err(Error::invalid(
            field,
            "INVALID_VALUE",
            format!(
                "Must have printable characters only: character {place} is U+{:04X}, {}.",
                u32::from(c),
                category(c.general_category())
            ),
        )),
        None => Ok(()),
    }
}

fn is_printable(c: char) -> bool {
    match c.general_category_group() {
        GeneralCategoryGroup::Letter
        | GeneralCategoryGroup::Mark
        | GeneralCategoryGroup::Number
        | GeneralCategoryGroup::Punctuation
        | GeneralCategoryGroup::Symbol => true,
        GeneralCategoryGroup::Separator => c.general_category() == GeneralCategory::SpaceSeparator,
        GeneralCategoryGroup::Other => matches!(c, '\u{200c}' | '\u{200d}') || is_prepended(c),
    }
}

/// Whether a format character is drawn, around or under the digits that follow it: the property
/// `Prepended_Concatenation_Mark` of Unicode 17 (PropList.txt).
const fn is_prepended(c: char) -> bool {
    matches!(
        c,
        '\u{600}'..='\u{605}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{110bd}'
            | '\u{110cd}'
    )
}

/// What a character that is not printable is.
const fn category(category: GeneralCategory) -> &'static str {
    match category {
        GeneralCategory::Control => "a control character",
        GeneralCategory::Format => "a format character, which does not show",
        GeneralCategory::PrivateUse => "a private-use character",
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => "a line or paragraph separator",
        _ => "not assigned",
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    fn code(value: &str) -> Option<&'static str> {
        printable("name", value, 8).err().map(|e| e.violations[0].code)
    }

    #[test]
    fn any_script_within_the_length() {
        for good in [
            "u-1",
            "ユーザー",
            "a b",
            "é",
            "👩\u{200d}🚀",
            "می\u{200c}خواهم",
            "12345678",
            "葛\u{e0100}城市",
            "क\u{94d}\u{200d}ष",
            "❤\u{fe0f}",
            "a\u{3000}b",
            // New in Unicode 16 and 17: a Garay letter, an ideograph of extension J.
            "\u{10d4a}",
            "\u{323b0}",
            // Format characters that show: the Arabic number sign before a number, the end of a verse, the Kaithi number sign.
            "\u{600}١٢",
            "\u{605}٣",
            "\u{6dd}",
            "\u{70f}ܐ",
            "\u{890}",
            "\u{891}",
            "\u{8e2}",
            "\u{110bd}",
            "\u{110cd}",
        ] {
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
            "a\u{61c}b",
            "a\u{180e}b",
            "a\u{13430}b",
            "a\u{ad}b",
            "a\u{2028}b",
            "a\u{e0001}b",
            "a\u{e0041}b",
            "a\u{f0000}",
            "a\u{378}b",
            "a\u{fdd0}b",
            "a\u{10ffff}b",
        ] {
            assert_eq!(code(bad), Some("INVALID_VALUE"), "{bad:?}");
        }
    }

    #[test]
    fn bidirectional_controls_are_refused_and_named() {
        for control in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            let error = printable("name", &format!("東京{control}x"), 8).unwrap_err();
            let expected = format!(
                "Must have printable characters only: character 3 is U+{:04X}, a format character, which does not show.",
                u32::from(control)
            );
            assert_eq!(error.violations[0].message, expected);
        }
    }
}
