//! Tenants that no row has, and values that are no tenant.

/// Values of the tenant column's type, as the setting carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phantoms {
    /// A tenant that no row has.
    pub phantom: String,
    /// Two more, whose rows are made up where the table has none.
    pub made_up: [String; 2],
    /// What no such type can be; for text one more tenant that no row has.
    pub garbage: String,
    /// Whether '' is a value of the type, so that a row could have it.
    pub empty_is_a_value: bool,
    /// Whether the column takes them: a domain may take none that is not in use.
    pub fit: bool,
}

/// Characters of a text: enough that nobody's is met, and short enough for most columns with a limit.
const LENGTH: usize = 9;

impl Phantoms {
    /// For a type as `format_type` writes it, without its modifier, of at most `length` characters: the usual ones first, then
    /// others, for a domain that takes not every value. `seeds` are random, so that nobody's tenant is met: 122 bits of a uuid,
    /// and below zero where keys are numbers, which count upwards.
    pub fn candidates(base_type: &str, length: Option<usize>, seeds: [u128; 3]) -> Vec<Self> {
        let numbers = |min: i128, max: i128| {
            let span = u128::try_from(max / 2).unwrap_or(1);
            let step = |seed: u128| i128::try_from(seed % span).unwrap_or_default();
            let below = seeds.map(|seed| (-1 - step(seed)).max(min).to_string());
            let above = seeds.map(|seed| (max - step(seed) / 2).to_string());
            vec![below, above]
        };
        let all = match base_type {
            "uuid" => vec![seeds.map(uuid)],
            "bigint" => numbers(i64::MIN.into(), i64::MAX.into()),
            "integer" => numbers(i32::MIN.into(), i32::MAX.into()),
            "smallint" => numbers(i16::MIN.into(), i16::MAX.into()),
            "numeric" => numbers(-1_000_000_000, 1_000_000_000),
            _ => {
                let room = length.unwrap_or(LENGTH).clamp(1, LENGTH) - 1;
                let short = ['~', 'z', 'Z', '9'].map(|first| texts(first, room, seeds[0]));
                let long = (length.unwrap_or(usize::MAX) >= 36).then(|| seeds.map(uuid));
                short.into_iter().chain(long).collect()
            }
        };
        let text = !["uuid", "bigint", "integer", "smallint", "numeric"].contains(&base_type);
        let one = |[phantom, one, two]: [String; 3]| Self {
            phantom,
            made_up: [one, two],
            garbage: "' OR true --".to_owned(),
            empty_is_a_value: text,
            fit: true,
        };
        all.into_iter().map(one).collect()
    }
}

fn uuid(seed: u128) -> String {
    uuid::Builder::from_random_bytes(seed.to_be_bytes()).into_uuid().to_string()
}

/// Three that differ: a first character, of the sort that a domain may want, and digits, for which there may be no room.
fn texts(first: char, room: usize, seed: u128) -> [String; 3] {
    let base: u128 = if first == '9' { 10 } else { 16 };
    let all = base.pow(u32::try_from(room).unwrap_or_default());
    [0u8, 1, 2].map(|n| {
        let value = (seed % all + u128::from(n) * (all / 3)) % all;
        match (room, first) {
            (0, _) => char::from(u8::try_from(first).unwrap_or(b'~') - n).to_string(),
            (_, '9') => format!("{first}{value:0room$}"),
            (_, 'Z') => format!("{first}{value:0room$X}"),
            (_, _) => format!("{first}{value:0room$x}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_phantom_is_a_value_of_the_type_and_never_the_same() {
        for (base, min, max) in [
            ("bigint", i64::MIN, i64::MAX),
            ("integer", i64::from(i32::MIN), i64::from(i32::MAX)),
            ("smallint", -32768, 32767),
        ] {
            for seed in [0, 1, u128::MAX, u128::MAX / 3] {
                let all = Phantoms::candidates(base, None, [seed, 1, 2]);
                let values: Vec<i64> = all.iter().map(|p| p.phantom.parse().unwrap_or(0)).collect();
                assert!((min..0).contains(&values[0]) && (max / 2..=max).contains(&values[1]), "{base} {values:?}");
            }
        }
        let uuids = Phantoms::candidates("uuid", None, [7, 8, 9]).remove(0);
        assert!(uuids.phantom != uuids.made_up[0] && uuids.made_up[0] != uuids.made_up[1]);
        assert_eq!(uuids.phantom.len(), 36);
        assert!(!uuids.empty_is_a_value && Phantoms::candidates("text", None, [1, 2, 3])[0].empty_is_a_value);
    }

    #[test]
    fn a_text_is_as_short_as_its_column() {
        for length in [None, Some(1), Some(2), Some(5), Some(8), Some(9), Some(36), Some(255)] {
            for seed in [0, 1, 7, u128::MAX, u128::MAX / 3] {
                for of in Phantoms::candidates("character varying", length, [seed, 2, 3]) {
                    let all: BTreeSet<&String> = of.made_up.iter().chain([&of.phantom]).collect();
                    assert_eq!(all.len(), 3, "{length:?} {of:?}");
                    assert!(all.iter().all(|text| text.len() <= length.unwrap_or(36)), "{length:?} {of:?}");
                }
            }
        }
        assert_eq!(Phantoms::candidates("text", None, [u128::MAX, 0, 1])[0].phantom.len(), LENGTH);
    }
}
