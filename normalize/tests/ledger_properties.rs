//! The ledger's promises over random true histories and random orders, subsets and repetitions of the facts that tell them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::collections::BTreeMap;

use hirewire_normalize::ledger::{ChangeType, Event, Ledger, Revision, State};
use hirewire_normalize::wire::Reader;
use world::{Fact, Rows, World, add};

/// A consumer that reads one application's events and checks what MODEL promises of each.
#[derive(Default)]
struct Consumer {
    events: BTreeMap<u32, Event>,
    superseded: Vec<u32>,
}

impl Consumer {
    fn effective(&self) -> Vec<&Event> {
        let mut all: Vec<&Event> = self.events.values().filter(|e| !self.superseded.contains(&e.sequence)).collect();
        all.sort_by_key(|e| (e.what.at, e.sequence));
        all
    }

    fn present(&self) -> Option<State> {
        self.effective().last().map(|e| e.what.to)
    }

    fn read(&mut self, new: Vec<Event>) {
        let mut live_before = self.present();
        for event in new {
            assert_eq!(event.sequence, self.events.len() as u32 + 1, "no gaps");
            let (revision, previous) = (event.revision, event.previous);
            for old in &event.supersedes {
                assert!(self.events.contains_key(old), "supersedes only what was told");
                if !self.superseded.contains(old) {
                    self.superseded.push(*old);
                }
            }
            if revision == Revision::Live {
                let last = self.effective().last().map(|e| (e.sequence, e.what.to));
                assert_eq!(previous, last.map(|l| l.0), "LIVE follows the last effective event");
                assert_eq!(event.what.from, last.map_or(State::NONE, |l| l.1), "LIVE's from is that event's to");
                assert_ne!(Some(event.what.to), live_before, "LIVE moves the present state");
                live_before = Some(event.what.to);
            }
            self.events.insert(event.sequence, event);
        }
        let effective = self.effective();
        let mut state = State::NONE;
        let mut before: Option<u32> = None;
        for event in effective {
            assert_eq!(event.what.from, state, "each from is the to before it");
            if event.revision == Revision::Correction && event.sequence + 1 > self.events.len() as u32 {
                assert_eq!(event.previous, before, "a CORRECTION follows its predecessor in time");
            }
            state = event.what.to;
            before = Some(event.sequence);
        }
    }
}

type Story = Vec<(ChangeType, State, State)>;

fn story(consumer: &Consumer) -> Story {
    consumer.effective().iter().map(|e| (e.what.change, e.what.from, e.what.to)).collect()
}

fn truth(world: &World) -> Story {
    world.truth.iter().map(|t| (t.change, t.from, t.to)).collect()
}

fn tell(ledger: &mut Ledger, consumer: &mut Consumer, facts: &[Fact]) {
    let mut changed = false;
    for fact in facts {
        changed |= add(&mut ledger.facts, fact);
    }
    let events = ledger.publish();
    assert!(changed || events.is_empty(), "a known fact tells nothing");
    consumer.read(events);
    assert!(ledger.publish().is_empty(), "publishing again tells nothing");
    let mut bytes = Vec::new();
    ledger.encode(&mut bytes);
    assert_eq!(
        Ledger::decode(&mut Reader::new(&bytes), &bytes::Bytes::copy_from_slice).unwrap(),
        *ledger,
        "the stored form is the whole of it"
    );
}

fn play(deliveries: &[Vec<Fact>]) -> Consumer {
    let (mut ledger, mut consumer) = (Ledger::default(), Consumer::default());
    for facts in deliveries {
        tell(&mut ledger, &mut consumer, facts);
    }
    consumer
}

fn kinds() -> [Rows; 3] {
    [Rows::Visits, Rows::StagesLatest, Rows::StagesFirst]
}

/// All webhooks, received promptly and in order; the last poll and the rows come after them.
fn prompt(world: &mut World) -> Vec<Vec<Fact>> {
    (0..world.truth.len()).map(|i| vec![world.webhook(i, world.truth[i].at + 40_000)]).collect()
}

