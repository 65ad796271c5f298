//! Figures as people read them.

use crate::plan::Bytes;

/// `250 ms`, `12.3 s`, `7 min`, `3.5 h`. Tenths are rounded up: what is just beyond a limit does not look equal to it.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", tenths(ms.div_ceil(100))),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000.. => format!("{} h", tenths(ms.div_ceil(360_000))),
    }
}

/// `64.0 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// `1 file`, `5 files`: the noun takes an s.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn tenths(number: u64) -> String {
    match number % 10 {
        0 => (number / 10).to_string(),
        tenth => format!("{}.{tenth}", number / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let check = |ms, expect: &str| assert_eq!(time(ms), expect);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1_000, "1 s");
        check(12_345, "12.4 s");
        check(119_999, "120 s");
        check(120_000, "2 min");
        check(3_600_000, "60 min");
        check(12_600_000, "3.5 h");
        check(u64::MAX, "5124095576030.5 h");
    }
}
