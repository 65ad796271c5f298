//! What is different between two states of the touched objects.

use sha2::{Digest, Sha256};

use super::{
    facts::{Facing, Facts, Print},
    model::{Catalogue, Change, Compared, ObjectChanged, PrintTaken, Section},
};

/// The prints that the ledger has, what the migration changed, and what was changed since.
pub(super) fn catalogue(facts: &Facts, whole_back: bool) -> Catalogue {
    let prints = facts.prints.iter().map(taken).collect();
    let start = facts.prints.iter().find(|print| print.phase == "start");
    let newest = facts.prints.iter().rev().find(|print| print.phase != "start").filter(|_| !whole_back);
    let now = facts.now.given();
    let words = |print: &Print| match print.phase.as_str() {
        "start" => "before the first phase".to_owned(),
        phase => format!("when phase {phase} was over"),
    };
    let present = "when this report was made".to_owned();
    let from = start.map_or_else(|| "before the first phase".to_owned(), words);
    let (to, changes) = match (start, newest, now) {
        (None, _, _) => {
            (present.clone(), Section::Missing("the ledger has no print from before the first phase".to_owned()))
        }
        (Some(start), Some(newest), _) => (words(newest), between(start, newest)),
        (Some(start), None, Some(now)) => (present.clone(), Section::Given(changed(&start.facts, now))),
        (Some(_), None, None) => (present.clone(), Section::Missing(missing(facts))),
    };
    let migration = Compared { from, to, changes };
    let since = Compared {
        from: newest.or(start).map_or_else(String::new, words),
        to: present,
        changes: match (newest, now) {
            (Some(newest), Some(now)) => Section::Given(changed(&newest.facts, now)),
            (None, _) => Section::Missing("no phase stands that others could have changed".to_owned()),
            (Some(_), None) => Section::Missing(missing(facts)),
        },
    };
    let now = match &facts.now {
        Section::Given(now) => Section::Given(digest(now)),
        Section::Missing(why) => Section::Missing(why.clone()),
    };
    Catalogue { prints, now, migration, since }
}

fn missing(facts: &Facts) -> String {
    match &facts.now {
        Section::Given(_) => String::new(),
        Section::Missing(why) => why.clone(),
    }
}

fn taken(print: &Print) -> PrintTaken {
    PrintTaken {
        phase: print.phase.clone(),
        taken_at: print.taken_at,
        facts: print.facts.values().map(std::collections::BTreeMap::len).sum(),
        digest: digest(&print.facts),
    }
}

fn between(from: &Print, to: &Print) -> Section<Vec<ObjectChanged>> {
    if (from.format, from.server) == (to.format, to.server) {
        return Section::Given(changed(&from.facts, &to.facts));
    }
    Section::Missing(
        "the two prints are of different versions of this program or of the server, which word the facts differently"
            .to_owned(),
    )
}

/// Object by object, fact by fact.
pub(super) fn changed(was: &Facing, is: &Facing) -> Vec<ObjectChanged> {
    let mut objects: Vec<&String> = was.keys().chain(is.keys()).collect();
    objects.sort();
    objects.dedup();
    let none = std::collections::BTreeMap::new();
    let one = |object: &String| {
        let (before, after) = (was.get(object).unwrap_or(&none), is.get(object).unwrap_or(&none));
        let mut facts: Vec<&String> = before.keys().chain(after.keys()).collect();
        facts.sort();
        facts.dedup();
        let change = |fact: &String| {
            let (was, is) = (before.get(fact), after.get(fact));
            (was != is).then(|| Change { what: fact.clone(), was: was.cloned(), is: is.cloned() })
        };
        ObjectChanged { object: object.clone(), changes: facts.into_iter().filter_map(change).collect() }
    };
    objects.into_iter().map(one).filter(|object| !object.changes.is_empty()).collect()
}

/// SHA-256 over the facts, each with its length so that no two lists give the same bytes.
pub(super) fn digest(facts: &Facing) -> String {
    let mut hash = Sha256::new();
    for (object, facts) in facts {
        for (fact, value) in facts {
            for text in [object, fact, value] {
                hash.update(text.len().to_string());
                hash.update([0]);
                hash.update(text);
            }
        }
    }
    hex(&hash.finalize())
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