fn closing(world: &mut World, kind: Rows) -> Vec<Vec<Fact>> {
    let last = world.truth.len() - 1;
    let end = world.end();
    let mut all: Vec<Vec<Fact>> = world.rows(last, kind, end).into_iter().map(|row| vec![row]).collect();
    all.extend(world.poll(last, end).map(|fact| vec![world.created(), fact]));
    all
}

#[test]
fn all_webhooks_in_order_make_the_true_history_live() {
    for seed in 0..800 {
        let mut world = World::new(seed, 12);
        let consumer = play(&prompt(&mut world));
        assert_eq!(story(&consumer), truth(&world), "seed {seed}");
        assert!(consumer.events.values().all(|e| e.revision == Revision::Live), "seed {seed}");
    }
}

#[test]
fn what_webhooks_told_is_told_once_whatever_polls_and_rows_repeat() {
    for seed in 0..800 {
        for kind in kinds() {
            let mut world = World::new(seed, 12);
            let mut all = Vec::new();
            for i in 0..world.truth.len() {
                let at = world.truth[i].at;
                let hook = world.webhook(i, at + 40_000);
                all.extend([vec![hook.clone()], vec![hook]]);
                all.extend(world.poll(i, at + 100_000).map(|fact| vec![fact]));
                all.push(world.rows(i, kind, at + 200_000));
            }
            all.extend(closing(&mut world, kind));
            let consumer = play(&all);
            assert_eq!(story(&consumer), truth(&world), "seed {seed} {kind:?}");
            assert_eq!(consumer.events.len(), world.truth.len(), "seed {seed} {kind:?}: one event per fact");
        }
    }
}

#[test]
fn permuted_webhooks_end_in_the_true_history() {
    for seed in 0..800 {
        for kind in kinds() {
            let mut world = World::new(seed, 9);
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut all: Vec<Vec<Fact>> = prompt(&mut world);
            rng.shuffle(&mut all);
            all.extend(closing(&mut world, kind));
            let consumer = play(&all);
            assert_eq!(story(&consumer), truth(&world), "seed {seed} {kind:?}");
        }
    }
}

#[test]
fn every_order_of_few_facts_ends_in_the_same_history() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3);
        let kind = kinds()[(seed % 3) as usize];
        let mut facts: Vec<Fact> = prompt(&mut world).concat();
        facts.extend(closing(&mut world, kind).concat().into_iter().filter(|f| !matches!(f, Fact::Created(_))));
        facts.truncate(6);
        let mut stories: Vec<(Vec<usize>, Story)> = Vec::new();
        permute(&mut (0..facts.len()).collect(), 0, &mut |order| {
            let consumer = play(&order.iter().map(|i| vec![facts[*i].clone()]).collect::<Vec<_>>());
            stories.push((order.to_vec(), story(&consumer)));
        });
        for (order, other) in &stories {
            assert_eq!(other, &stories[0].1, "seed {seed} order {order:?}");
        }
    }
}

fn permute(order: &mut Vec<usize>, from: usize, with: &mut impl FnMut(&[usize])) {
    if from == order.len() {
        return with(order);
    }
    for i in from..order.len() {
        order.swap(from, i);
        permute(order, from + 1, with);
        order.swap(from, i);
    }
}

#[test]
fn lost_stage_webhooks_are_found_by_rows_and_corrected() {
    for seed in 0..800 {
        let mut world = World::new(seed, 12);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut all = Vec::new();
        for (i, hook) in prompt(&mut world).into_iter().enumerate() {
            let stage =
                matches!(world.truth[i].change, ChangeType::Stage | ChangeType::JobTransfer | ChangeType::Created);
            if !(stage && rng.bool()) {
                all.push(hook);
            }
            if rng.u8(..4) == 0 {
                all.extend(world.poll(i, world.truth[i].at + 100_000).map(|fact| vec![fact]));
            }
        }
        if rng.bool() {
            rng.shuffle(&mut all);
        }
        let mut last = closing(&mut world, Rows::Visits);
        rng.shuffle(&mut last);
        all.extend(last);
        let consumer = play(&all);
        assert_eq!(story(&consumer), truth(&world), "seed {seed}");
    }
}

