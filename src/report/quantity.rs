//! Numbers, rates, shares and durations as people read them.

use std::time::Duration;

/// `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `1,234,567 rows`.
pub fn rows(n: u64) -> String {
    counted(n, "row", "rows")
}

/// `1 unit`, `12 units`: a number with the noun in its number.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// `12,300 rows/s`, to three digits; below ten with one decimal.
pub fn rows_per_second(rate: f64) -> String {
    if !rate.is_finite() || rate < 0.05 {
        return "0 rows/s".to_owned();
    }
    if rate < 9.95 {
        return format!("{rate:.1} rows/s");
    }
    let step = 10f64.powi((rate.log10().floor() as i32 - 2).max(0));
    format!("{} rows/s", count(((rate / step).round() * step) as u64))
}

/// `61.2 %`, held between 0 and 100; 100 only when it is all.
pub fn percent(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 100.0) } else { 0.0 };
    if share >= 100.0 { "100 %".to_owned() } else { format!("{:.1} %", (share * 10.0).floor() / 10.0) }
}

/// `340 ms`, `2.3 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 3 h`.
pub fn duration(of: Duration) -> String {
    let ms = of.as_millis();
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    let tenths = (ms + 50) / 100;
    if tenths < 100 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let s = (ms + 500) / 1_000;
    if s < 60 {
        return format!("{s} s");
    }
    let min = (s + 30) / 60;
    let h = (min + 30) / 60;
    if s < 3_600 {
        two(s / 60, "min", s % 60, "s")
    } else if min < 24 * 60 {
        two(min / 60, "h", min % 60, "min")
    } else {
        two(h / 24, "d", h % 24, "h")
    }
}

/// The same of milliseconds; negative ones, which two clocks can make, count as none.
pub fn millis(ms: i64) -> String {
    duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// Whole seconds, for what is drawn again and again: tenths would only flicker.
pub fn seconds(ms: i64) -> String {
    let s = (ms / 1_000).max(0);
    if s < 60 { format!("{s} s") } else { millis(s * 1_000) }
}

fn two(large: u128, large_unit: &str, small: u128, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// ` for replica lag`, by the name of the signal that the ledger keeps; nothing for an operator's hold, which its reason says.
pub fn waits_for(word: &str) -> String {
    if word == "hold" { String::new() } else { format!(" for {word}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (n, expect) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(n), expect);
        }
        assert_eq!((rows(1), rows(0), rows(1_000)), ("1 row".into(), "0 rows".into(), "1,000 rows".into()));
    }

    #[test]
    fn durations_have_two_units_at_most_and_round_over() {
        for (ms, expect) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (2_340, "2.3 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (59_499, "59 s"),
            (59_500, "1 min"),
            (250_000, "4 min 10 s"),
            (3_599_400, "59 min 59 s"),
            (3_599_600, "1 h"),
            (11_100_000, "3 h 5 min"),
            (86_399_000, "1 d"),
            (183_600_000, "2 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), expect, "{ms} ms");
        }
        assert_eq!(millis(-5), "0 ms");
        let whole = [-1, 999, 9_999, 60_999].map(seconds);
        assert_eq!(whole, ["0 s", "0 s", "9 s", "1 min"]);
    }

    #[test]
    fn shares_never_say_all_too_early() {
        for (share, expect) in [
            (0.0, "0.0 %"),
            (61.25, "61.2 %"),
            (99.99, "99.9 %"),
            (100.0, "100 %"),
            (140.0, "100 %"),
            (-1.0, "0.0 %"),
            (f64::NAN, "0.0 %"),
        ] {
            assert_eq!(percent(share), expect);
        }
    }

    #[test]
    fn rates_have_three_digits() {
        for (rate, expect) in [
            (0.0, "0 rows/s"),
            (f64::INFINITY, "0 rows/s"),
            (3.16, "3.2 rows/s"),
            (9.97, "10 rows/s"),
            (123.4, "123 rows/s"),
            (12_345.6, "12,300 rows/s"),
            (999_700.0, "1,000,000 rows/s"),
        ] {
            assert_eq!(rows_per_second(rate), expect, "{rate}");
        }
    }
}
