//! Figures as people read them.

/// 1.04
pub fn times(value: f64) -> String {
    format!("{value:.2}")
}

/// 2.4 %
pub fn percent(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// Three digits: 0.84, 4.2, 12.6, 318.
pub fn short(value: f64) -> String {
    match value {
        v if v < 1.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => thousands(v),
    }
}

/// 98,412
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 5M, 200k
pub fn rows(rows: u64) -> String {
    match rows {
        r if r >= 1_000_000 && r % 100_000 == 0 => format!("{}M", trim(r as f64 / 1e6)),
        r if r >= 1_000 && r % 100 == 0 => format!("{}k", trim(r as f64 / 1e3)),
        r => r.to_string(),
    }
}

fn trim(value: f64) -> String {
    format!("{value:.1}").trim_end_matches(".0").to_owned()
}
