//! How isolation leaks, breaks or gets slow, as it stands: one file a family of classes, and this table. A row is a class, with
//! its code and how the catalogue shows it, or what shows it instead; `pg::audit` asks, and gets a [`Hazard`](crate::hazards::Hazard)
//! for each object. What bites a schema before it is migrated is in `hazards`.

mod elsewhere;
mod functions;
mod indexes;
mod keys;
pub mod mend;
mod outlets;
pub mod policies;
mod roles;
mod rule;
mod tables;
pub mod tenancy;
mod versions;
mod views;
pub mod waivers;

pub use rule::{Ground, Look, Row, Rule};

/// Every class, by family.
const FAMILIES: &[&[Rule]] = &[
    tables::KINDS,
    roles::KINDS,
    versions::KINDS,
    policies::MEET,
    policies::EXPRESSIONS,
    functions::KINDS,
    views::KINDS,
    outlets::KINDS,
    keys::KINDS,
    indexes::KINDS,
    elsewhere::KINDS,
];

/// Every class, in the order of their codes, in which their findings can be mended one after the other.
pub fn rules() -> Vec<&'static Rule> {
    let mut all: Vec<&'static Rule> = FAMILIES.iter().copied().flatten().collect();
    all.sort_by_key(|rule| rule.code);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hazards;

    #[test]
    fn every_class_has_its_row_and_no_code_is_given_twice() {
        let codes: Vec<String> = rules().iter().map(|rule| rule.code.to_owned()).collect();
        let expect: Vec<String> = (501..=559).map(|n| format!("TM0{n}")).collect();
        assert_eq!(codes, expect);
        for rule in rules() {
            if let Look::AsHazard(code) = rule.look {
                assert!(hazards::kinds().any(|kind| kind.code == code), "{}: no hazard {code}", rule.code);
            }
        }
    }
}
