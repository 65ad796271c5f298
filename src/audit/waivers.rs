//! Findings that somebody accepted: with the reason, and for how long. An expired waiver waives nothing, and one that nothing needs
//! is told: both are loose ends.

use chrono::NaiveDate;
use serde::Deserialize;

use crate::hazards::Hazard;

/// The file: `[[waiver]]` after `[[waiver]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waivers {
    #[serde(default, rename = "waiver")]
    pub all: Vec<Waiver>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// `TM0541`.
    pub code: String,
    /// The finding's object; `*` stands for anything.
    pub object: String,
    pub reason: String,
    /// The last day on which it holds.
    #[serde(deserialize_with = "day")]
    pub expires: NaiveDate,
}

/// A date of TOML's, or the same as text.
fn day<'de, D: serde::Deserializer<'de>>(from: D) -> Result<NaiveDate, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Date(toml::value::Datetime),
        Text(String),
    }
    let text = match Written::deserialize(from)? {
        Written::Date(date) => date.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is not a day; write it like 2027-01-31")))
}

/// What became of the findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sorted {
    pub open: Vec<Hazard>,
    /// Each with its waiver.
    pub waived: Vec<(Hazard, Waiver)>,
    pub expired: Vec<Waiver>,
    pub unused: Vec<Waiver>,
}

impl Waivers {
    /// Reads the file's text; `known` are the codes that there are.
    pub fn read(text: &str, known: &[&str]) -> Result<Self, String> {
        let waivers: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for waiver in &waivers.all {
            if !known.contains(&waiver.code.as_str()) {
                return Err(format!(
                    "`{}` is not a code that an audit finds; tenantmig explain lists them",
                    waiver.code
                ));
            }
            if waiver.reason.trim().is_empty() {
                return Err(format!("the waiver of {} for `{}` says no reason", waiver.code, waiver.object));
            }
        }
        Ok(waivers)
    }

    /// Sorts the findings on the day `today`.
    pub fn sort(&self, findings: Vec<Hazard>, today: NaiveDate) -> Sorted {
        let mut sorted = Sorted::default();
        let mut used = vec![false; self.all.len()];
        for finding in findings {
            let mut holds = None;
            for (waiver, used) in self.all.iter().zip(&mut used).filter(|(waiver, _)| waiver.is_of(&finding)) {
                *used = true;
                holds = holds.or(Some(waiver).filter(|waiver| waiver.expires >= today));
            }
            match holds {
                Some(waiver) => sorted.waived.push((finding, waiver.clone())),
                None => sorted.open.push(finding),
            }
        }
        for (waiver, used) in self.all.iter().zip(used) {
            if waiver.expires < today {
                sorted.expired.push(waiver.clone());
            } else if !used {
                sorted.unused.push(waiver.clone());
            }
        }
        sorted
    }
}

impl Waiver {
    fn is_of(&self, finding: &Hazard) -> bool {
        self.code == finding.code && matches(&self.object, &finding.object)
    }
}

/// Whether `text` is what `pattern` says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    while let Some((part, next)) = rest.split_once('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
        rest = next;
    }
    left.ends_with(rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::rules;

    fn finding(object: &str) -> Hazard {
        let rule = rules().into_iter().find(|rule| rule.code == "TM0541").unwrap();
        rule.finding((object.to_owned(), String::new(), None, None))
    }

    fn read(text: &str) -> Result<Waivers, String> {
        Waivers::read(text, &["TM0541"])
    }

    fn waiver(object: &str, expires: &str) -> String {
        format!("[[waiver]]\ncode = 'TM0541'\nobject = '{object}'\nreason = 'the warehouse'\nexpires = {expires}\n")
    }

    #[test]
    fn a_waiver_holds_for_its_object_until_its_day_is_over() {
        let today = "2026-11-21".parse().unwrap();
        #[track_caller]
        fn check(text: &str, today: NaiveDate, expect: [usize; 4]) {
            let sorted =
                read(text).unwrap().sort(vec![finding("publication feed"), finding("publication other")], today);
            let counts = [sorted.open.len(), sorted.waived.len(), sorted.expired.len(), sorted.unused.len()];
            assert_eq!(counts, expect, "{text}");
        }
        check("", today, [2, 0, 0, 0]);
        check(&waiver("publication feed", "2026-11-21"), today, [1, 1, 0, 0]);
        check(&waiver("publication *", "'2026-11-22'"), today, [0, 2, 0, 0]);
        check(&waiver("publication feed", "2026-11-20"), today, [2, 0, 1, 0]);
        check(&waiver("publication fee", "2027-11-21"), today, [2, 0, 0, 1]);
        let both = waiver("publication *", "2026-01-01") + &waiver("*feed", "2027-01-01");
        check(&both, today, [1, 1, 1, 0]);
    }

    #[test]
    fn what_is_no_waiver_is_refused() {
        for (text, expect) in [
            (waiver("*", "2026-11-21").replace("TM0541", "TM0999"), "TM0999"),
            (waiver("*", "2026-11-21").replace("the warehouse", " "), "says no reason"),
            (waiver("*", "'soon'"), "not a day"),
            (waiver("*", "2026-11-21") + "until = 1", "until"),
            ("[[waiver]]\ncode = 'TM0541'".to_owned(), "object"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(expect), "{text}: {said}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("a*c*e", "abcde", true),
            ("a*c", "abcd", false),
            ("*", "", true),
            ("a**b", "ab", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
    }
}
