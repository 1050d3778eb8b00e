//! Random histories, played on the real store and on plain vectors.
//!
//! The model does not know epochs, patches or rows in tables: it writes down at each commit for whom the event is, and keeps
//! bytes as bytes.

use super::*;
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::Seq;
use gateway_daemon::store::{Record, Row};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NAMES: [EventName; 3] = [EventName::NewData, EventName::TestFinished, EventName::AnalyzerAlarm];

#[derive(Debug, Clone)]
enum Step {
    Commit { analyzer: usize, ids: Vec<u64>, name: usize, bytes: Vec<u8>, complete: bool },
    Configure { wanted: [Option<u8>; 3] },
    Dispatch { destination: usize, many: usize, undone: u8 },
    Deliver { destination: usize },
    CutPower,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..20),
        (200_usize..600, any::<u8>())
            .prop_map(|(length, first)| (0..length).map(|at| (at / 9) as u8 ^ (first & 3)).collect()),
    ];
    let step = prop_oneof![
        6 => (0..2_usize, prop::collection::vec(0..60_u64, 0..3), 0..3_usize, bytes, any::<bool>())
            .prop_map(|(analyzer, ids, name, bytes, complete)| Step::Commit { analyzer, ids, name, bytes, complete }),
        1 => prop::array::uniform3(prop::option::of(0..4_u8)).prop_map(|wanted| Step::Configure { wanted }),
        4 => (0..3_usize, 1..5_usize, any::<u8>())
            .prop_map(|(destination, many, undone)| Step::Dispatch { destination, many, undone }),
        2 => (0..3_usize).prop_map(|destination| Step::Deliver { destination }),
        1 => Just(Step::CutPower),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

fn filter(kind: u8) -> Filter {
    let names = match kind {
        0 => None,
        1 => Some(vec!["TEST_FINISHED".to_owned()]),
        2 => Some(vec!["TEST_FINISHED".to_owned(), "NEW_DATA".to_owned()]),
        _ => Some(Vec::new()),
    };
    Filter { names, ..Filter::default() }
}

#[derive(Default)]
struct Target {
    filter: Option<Filter>,
    mine: Vec<i64>,
    cursor: i64,
    ordinal: u64,
    rows: BTreeMap<i64, u64>,
}

#[derive(Default)]
struct Model {
    log: Vec<(u64, Option<usize>)>,
    /// Messages by number: the analyzer, the bytes, whether open.
    messages: Vec<(usize, Vec<u8>, bool)>,
    targets: BTreeMap<usize, Target>,
}

impl Model {
    fn open_message(&self, analyzer: usize) -> Option<usize> {
        self.messages.iter().position(|(whose, _, open)| *whose == analyzer && *open)
    }

    fn commit(&mut self, analyzer: usize, ids: &[u64], name: usize, bytes: &[u8], complete: bool) {
        let mut message = self.open_message(analyzer);
        if !bytes.is_empty() {
            let open = message.unwrap_or_else(|| {
                self.messages.push((analyzer, Vec::new(), true));
                self.messages.len() - 1
            });
            self.messages[open].1.extend_from_slice(bytes);
            message = Some(open);
        } else if !complete {
            message = None;
        }
        for id in ids {
            if self.log.iter().any(|(known, _)| known == id) {
                continue;
            }
            self.log.push((*id, message));
            let seq = self.log.len() as i64;
            for target in self.targets.values_mut() {
                let wants = |filter: &Filter| {
                    let named = |names: &Vec<String>| names.iter().any(|word| word == NAMES[name].as_str());
                    filter.names.as_ref().is_none_or(named)
                };
                if target.filter.as_ref().is_some_and(wants) {
                    target.mine.push(seq);
                }
            }
        }
        if let Some(message) = message.filter(|_| complete) {
            self.messages[message].2 = false;
        }
    }

    fn configure(&mut self, wanted: &[Option<u8>; 3]) {
        let head = self.log.len() as i64;
        for (number, kind) in wanted.iter().enumerate() {
            match kind {
                Some(kind) => {
                    let new = || Target { cursor: head, ..Target::default() };
                    self.targets.entry(number).or_insert_with(new).filter = Some(filter(*kind));
                }
                None => {
                    if let Some(target) = self.targets.get_mut(&number) {
                        target.filter = None;
                    }
                }
            }
        }
    }
}

fn name_of(number: usize) -> DestinationId {
    DestinationId(format!("webhook:{number}"))
}

fn whose(analyzer: usize) -> AnalyzerId {
    AnalyzerId(format!("analyzer-{analyzer}"))
}

fn held() -> DeliveryState {
    DeliveryState::Held { attempts: 1, reason: Reason::new(ReasonCode::Unauthorized, "401") }
}

async fn play(place: &Place, store: Store, model: &mut Model, step: &Step) -> Store {
    match step {
        Step::Commit { analyzer, ids, name, bytes, complete } => {
            let kind = EventKind::bare(NAMES[*name]);
            let events = ids.iter().map(|number| (id(*number), kind.clone())).collect();
            let before = model.log.len();
            model.commit(*analyzer, ids, *name, bytes, *complete);
            let entry = NewEntry {
                analyzer: whose(*analyzer),
                at: place.now(),
                capture: bytes.clone(),
                events,
                complete: *complete,
            };
            let committed = store.commit(entry).await.unwrap();
            assert_eq!(committed.stored, model.log.len() - before);
            assert_eq!(committed.repeated, ids.len() - committed.stored);
        }
        Step::Configure { wanted } => {
            model.configure(wanted);
            let wanted: Vec<_> = wanted
                .iter()
                .enumerate()
                .filter_map(|(number, kind)| Some((name_of(number), filter((*kind)?))))
                .collect();
            store.configure(&wanted).await.unwrap();
        }
        Step::Dispatch { destination, many, undone } => {
            if let Some(target) = model.targets.get_mut(destination) {
                dispatch(&store, &name_of(*destination), target, *many, *undone).await;
            }
        }
        Step::Deliver { destination } => {
            let Some(target) = model.targets.get_mut(destination) else { return store };
            let Some((seq, ordinal)) = target.rows.pop_first() else { return store };
            let row = row(seq, ordinal, DeliveryState::Delivered { attempts: 2 });
            store.record(&name_of(*destination), Record { rows: vec![row], ..Record::default() }).await.unwrap();
        }
        Step::CutPower => {
            drop(store);
            return place.open().await;
        }
        Step::Restart => {
            store.close().await.unwrap();
            return place.open().await;
        }
    }
    store
}

fn row(seq: i64, ordinal: u64, state: DeliveryState) -> Row {
    let lane = gateway_core::event::Lane("a:any".into());
    Row { seq: Seq(seq), ordinal, lane, state, redriven: false, historical: false }
}

async fn dispatch(store: &Store, name: &DestinationId, target: &mut Target, many: usize, undone: u8) {
    let (events, looked) = store.next_events(name, Seq(target.cursor), many).await.unwrap();
    let next: Vec<i64> = target.mine.iter().copied().filter(|seq| *seq > target.cursor).take(many).collect();
    assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), next);
    let mut rows = Vec::new();
    for (index, seq) in next.iter().enumerate() {
        target.ordinal += 1;
        if undone & (1 << index) != 0 {
            target.rows.insert(*seq, target.ordinal);
            rows.push(row(*seq, target.ordinal, held()));
        }
    }
    target.cursor = looked.0;
    store.record(name, Record { rows, cursor: Some((looked, target.ordinal)), ..Record::default() }).await.unwrap();
}

