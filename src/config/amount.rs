//! Times, sizes and shares of the file: a number with its unit, judged in one place.

use std::time::Duration;

use super::judge::{Field, Judge};
use super::tree::Value;

/// A time with its unit, `90s`, `2m`, `1h` or `7d`, from `least` to `most`, both of which `bounds` says in words.
pub(super) fn duration(
    judge: &mut Judge<'_>,
    field: &Field<'_>,
    (least, most): (Duration, Duration),
    bounds: &str,
) -> Option<Duration> {
    let instead = format!("write a number with its unit, {bounds}: `90s`, `2m`, `1h`");
    let name = field.name;
    if field.value.value == Value::Number {
        judge.tell(&field.value.span, format!("`{name}` has no unit"), instead);
        return None;
    }
    let text = judge.words(field)?;
    let found = parts(&text).and_then(|(number, unit)| {
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        number.checked_mul(unit).map(Duration::from_secs)
    });
    let found = found.filter(|found| (least..=most).contains(found));
    if found.is_none() {
        judge.tell(&field.value.span, format!("`{text}` is no time for `{name}`"), instead);
    }
    found
}

/// A size with its unit in bytes, `512M`, `4G` or `1T`, of 1024 each; at least one mebibyte.
pub(super) fn bytes(judge: &mut Judge<'_>, field: &Field<'_>) -> Option<u64> {
    const INSTEAD: &str = "write a number with its unit: `512M`, `4G`, `1T`";
    let name = field.name;
    if field.value.value == Value::Number {
        judge.tell(&field.value.span, format!("`{name}` has no unit"), INSTEAD);
        return None;
    }
    let text = judge.words(field)?;
    let found = parts(&text).filter(|(number, _)| *number > 0).and_then(|(number, unit)| {
        let unit = match unit {
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            _ => return None,
        };
        number.checked_mul(unit)
    });
    if found.is_none() {
        judge.tell(&field.value.span, format!("`{text}` is not a size"), INSTEAD);
    }
    found
}

/// A share of a whole, from a tenth to all but a twentieth.
pub(super) fn share(judge: &mut Judge<'_>, field: &Field<'_>) -> Option<f64> {
    let text = judge.scalar(&format!("`{}`", field.name), field.value)?;
    let found = text.parse::<f64>().ok().filter(|share| (0.1..=0.95).contains(share));
    if found.is_none() {
        let what = format!("`{text}` is no share for `{}`", field.name);
        judge.tell(&field.value.span, what, "write a number from 0.1 to 0.95, for example `0.8`");
    }
    found
}

fn parts(text: &str) -> Option<(u64, &str)> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..unit].parse().ok()?, &text[unit..]))
}
