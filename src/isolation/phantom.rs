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
}

impl Phantoms {
    /// For a type as `format_type` writes it, without its modifier. `seeds` are random, so that nobody's tenant is met: 122 bits
    /// of a uuid, and below zero where keys are numbers, which count upwards.
    pub fn new(base_type: &str, seeds: [u128; 3]) -> Self {
        let make: fn(u128) -> String = match base_type {
            "uuid" => |seed| uuid::Builder::from_random_bytes(seed.to_be_bytes()).into_uuid().to_string(),
            "bigint" => |seed| format!("-{}", 1 + (seed >> 64) % (i64::MAX as u128)),
            "integer" => |seed| format!("-{}", 1 + seed % (i32::MAX as u128)),
            "smallint" => |seed| format!("-{}", 1 + seed % (i16::MAX as u128)),
            "numeric" => |seed| format!("-{}", 1 + seed % 1_000_000_000),
            // Short enough for most columns with a limit.
            _ => |seed| format!("~{:08x}", seed % (1 << 32)),
        };
        let text = !["uuid", "bigint", "integer", "smallint", "numeric"].contains(&base_type);
        let [phantom, one, two] = seeds.map(make);
        Self { phantom, made_up: [one, two], garbage: "' OR true --".to_owned(), empty_is_a_value: text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phantom_is_a_value_of_the_type_and_never_the_same() {
        for (base, min, max) in
            [("bigint", i64::MIN, -1), ("integer", i64::from(i32::MIN), -1), ("smallint", -32768, -1)]
        {
            for seed in [0, 1, u128::MAX, u128::MAX / 3] {
                let value: i64 = Phantoms::new(base, [seed, 1, 2]).phantom.parse().unwrap_or(0);
                assert!((min..=max).contains(&value), "{base} {value}");
            }
        }
        let uuids = Phantoms::new("uuid", [7, 8, 9]);
        assert!(uuids.phantom != uuids.made_up[0] && uuids.made_up[0] != uuids.made_up[1]);
        assert_eq!(uuids.phantom.len(), 36);
        assert!(Phantoms::new("character varying", [u128::MAX, 0, 1]).phantom.len() < 10);
        assert!(!uuids.empty_is_a_value && Phantoms::new("text", [1, 2, 3]).empty_is_a_value);
    }
}