#[test]
fn a_backfill_gets_the_whole_history_in_order_without_corrections() {
    for seed in 0..400 {
        for kind in kinds() {
            let mut world = World::new(seed, 8);
            world.truth.retain(|t| !matches!(t.change, ChangeType::Deleted));
            let stages_only = world
                .truth
                .iter()
                .all(|t| matches!(t.change, ChangeType::Created | ChangeType::Stage | ChangeType::JobTransfer));
            let mut seen: Vec<_> = world.truth.iter().filter_map(|t| t.to.stage).collect();
            let visits = seen.len();
            seen.sort_unstable();
            seen.dedup();
            let consumer = play(&closing(&mut world, kind));
            assert!(consumer.events.values().all(|e| e.revision == Revision::Live), "seed {seed} {kind:?}");
            if stages_only && (kind == Rows::Visits || seen.len() == visits) {
                assert_eq!(story(&consumer), truth(&world), "seed {seed} {kind:?}");
            }
        }
    }
}

#[test]
fn batches_of_facts_end_as_single_facts_do() {
    for seed in 0..500 {
        let mut world = World::new(seed, 9);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut facts: Vec<Fact> = prompt(&mut world).concat();
        facts.extend(closing(&mut world, Rows::Visits).concat());
        rng.shuffle(&mut facts);
        let single = play(&facts.iter().map(|f| vec![f.clone()]).collect::<Vec<_>>());
        let batched = play(&facts.chunks(rng.usize(1..=5)).map(<[Fact]>::to_vec).collect::<Vec<_>>());
        assert_eq!(story(&single), story(&batched), "seed {seed}");
    }
}

