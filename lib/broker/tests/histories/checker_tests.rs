//! The checker is given a good history, and then one that is wrong in one way each.

use crate::checker::{Kind, check, report};
use crate::client::{Place, Value};
use crate::history::{Entry, Op, Outcome, Txn};

const T: Place = Place("t", 0);
const U: Place = Place("t", 1);
const FIRST: Txn = Txn { id: "x", producer: (7, 0), number: 1 };
const SECOND: Txn = Txn { id: "x", producer: (7, 1), number: 2 };

/// Operations one after the other, none beside another.
fn history(ops: Vec<(Outcome, Op)>) -> Vec<Entry> {
    let entry = |(at, (outcome, op)): (u64, (Outcome, Op))| Entry {
        process: 1,
        invoked: 2 * at,
        ended: 2 * at + 1,
        outcome,
        op,
    };
    (0..).zip(ops).map(entry).collect()
}

fn ok(op: Op) -> (Outcome, Op) {
    (Outcome::Ok, op)
}

fn send(place: Place, base: i64, values: &[Value]) -> (Outcome, Op) {
    ok(Op::Send { txn: None, place, values: values.to_vec(), base })
}

fn send_in(txn: Txn, place: Place, base: i64, values: &[Value]) -> (Outcome, Op) {
    ok(Op::Send { txn: Some(txn), place, values: values.to_vec(), base })
}

fn init(producer: (i64, i16)) -> (Outcome, Op) {
    ok(Op::Init { id: "x", producer })
}

fn end(txn: Txn, commit: bool) -> (Outcome, Op) {
    ok(Op::End { txn, commit })
}

fn work(txn: Txn, from: i64, to: i64) -> (Outcome, Op) {
    ok(Op::TxnOffsets { txn, group: "g", place: T, from, to })
}

fn poll(position: i64, found: &[(i64, Value)], next: i64) -> (Outcome, Op) {
    ok(Op::Poll { reader: 1, place: T, position, found: found.to_vec(), next })
}

fn commit(member: &str, offset: i64) -> (Outcome, Op) {
    ok(Op::Commit { group: "g", member: member.to_owned(), place: T, offset })
}

fn join(member: &str, generation: i32) -> (Outcome, Op) {
    ok(Op::Join { group: "g", member: member.to_owned(), generation })
}

fn committed(offset: i64) -> (Outcome, Op) {
    ok(Op::Committed { group: "g", place: T, offset })
}

fn log(place: Place, records: &[(i64, Value)], end: i64) -> (Outcome, Op) {
    ok(Op::Log { place, records: records.to_vec(), stable: end, end })
}