async fn compare(store: &Store, model: &Model) {
    assert_eq!(store.head().borrow().0, model.log.len() as i64);
    for (index, (number, message)) in model.log.iter().enumerate() {
        let seq = Seq(index as i64 + 1);
        assert_eq!(store.event(seq).await.unwrap().unwrap().id, id(*number));
        let bytes = message.map(|message| model.messages[message].1.clone());
        assert_eq!(store.capture(seq).await.unwrap(), bytes, "the bytes of event {seq:?}");
    }
    for analyzer in 0..2 {
        let open = model.open_message(analyzer).map(|message| model.messages[message].1.clone());
        assert_eq!(store.unfinished(&whose(analyzer)).await.unwrap(), open.unwrap_or_default());
    }
    let counts = store.counts().await.unwrap();
    for (number, target) in &model.targets {
        let backlog = store.backlog(&name_of(*number)).await.unwrap();
        assert_eq!((backlog.cursor.0, backlog.ordinal), (target.cursor, target.ordinal));
        let rows: BTreeMap<i64, u64> = backlog.rows.iter().map(|row| (row.seq.0, row.ordinal)).collect();
        assert_eq!(rows, target.rows);
        assert!(backlog.rows.iter().all(|row| row.state == held()));
        let ahead = target.mine.iter().filter(|seq| **seq > target.cursor).count();
        let shown = counts.destinations.iter().find(|shown| shown.id == name_of(*number)).unwrap();
        assert_eq!(shown.undone, (ahead + target.rows.len()) as u64);
        assert_eq!(shown.configured, target.filter.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_plain_vectors_hold(steps in steps()) {
        run(async {
            let place = Place::new();
            let mut store = place.open().await;
            let mut model = Model::default();
            for step in &steps {
                store = play(&place, store, &mut model, step).await;
                if matches!(step, Step::CutPower | Step::Restart) {
                    compare(&store, &model).await;
                }
            }
            compare(&store, &model).await;
        });
    }

    #[test]
    fn a_patch_gives_back_every_byte(
        base in prop::collection::vec(any::<u8>(), 0..3_000),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..400_usize, prop::collection::vec(any::<u8>(), 0..80)), 0..6),
    ) {
        use gateway_daemon::store::patch;
        let mut new = base.clone();
        for (at, removed, inserted) in edits {
            let at = at.index(new.len() + 1);
            let end = (at + removed).min(new.len());
            new.splice(at..end, inserted);
        }
        if let Some(made) = patch::make(&base, &new) {
            prop_assert!(made.len() * 2 <= new.len());
            prop_assert_eq!(patch::apply(&base, &made, new.len()), Some(new));
        }
    }

    #[test]
    fn no_bytes_make_a_patch_panic(base in prop::collection::vec(any::<u8>(), 0..300), patch in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut whole = vec![1];
        whole.extend(patch);
        if let Some(bytes) = gateway_daemon::store::patch::apply(&base, &whole, 1_000) {
            prop_assert!(bytes.len() <= 1_000);
        }
    }
}
