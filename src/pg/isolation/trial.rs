//! One table as one role: what was asked so far, and the report of it.

use super::{
    actor::{Actor, value},
    around::{Around, around, through, unasked},
    copy::copied,
    facts::{Facts, Rights},
    reads::{may_read, own, owner, prepared, switched_off, visible},
    role::role,
    shape::{parents, plan},
    tenant::Tenants,
    writes::{Ground, writes},
};
use crate::{
    isolation::{Answer, Asked, Case, Cell, Command, Context, On, Phantoms, Probe, Report, Spec, Verdict, Way},
    pg::{Fault, connect::Connection},
};

/// A protected table, as it was found.
#[derive(Debug)]
pub(super) struct Found<'s> {
    pub spec: &'s Spec,
    pub facts: Facts,
    pub tenants: Tenants,
    pub phantoms: Phantoms,
}

/// What was asked of it as one role.
#[derive(Debug)]
pub(super) struct Trial<'s> {
    pub found: &'s Found<'s>,
    pub rights: Rights,
    pub cells: Vec<Cell>,
    pub asked: Vec<Asked>,
    ways: Vec<Around>,
    through: Vec<Verdict>,
}

/// The contexts that come after the one that only a new session has.
const LATER: [Context; 3] = [Context::Empty, Context::Garbage, Context::Phantom];

impl<'s> Trial<'s> {
    pub fn new(found: &'s Found<'s>, rights: Rights) -> Self {
        Self { found, rights, cells: Vec::new(), asked: Vec::new(), ways: Vec::new(), through: Vec::new() }
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            spec: self.found.spec,
            facts: &self.found.facts,
            rights: &self.rights,
            phantoms: &self.found.phantoms,
            real: self.found.tenants.real.as_deref().unwrap_or_default(),
        }
    }

    fn say(&mut self, probe: Probe, verdict: Verdict) {
        self.asked.push(Asked::new(probe, verdict));
    }

    fn reads(&mut self, context: Context, owed: Option<i64>, answer: Answer) {
        let further = self.found.facts.further || self.found.spec.extra;
        let case = Case { owed, further, ..Case::new(Command::Select, context, On::Table, self.found.spec.strict) };
        self.cells.push(Cell::new(case, answer));
    }

    /// What only a session can be asked in which no tenant was set yet.
    pub async fn fresh(&mut self, admin: &Connection, actor: &Actor<'_>) -> Result<(), Fault> {
        let Found { spec, facts, tenants, .. } = self.found;
        let verdict = role(admin, actor, spec, facts).await?;
        self.say(Probe::Role, verdict);
        let answer = match may_read(&self.rights, actor.name) {
            Ok(()) => visible(actor, spec, facts, None).await?,
            Err(why) => Answer::Unasked(why),
        };
        self.reads(Context::None, None, answer);
        self.ways = around(admin, actor, spec).await?;
        if spec.fallback.is_none() {
            self.through = through(actor, spec, &self.ways, None).await?;
        }
        if actor.way == Way::SetRole {
            let verdict = self.owner(actor).await?;
            self.say(Probe::Owner, verdict);
            let cells = copied(actor, tenants, self.ground(), &[Context::None]).await?;
            self.cells.extend(cells);
        }
        Ok(())
    }

    async fn owner(&self, actor: &Actor<'_>) -> Result<Verdict, Fault> {
        let Found { spec, facts, .. } = self.found;
        if !spec.force {
            return Ok(Verdict::Untried("the plan does not bind the owner".to_owned()));
        }
        if facts.owner_is_exempt {
            return Ok(Verdict::Weak(format!(
                "the owner {} is a superuser or BYPASSRLS, whom FORCE does not bind",
                facts.owner
            )));
        }
        let answer = owner(actor.session, spec, facts).await?;
        let seen = Case::new(Command::Select, Context::None, On::Table, spec.strict);
        Ok(crate::isolation::judge(seen, &answer))
    }

    /// Everything else. `whole`: with what writes, and what copies.
    pub async fn later(&mut self, admin: &Connection, actor: &Actor<'_>, whole: bool) -> Result<(), Fault> {
        let Found { spec, facts, tenants, phantoms } = self.found;
        let readable = may_read(&self.rights, actor.name);
        for context in LATER {
            let answer = match &readable {
                Ok(()) => visible(actor, spec, facts, value(context, phantoms, "")).await?,
                Err(why) => Answer::Unasked(why.clone()),
            };
            self.reads(context, None, answer);
        }
        let unknown = Answer::Unasked(tenants.why.clone());
        match (&tenants.real, &readable) {
            (Some(real), Ok(())) if self.rights.reads_tenant => {
                let (answer, owed) = own(admin, actor, spec, facts, tenants, real).await?;
                self.reads(Context::Real, owed, answer);
                let verdict = prepared(actor, spec, &phantoms.phantom, real).await?;
                self.say(Probe::Prepared, verdict);
                if whole {
                    let cells = writes(actor, self.ground()).await?;
                    self.cells.extend(cells);
                }
            }
            (Some(_), Ok(())) => {
                let why = format!("{} may not read {}", actor.name, spec.column);
                self.reads(Context::Real, None, Answer::Unasked(why));
            }
            (Some(_), Err(why)) => {
                let why = why.clone();
                self.reads(Context::Real, None, Answer::Unasked(why));
            }
            (None, _) => self.reads(Context::Real, None, unknown),
        }
        if readable.is_ok() {
            let verdict = switched_off(actor, spec).await?;
            self.say(Probe::SwitchedOff, verdict);
            let tenant = tenants.real.as_ref().unwrap_or(&phantoms.phantom);
            let verdict = plan(actor, spec, facts, tenant).await?;
            self.say(Probe::Plan, verdict);
        }
        self.through.extend(through(actor, spec, &self.ways, Some(&phantoms.phantom)).await?);
        self.through.extend(unasked(&self.ways));
        let none = || Verdict::Holds("nothing else that it may read leads to these rows".to_owned());
        let verdict = Verdict::worst(std::mem::take(&mut self.through)).unwrap_or_else(none);
        self.say(Probe::WaysAround, verdict);
        let verdict = parents(admin, spec).await?;
        self.say(Probe::ForeignParent, verdict);
        if whole {
            let contexts = [Context::Empty, Context::Garbage, Context::Phantom, Context::Real];
            let cells = copied(actor, tenants, self.ground(), &contexts).await?;
            self.cells.extend(cells);
        }
        Ok(())
    }

    /// All of it.
    pub fn report(self, actor: &Actor<'_>) -> Report {
        let mut probes = self.asked;
        probes.extend(Probe::ALL.iter().filter_map(|probe| Asked::of(*probe, &self.cells)));
        probes.sort_by_key(|asked| asked.probe);
        Report {
            table: self.found.spec.table.to_string(),
            role: actor.name.to_string(),
            way: actor.way,
            probes,
            matrix: self.cells,
        }
    }
}
