//! The small programs that the model explores, and what stood in the database before them.

use tenantmig::{
    checks::{Consent, Gate, Guard, Measure, Stage},
    engine::{Program, ProgramPhase},
    plan::{Disk, Millis, OnDiskFull, OnFailure, Pacing, Safety, ServerFacts},
    sql::{Ident, Literal, QName, Stmt, TypeName},
    unit::{BackfillSpec, BackfillValue, Down, Growth, KeepSpec, Lock, OnOrphan, Op, Probe, Unit, UnitId},
};

use super::database::Thing;

/// One program with the database that it meets. Things are numbered like the units that make them.
pub struct Case {
    pub name: &'static str,
    pub program: Program,
    pub was: Vec<Thing>,
    /// A run may lose its process this often; each loses what was not in the ledger.
    pub crashes_max: u8,
}

/// The kinds of units that differ for the machine or the shell.
#[derive(Clone, Copy)]
pub enum Kind {
    /// DDL in a transaction.
    Tx,
    /// The same, and no way back.
    TxForGood,
    /// A statement outside a transaction, with a wreck between nothing and all.
    Autocommit,
    /// The same, and no way back.
    AutocommitForGood,
    /// The same, but only the ledger knows it: free SQL. Whoever died in the middle cannot tell how far it came.
    AutocommitBlind,
    /// Batches that commit one by one, taken back together with the unit of this number.
    FillOf(usize),
    /// A query.
    Assert,
    /// Values of the unit of this number that are kept when it is undone. No thing of its own.
    ValuesOf(usize),
}

use Kind::{Assert, Autocommit, AutocommitBlind, AutocommitForGood, FillOf, Tx, TxForGood, ValuesOf};
use OnFailure::{Pause, Rollback, RollbackAll};
use Thing::{Blocking, Made, Nothing, Theirs};

/// Every case: together they have each kind of unit, each thing that may have stood there, and each `on_failure` in
/// each place where it makes a difference.
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "each kind of unit",
            vec![
                (Pause, 1, vec![(Tx, Nothing), (ValuesOf(0), Nothing), (FillOf(0), Nothing)]),
                (Rollback, 2, vec![(Autocommit, Nothing), (Autocommit, Made)]),
                (RollbackAll, 0, vec![(Tx, Theirs), (Assert, Nothing)]),
            ],
        )
        .checked_after_undo(&[0, 1]),
        case(
            "a point of no return",
            vec![
                (Rollback, 1, vec![(Tx, Theirs), (Autocommit, Nothing)]),
                (RollbackAll, 0, vec![(Tx, Nothing), (TxForGood, Nothing)]),
                (Rollback, 1, vec![(Tx, Nothing), (TxForGood, Made)]),
            ],
        ),
        case(
            "a point of no return outside a transaction",
            vec![
                (RollbackAll, 1, vec![(Autocommit, Nothing)]),
                (Rollback, 1, vec![(Tx, Made), (AutocommitForGood, Nothing)]),
                (Pause, 0, vec![(Autocommit, Nothing), (Tx, Theirs)]),
            ],
        ),
        case(
            "something in the way",
            vec![
                (RollbackAll, 0, vec![(Tx, Nothing)]),
                (Pause, 1, vec![(Tx, Blocking), (Tx, Nothing)]),
                (Rollback, 1, vec![(Autocommit, Blocking)]),
            ],
        ),
        case(
            "a fill of a column that was there",
            vec![
                (Rollback, 1, vec![(Tx, Made), (FillOf(0), Nothing)]),
                (Rollback, 0, vec![(Tx, Nothing), (FillOf(2), Nothing)]),
                (Pause, 1, vec![(AutocommitBlind, Nothing)]),
            ],
        )
        .disk_full_is_a_failure()
        .checked_after_undo(&[2]),
        case(
            "guards that are put off",
            vec![
                (Rollback, 1, vec![(Tx, Nothing), (Tx, Nothing)]),
                (RollbackAll, 0, vec![(Tx, Theirs)]),
                (Pause, 0, vec![(Tx, Nothing)]),
            ],
        )
        .guarded(0, Some(0), Some(Consent::DataLoss))
        .guarded(1, None, None)
        .crashes(1),
    ]
}

/// What waits, for others or for somebody.
pub fn waiting() -> Vec<Case> {
    vec![
        case(
            "a gate that waits for others",
            vec![
                (RollbackAll, 1, vec![(Tx, Theirs)]),
                (Rollback, 1, vec![(Autocommit, Nothing)]),
                (Pause, 0, vec![(Tx, Nothing)]),
            ],
        )
        .waits_at(&[0, 1]),
        case(
            "phases that wait for somebody before and after",
            vec![
                (RollbackAll, 1, vec![(Tx, Theirs)]),
                (Rollback, 2, vec![(Autocommit, Nothing), (Tx, Nothing)]),
                (Rollback, 1, vec![(Tx, Nothing)]),
            ],
        )
        .approved(0, Stage::Begin)
        .approved(1, Stage::Begin)
        .approved(2, Stage::Confirm)
        .crashes(1),
    ]
}

impl Case {
    /// These phases have a gate in `after_undo`.
    fn checked_after_undo(mut self, phases: &[usize]) -> Self {
        for p in phases {
            self.program.phases[*p].after_undo.push(gate(0));
        }
        self
    }

