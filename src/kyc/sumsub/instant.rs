//! `createdAtMs`: `yyyy-MM-dd HH:mm:ss.SSS` in UTC by the documentation; also read are the RFC 3339 form of the same
//! and milliseconds since the epoch, as a number or in a string, which were seen in the field.

use serde_json::Value;

/// Milliseconds since the Unix epoch.
pub(super) fn millis(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().filter(|ms| *ms >= 0),
        Value::String(text) if text.bytes().all(|c| c.is_ascii_digit()) => text.parse().ok(),
        Value::String(text) => date_time(text),
        _ => None,
    }
}

fn date_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+0000")).unwrap_or(text);
    let (date, time) = text.split_once([' ', 'T'])?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    let digits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|c| c.is_ascii_digit());
    if !(valid && digits) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + ms)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|c| c.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a Gregorian date: years are counted from March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_the_same_instant() {
        for value in [
            Value::from("2020-02-21 13:23:19.321"),
            Value::from("2020-02-21T13:23:19.321Z"),
            Value::from("2020-02-21 13:23:19.321+0000"),
            Value::from("1582291399321"),
            Value::from(1_582_291_399_321_i64),
        ] {
            assert_eq!(millis(&value), Some(1_582_291_399_321), "{value}");
        }
    }

    #[test]
    fn days_are_counted_across_leap_years() {
        for (text, ms) in [
            ("1970-01-01 00:00:00.000", 0),
            ("2000-02-29 23:59:59.999", 951_868_799_999),
            ("2000-03-01 00:00:00", 951_868_800_000),
            ("2100-03-01 00:00:00.5", 4_107_542_400_500),
        ] {
            assert_eq!(millis(&Value::from(text)), Some(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for bad in [
            "",
            "2020-02-21",
            "2020-2-21 13:23:19.321",
            "2020-13-01 00:00:00.0",
            "2020-02-21 24:00:00.0",
            "2020-02-21 13:23:19.",
            "2020-02-21 13:23:19.3x",
            "+020-02-21 13:23:19.321",
            "99999999999999999999",
        ] {
            assert_eq!(millis(&Value::from(bad)), None, "{bad}");
        }
        assert_eq!(millis(&Value::from(-1)), None);
        assert_eq!(millis(&Value::from(1.5)), None);
        assert_eq!(millis(&Value::Null), None);
    }
}