fn kinds(ops: Vec<(Outcome, Op)>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(&history(ops)).into_iter().map(|anomaly| anomaly.kind).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_good_history_has_no_anomaly() {
    let lost = |op: Op| (Outcome::Unknown, op);
    let ops = vec![
        send(T, 0, &[1, 2]),
        // The answer to the same batch, sent again; one whose answer was lost; one that was refused.
        send(T, 0, &[1, 2]),
        lost(Op::Send { txn: None, place: T, values: vec![3], base: -1 }),
        lost(Op::Send { txn: None, place: T, values: vec![4], base: -1 }),
        (Outcome::Refused(45), Op::Send { txn: None, place: T, values: vec![5], base: -1 }),
        poll(0, &[(0, 1), (1, 2)], 2),
        join("a", 1),
        commit("a", 2),
        committed(2),
        init((7, 0)),
        send_in(FIRST, U, 0, &[10]),
        send_in(FIRST, T, 3, &[11]),
        ok(Op::Restart { how: "killed" }),
        init((7, 1)),
        (Outcome::Refused(47), Op::End { txn: FIRST, commit: true }),
        committed(2),
        work(SECOND, 2, 3),
        send_in(SECOND, U, 2, &[20]),
        send_in(SECOND, T, 5, &[21]),
        poll(2, &[(2, 3)], 5),
        lost(Op::End { txn: SECOND, commit: true }),
        end(SECOND, true),
        poll(5, &[(5, 21)], 7),
        committed(3),
        log(T, &[(0, 1), (1, 2), (2, 3), (5, 21)], 7),
        log(U, &[(2, 20)], 4),
    ];
    let history = history(ops);
    let anomalies = check(&history);
    assert!(anomalies.is_empty(), "{}", report(&history, &anomalies));
}

#[test]
fn a_lost_write_is_found() {
    assert_eq!(kinds(vec![send(T, 0, &[1, 2]), log(T, &[(0, 1)], 1)]), [Kind::LostWrite]);
    // At another place than was said.
    assert_eq!(kinds(vec![send(T, 0, &[1]), log(T, &[(1, 1)], 2)]), [Kind::LostWrite]);
    // Never acknowledged, but somebody has read it.
    let unknown = (Outcome::Unknown, Op::Send { txn: None, place: T, values: vec![1], base: -1 });
    assert_eq!(kinds(vec![unknown, poll(0, &[(0, 1)], 1), log(T, &[], 0)]), [Kind::LostWrite]);
    let committed = vec![init((7, 0)), send_in(FIRST, T, 0, &[1]), end(FIRST, true), log(T, &[], 2)];
    assert_eq!(kinds(committed), [Kind::LostWrite]);
}

#[test]
fn a_duplicate_is_found() {
    assert_eq!(kinds(vec![send(T, 0, &[1]), log(T, &[(0, 1), (1, 1)], 2)]), [Kind::Duplicate]);
    let other_place = vec![send(T, 0, &[1]), log(T, &[(0, 1)], 1), log(U, &[(0, 1)], 1)];
    assert_eq!(kinds(other_place), [Kind::Duplicate]);
}

#[test]
fn an_aborted_read_is_found() {
    let begin = || vec![init((7, 0)), send_in(FIRST, T, 0, &[1])];
    let mut aborted = begin();
    aborted.extend([end(FIRST, false), poll(0, &[(0, 1)], 1), log(T, &[], 2)]);
    assert_eq!(kinds(aborted), [Kind::AbortedRead]);
    let mut too_early = begin();
    too_early.extend([poll(0, &[(0, 1)], 1), end(FIRST, true), log(T, &[(0, 1)], 2)]);
    assert_eq!(kinds(too_early), [Kind::AbortedRead]);
    let mut at_the_end = begin();
    at_the_end.extend([end(FIRST, false), log(T, &[(0, 1)], 2)]);
    assert_eq!(kinds(at_the_end), [Kind::AbortedRead]);
}

#[test]
fn a_poll_that_is_not_monotonic_is_found() {
    let read = |polls: Vec<(Outcome, Op)>| {
        let mut ops = vec![send(T, 0, &[1, 2])];
        ops.extend(polls);
        ops.push(log(T, &[(0, 1), (1, 2)], 2));
        kinds(ops)
    };
    assert_eq!(read(vec![poll(0, &[(0, 1)], 1), poll(0, &[(0, 1)], 1)]), [Kind::NonMonotonicPoll]);
    assert_eq!(read(vec![poll(0, &[(1, 2), (0, 1)], 2)]), [Kind::NonMonotonicPoll]);
    assert_eq!(read(vec![poll(0, &[(1, 2)], 2)]), [Kind::NonMonotonicPoll]);
    assert_eq!(read(vec![poll(1, &[(0, 1), (1, 2)], 2)]), [Kind::NonMonotonicPoll]);
    assert_eq!(read(vec![poll(0, &[], 0), poll(0, &[(0, 1), (1, 2)], 2)]), []);
}

#[test]
fn inconsistent_offsets_are_found() {
    let told = |ops: Vec<(Outcome, Op)>| {
        let mut all = vec![send(T, 0, &[1, 2])];
        all.extend(ops);
        all.push(log(T, &[(0, 1), (1, 2)], 2));
        kinds(all)
    };
    assert_eq!(told(vec![commit("a", 3), committed(3)]), [Kind::InconsistentOffsets]);
    assert_eq!(told(vec![commit("a", 1), commit("a", 2), committed(1)]), [Kind::InconsistentOffsets]);
    assert_eq!(told(vec![commit("a", 2), committed(-1)]), [Kind::InconsistentOffsets]);
    assert_eq!(told(vec![committed(1)]), [Kind::InconsistentOffsets]);
    // Of a transaction that is not over.
    assert_eq!(
        told(vec![init((7, 0)), work(FIRST, 0, 1), committed(1), end(FIRST, true)]),
        [Kind::InconsistentOffsets]
    );
    // Two transactions that both worked on the same input.
    let twice = vec![init((7, 0)), work(FIRST, 0, 2), end(FIRST, true), init((7, 1)), work(SECOND, 0, 2)];
    assert_eq!(told([twice, vec![end(SECOND, true), committed(2)]].concat()), [Kind::InconsistentOffsets]);
}

#[test]
fn a_torn_transaction_is_found() {
    let ops = |ends: Vec<(Outcome, Op)>| {
        let mut all = vec![init((7, 0)), send_in(FIRST, T, 0, &[1]), send_in(FIRST, U, 0, &[2])];
        all.extend(ends);
        all
    };
    let half = vec![end(FIRST, true), log(T, &[(0, 1)], 2), log(U, &[], 2)];
    assert_eq!(kinds(ops(half)), [Kind::TornTransaction]);
    // Nobody knows whether it was committed, but half is neither.
    let unknown = (Outcome::Unknown, Op::End { txn: FIRST, commit: true });
    assert_eq!(kinds(ops(vec![unknown.clone(), log(T, &[(0, 1)], 2), log(U, &[], 2)])), [Kind::TornTransaction]);
    let open = Op::Log { place: U, records: vec![], stable: 0, end: 1 };
    let end_of_one = vec![end(FIRST, false), log(T, &[], 2), ok(open)];
    assert_eq!(kinds(ops(end_of_one)), [Kind::TornTransaction]);
    // Its records are there, its offsets are not.
    let offsets = vec![work(FIRST, 0, 1), unknown, log(T, &[(0, 1)], 2), log(U, &[(0, 2)], 2), committed(-1)];
    assert_eq!(kinds(ops(offsets)), [Kind::TornTransaction]);
}

#[test]
fn a_write_from_a_fenced_producer_is_found() {
    let zombie =
        |op: (Outcome, Op), records: &[(i64, Value)]| kinds(vec![init((7, 0)), init((7, 1)), op, log(T, records, 2)]);
    assert_eq!(zombie(send_in(FIRST, T, 0, &[1]), &[]), [Kind::FencedWrite]);
    assert_eq!(zombie(work(FIRST, 0, 1), &[]), [Kind::FencedWrite]);
    assert_eq!(zombie(end(FIRST, false), &[]), [Kind::FencedWrite]);
    assert_eq!(zombie((Outcome::Refused(47), Op::End { txn: FIRST, commit: true }), &[]), []);
    let unknown = (Outcome::Unknown, Op::Send { txn: Some(FIRST), place: T, values: vec![1], base: -1 });
    assert!(zombie(unknown, &[(0, 1)]).contains(&Kind::FencedWrite));
}

#[test]
fn a_commit_of_a_member_whose_generation_is_over_is_found() {
    let ops = |late: (Outcome, Op)| {
        vec![
            send(T, 0, &[1, 2]),
            join("a", 1),
            commit("a", 1),
            join("b", 2),
            commit("b", 1),
            late,
            log(T, &[(0, 1), (1, 2)], 2),
        ]
    };
    assert_eq!(kinds(ops(commit("a", 1))), [Kind::FencedWrite]);
    let refused = Op::Commit { group: "g", member: "a".to_owned(), place: T, offset: 1 };
    assert_eq!(kinds(ops((Outcome::Refused(25), refused))), []);
}

#[test]
fn a_report_names_what_led_to_the_anomaly() {
    let ops = vec![send(T, 0, &[1]), ok(Op::Restart { how: "killed" }), poll(0, &[], 0), log(T, &[], 0)];
    let history = history(ops);
    let text = report(&history, &check(&history));
    assert!(text.contains("LostWrite: 1 was acknowledged at 0 of t/0"), "{text}");
    assert!(text.contains("send [1] to t/0 at 0") && text.contains("RESTART of the broker: killed"), "{text}");
}
