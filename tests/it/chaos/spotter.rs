//! Finds the point in what the program sends: reads statements and their parameters, session by session, and keeps a trace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use crate::harness::{Frame, Proxy, Verdict};

use super::point::{Moment, Point, Subject};

/// Messages that the trace keeps: what came last explains a failure.
const TRACE_MAX: usize = 4_000;
const TEXT_CHARS_MAX: usize = 160;

/// The message at the point, which is held.
#[derive(Debug, Clone)]
pub struct Found {
    pub connection: u64,
    /// `client_port` of the session.
    pub port: u16,
    pub application: String,
    pub at: String,
}

/// What passed, for people.
pub type Trace = Arc<Mutex<VecDeque<String>>>;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The INSERT of an event is parsed; its values come next.
    Parsed,
    /// The event that is looked for is written.
    Written,
    /// And its COMMIT was sent.
    Committed,
}

struct Spotter {
    point: Point,
    stages: HashMap<u64, Stage>,
    seen: u32,
    found: bool,
    tell: mpsc::Sender<Found>,
}

/// From now on the message at the point is held, once, and told.
pub fn watch(proxy: &Proxy, point: &Point, trace: &Trace) -> mpsc::Receiver<Found> {
    let (tell, told) = mpsc::channel();
    let spotter = Mutex::new(Spotter { point: point.clone(), stages: HashMap::new(), seen: 0, found: false, tell });
    let (trace, begun) = (trace.clone(), Instant::now());
    proxy.judge(move |frame| {
        let here = spotter.lock().unwrap().is_here(frame);
        note(&trace, begun, frame, here);
        if here { Verdict::Hold } else { Verdict::Forward }
    });
    told
}

fn note(trace: &Trace, begun: Instant, frame: &Frame<'_>, here: bool) {
    if !here && ![0, b'Q', b'P', b'X'].contains(&frame.tag) {
        return;
    }
    let text: String = words(frame).chars().take(TEXT_CHARS_MAX).collect();
    let mut trace = trace.lock().unwrap();
    let mark = if here { " <<<" } else { "" };
    trace.push_back(format!(
        "{:8.3} {:3} {:<22} {} {text}{mark}",
        begun.elapsed().as_secs_f64(),
        frame.connection,
        frame.application,
        char::from(frame.tag.max(b'0'))
    ));
    if trace.len() > TRACE_MAX {
        trace.pop_front();
    }
}

/// The text of a statement, whichever way it is sent.
fn words(frame: &Frame<'_>) -> String {
    let text = frame.text().replace('\n', " ");
    text.trim_matches('\0').trim().to_owned()
}

impl Spotter {
    fn is_here(&mut self, frame: &Frame<'_>) -> bool {
        if self.found {
            return false;
        }
        let here = match self.point.subject.clone() {
            Subject::Statement(mark, nth) => {
                let is = matches!(frame.tag, b'Q' | b'P') && mark.is(&words(frame));
                self.seen += u32::from(is);
                is && self.seen == nth
            }
            Subject::Event { kind, what } => self.event(frame, |k, w| k == kind && w == what),
            Subject::Some(nth) => {
                let seen = self.seen;
                let mut now = seen;
                let here = self.event(frame, |_, _| {
                    now += 1;
                    now == nth
                });
                self.seen = now;
                here
            }
        };
        if here {
            self.found = true;
            let at = words(frame).chars().take(TEXT_CHARS_MAX).collect();
            let Frame { connection, port, .. } = *frame;
            // Nobody listens any more when the cell has failed.
            let _told = self.tell.send(Found { connection, port, application: frame.application.to_owned(), at });
        }
        here
    }

    /// Follows the transaction of an event: its statement, its values, its COMMIT, and what comes next.
    fn event(&mut self, frame: &Frame<'_>, mut is: impl FnMut(&str, &str) -> bool) -> bool {
        let (id, moment) = (frame.connection, self.point.moment);
        let stage = self.stages.get(&id).copied();
        if stage == Some(Stage::Committed) {
            self.stages.remove(&id);
            return true;
        }
        match frame.tag {
            b'P' if words(frame).contains("INSERT INTO tenantmig.events ") => {
                self.stages.insert(id, Stage::Parsed);
            }
            b'B' if stage == Some(Stage::Parsed) => {
                self.stages.remove(&id);
                if event_of(frame.body).is_some_and(|(kind, what)| is(&kind, &what)) {
                    if moment == Moment::Unwritten {
                        return true;
                    }
                    self.stages.insert(id, Stage::Written);
                }
            }
            b'Q' if stage == Some(Stage::Written) => {
                let text = words(frame);
                if text == "ROLLBACK" {
                    self.stages.remove(&id);
                }
                if text == "COMMIT" {
                    if moment == Moment::Acknowledged {
                        self.stages.insert(id, Stage::Committed);
                        return false;
                    }
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}

/// Kind, and unit or gate, from the values of the INSERT: run, number, epoch, host, kind, unit, event.
fn event_of(bind: &[u8]) -> Option<(String, String)> {
    let values = values(bind)?;
    let text = |at: usize| values.get(at).cloned().flatten().map(|v| String::from_utf8_lossy(&v).into_owned());
    let kind = text(4)?;
    // The binary form of jsonb begins with its version.
    let body: serde_json::Value = serde_json::from_slice(values.get(6)?.as_ref()?.get(1..)?).ok()?;
    Some((kind.clone(), text(5).unwrap_or_else(|| subject(&kind, &body))))
}

/// What an event is about that has no unit.
pub fn subject(kind: &str, body: &serde_json::Value) -> String {
    let inner = &body[kind];
    match (inner["phase"].as_str(), inner["gate"].as_str()) {
        (Some(phase), Some(gate)) => format!("{phase}/{gate}"),
        _ => "run".to_owned(),
    }
}

/// The values of a Bind message: two names, the formats, then each with its length.
fn values(bind: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut at = 0;
    for _ in 0..2 {
        at += bind.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
    }
    let short = |at: usize| Some(usize::from(u16::from_be_bytes(bind.get(at..at + 2)?.try_into().ok()?)));
    at += 2 + 2 * short(at)?;
    let count = short(at)?;
    at += 2;
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(bind.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        match usize::try_from(length) {
            Ok(length) => {
                values.push(Some(bind.get(at..at + length)?.to_vec()));
                at += length;
            }
            Err(_) => values.push(None),
        }
    }
    Some(values)
}