/// Deliveries are late by up to a minute and come several times; polls see the record now and then. What the last poll cannot
/// tell any more was told by a delivery or seen by a poll.
#[test]
fn late_and_repeated_deliveries_between_polls_end_in_the_true_history() {
    for seed in 0..1500 {
        let kind = kinds()[(seed % 3) as usize];
        let mut world = World::new(seed, 10);
        world.timed_hires = true;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut arrivals: Vec<(i64, Vec<Fact>)> = Vec::new();
        for i in 0..world.truth.len() {
            let at = world.truth[i].at;
            let stage =
                matches!(world.truth[i].change, ChangeType::Stage | ChangeType::JobTransfer | ChangeType::Created);
            // A list does not always tell a withdrawal from a rejection.
            let told_once = world.truth[i].change == ChangeType::Withdrawal || (stage && kind != Rows::Visits);
            let lost = rng.u8(..4) == 0 && !told_once;
            let gone = lost && stage;
            for _ in 0..if lost { 0 } else { rng.usize(1..=3) } {
                let received = at + rng.i64(1..60_000_000);
                arrivals.push((received, vec![world.webhook(i, received)]));
            }
            // A poll before the next move.
            if rng.bool() || (lost && !gone) {
                let next = world.truth.get(i + 1).map_or(at + 900_000, |next| next.at);
                let read = at + (next - at) / 2;
                match world.poll(i, read) {
                    Some(fact) => arrivals.push((read, vec![fact])),
                    None => arrivals.push((read, vec![world.webhook(i, read)])),
                }
                arrivals.push((read, world.rows(i, kind, read)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let mut all: Vec<Vec<Fact>> = arrivals.into_iter().map(|(_, facts)| facts).collect();
        all.extend(closing(&mut world, kind));
        let consumer = play(&all);
        assert_eq!(story(&consumer), truth(&world), "seed {seed} {kind:?}");
    }
}

/// Of what sinks act on.
fn each_is_live_as_often_as_it_was(consumer: &Consumer, world: &World, seed: u64) {
    for change in
        [ChangeType::Hire, ChangeType::Unhire, ChangeType::Rejection, ChangeType::Unrejection, ChangeType::Deleted]
    {
        let truly = world.truth.iter().filter(|t| t.change == change).count();
        let live = consumer.events.values().filter(|e| e.revision == Revision::Live && e.what.change == change).count();
        assert_eq!(live, truly, "seed {seed} {change:?}");
    }
}

#[test]
fn a_stage_learnt_late_before_a_hire_does_not_hire_again() {
    for seed in 0..1000 {
        let mut world = World::new(seed, 12);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut all = Vec::new();
        let mut late = Vec::new();
        for (i, hook) in prompt(&mut world).into_iter().enumerate() {
            let stage = matches!(world.truth[i].change, ChangeType::Stage | ChangeType::JobTransfer);
            if stage && rng.u8(..3) == 0 { late.push(hook) } else { all.push(hook) }
        }
        all.extend(late);
        all.extend(closing(&mut world, Rows::Visits));
        each_is_live_as_often_as_it_was(&play(&all), &world, seed);
    }
}

/// Rows tell of stages at once and say nothing of the status; what tells of the status comes last.
#[test]
fn a_status_learnt_late_that_is_still_in_effect_is_told_live() {
    let moves_place = |change| matches!(change, ChangeType::Created | ChangeType::Stage | ChangeType::JobTransfer);
    for seed in 0..1000 {
        let mut world = World::new(seed, 12);
        let mut rng = fastrand::Rng::with_seed(seed);
        let hooks = prompt(&mut world);
        let (mut all, mut late) = (Vec::new(), Vec::new());
        for (i, hook) in hooks.into_iter().enumerate() {
            let told_at = world.truth[i].at + 40_000;
            if !moves_place(world.truth[i].change) && rng.bool() {
                late.push(hook);
            } else if late.is_empty() {
                all.push(hook);
            } else {
                all.extend(world.rows(i, Rows::Visits, told_at).into_iter().map(|row| vec![row]));
            }
        }
        all.extend(late);
        all.extend(closing(&mut world, Rows::Visits));
        let consumer = play(&all);
        let Some(present) = consumer.present().filter(|present| *present != State::NONE) else { continue };
        let mut live = consumer.events.values().filter(|e| e.revision == Revision::Live);
        let acted = live.rfind(|e| e.what.from.status != e.what.to.status).map(|e| e.what.to.status);
        assert_eq!(acted, Some(present.status), "seed {seed}: what sinks that act believe");
    }
}

/// In one transaction rows explain how it came to the stage that was told, and webhooks tell what came after.
#[test]
fn what_came_and_went_beside_a_correction_is_told_live() {
    for seed in 0..1000 {
        let mut world = World::new(seed, 12);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        for (i, hook) in prompt(&mut world).into_iter().enumerate() {
            let told_at = world.truth[i].at + 40_000;
            let stage = matches!(world.truth[i].change, ChangeType::Stage | ChangeType::JobTransfer);
            if !stage || rng.u8(..3) > 0 {
                batch.extend(hook);
            }
            if rng.u8(..3) == 0 {
                if rng.bool() {
                    batch.extend(world.rows(i, Rows::Visits, told_at));
                }
                all.push(std::mem::take(&mut batch));
            }
        }
        all.push(batch);
        all.extend(closing(&mut world, Rows::Visits));
        each_is_live_as_often_as_it_was(&play(&all), &world, seed);
    }
}

/// The times of rows are cut to a tick. An answer that our own clock alone dates, finer, may come within it and still show the stage and the job before.
#[test]
fn an_answer_from_before_a_move_within_its_tick_undoes_nothing() {
    for seed in 0..1000 {
        let mut world = World::new(seed, 12);
        let mut all = prompt(&mut world);
        for i in 1..world.truth.len() {
            if matches!(world.truth[i].change, ChangeType::Stage | ChangeType::JobTransfer) {
                all.push(vec![world.answer_before(i)]);
            }
        }
        all.extend(closing(&mut world, Rows::Visits));
        assert_eq!(story(&play(&all)), truth(&world), "seed {seed}");
    }
}