    /// The phase, or a unit of it, is guarded.
    fn guarded(mut self, p: usize, of: Option<usize>, consent: Option<Consent>) -> Self {
        self.program.phases[p].before_undo.push(Guard { gate: gate(0), of: of.map(id), consent });
        self
    }

    /// A second crash finds nothing here that the other cases do not: it forgets what the driver had in hand, no more.
    fn crashes(mut self, max: u8) -> Self {
        self.crashes_max = max;
        self
    }

    /// The gates of these phases are measured again and again, and pause the run at last.
    fn waits_at(mut self, phases: &[usize]) -> Self {
        for p in phases {
            self.program.phases[*p].gates.iter_mut().for_each(|gate| gate.wait = Some(Millis(1)));
        }
        self
    }

    /// Its first gate waits for somebody before the phase, its last one after it.
    fn approved(mut self, p: usize, stage: Stage) -> Self {
        let gates = &mut self.program.phases[p].gates;
        let gate = if stage == Stage::Begin { gates.first_mut() } else { gates.last_mut() };
        let gate = gate.unwrap();
        (gate.wait, gate.measure) = (Some(Millis(1)), Measure::Approval(stage));
        self
    }

    /// `on_disk_full = "rollback"`; elsewhere a full disk pauses.
    fn disk_full_is_a_failure(mut self) -> Self {
        self.program.safety.on_disk_full = OnDiskFull::Rollback;
        self
    }
}

type PhaseOf = (OnFailure, usize, Vec<(Kind, Thing)>);

fn case(name: &'static str, phases: Vec<PhaseOf>) -> Case {
    let was = phases.iter().flat_map(|(_, _, units)| units.iter().map(|(_, thing)| *thing)).collect();
    let mut number = 0;
    let phases = phases.into_iter().enumerate().map(|(p, (on_failure, gates, units))| {
        let id = format!("p{p}");
        let units = units.into_iter().map(|(kind, _)| {
            number += 1;
            unit(number - 1, kind)
        });
        ProgramPhase {
            id,
            on_failure,
            units: units.collect(),
            gates: (0..gates).map(gate).collect(),
            before_undo: vec![],
            after_undo: vec![],
        }
    });
    let phases = phases.collect();
    let program = Program {
        plan: name.to_owned(),
        server: ServerFacts::default(),
        safety: Safety::default(),
        pacing: Pacing::default(),
        disk: Disk::default(),
        backup: Default::default(),
        tenancy: None,
        probes: Vec::new(),
        phases,
    };
    Case { name, program, was, crashes_max: 2 }
}

/// The id of the unit with this number.
pub fn id(number: usize) -> UnitId {
    UnitId(format!("u{number}"))
}

/// A unit whose statements the simulated database understands: `MAKE 3`, `DROP 3`, `REPAIR 3`.
pub fn unit(number: usize, kind: Kind) -> Unit {
    let stmt = |verb: &str| Stmt::raw(format!("{verb} {number}"));
    let probe = Probe::catalog(stmt("PROBE"));
    let alone = || Op::Autocommit { stmt: stmt("MAKE"), repair: vec![stmt("REPAIR")], due: None };
    let for_good = || Down::Irreversible { why: "there is no way back".to_owned() };
    let (up, down, probe) = match kind {
        Tx => (Op::Tx(vec![stmt("MAKE")]), Down::tx([stmt("DROP")]), probe),
        TxForGood => (Op::Tx(vec![stmt("MAKE")]), for_good(), probe),
        Autocommit | AutocommitBlind => {
            let probe = if matches!(kind, Autocommit) { probe } else { Probe::Ledger };
            let down = Op::Autocommit { stmt: stmt("DROP"), repair: vec![stmt("REPAIR")], due: None };
            (alone(), Down::Op(down), probe)
        }
        AutocommitForGood => (alone(), for_good(), probe),
        FillOf(other) => (Op::Backfill(fill()), Down::CoveredBy(id(other)), Probe::Ledger),
        ValuesOf(other) => {
            let spec = Box::new(KeepSpec {
                table: fill().table,
                column: fill().column,
                ty: TypeName::parse("uuid").unwrap(),
                fresh: None,
                again: None,
                of: id(other),
            });
            (Op::Restore(spec.clone()), Down::Op(Op::Keep(spec)), Probe::Ledger)
        }
        Assert => (Op::Assert(stmt("ASSERT")), Down::nothing("it only asked"), Probe::Ledger),
    };
    let title = format!("unit {number}");
    Unit {
        id: id(number),
        title,
        up,
        down,
        probe,
        lock: Lock::none(),
        loses: Some(format!("thing {number}")),
        guards_rows: false,
        grows: Growth::Little,
    }
}

fn fill() -> BackfillSpec {
    BackfillSpec {
        table: QName::parse("app.users").unwrap(),
        column: Ident::new("tenant_id").unwrap(),
        value: BackfillValue::Constant(Literal::new("1")),
        only: None,
        on_orphan: OnOrphan::Stop,
        batch_rows: 100,
    }
}

fn gate(number: usize) -> Gate {
    let id = format!("g{number}");
    Gate {
        title: id.clone(),
        id,
        kind: "model".to_owned(),
        query: Stmt::raw("GATE"),
        baseline: None,
        tables: vec![],
        wait: None,
        measure: Measure::Query,
    }
}
