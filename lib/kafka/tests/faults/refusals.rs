//! T4 and K3: error codes of the broker at each request of a transaction, and what becomes of the work.

use std::sync::Arc;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::ApiKey;

use crate::Place;
use crate::proxy::Fault;
use crate::scene::Event;

/// What is seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// librdkafka tries again by itself.
    Nothing,
    /// The same work is done again, with this producer or a new one.
    WorkAgain,
    /// The member ends, and begins anew.
    Restart(&'static str),
    /// The member ends, and a person must act.
    End(&'static str),
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_met_as_it_must_be() {
    use Seen::{End, Nothing, Restart, WorkAgain};
    let place = Arc::new(Place::start().await);
    let mut running = tokio::task::JoinSet::new();
    for (api, code, times, wanted) in [
        (ApiKey::InitProducerId, Code::CoordinatorLoadInProgress, 2, Nothing),
        (ApiKey::InitProducerId, Code::ConcurrentTransactions, 2, Nothing),
        (ApiKey::InitProducerId, Code::NotCoordinator, 1, Nothing),
        (ApiKey::InitProducerId, Code::TransactionalIdAuthorizationFailed, 1, Restart("not-authorized")),
        (ApiKey::AddPartitionsToTxn, Code::ConcurrentTransactions, 3, Nothing),
        (ApiKey::AddPartitionsToTxn, Code::CoordinatorLoadInProgress, 2, Nothing),
        (ApiKey::AddPartitionsToTxn, Code::NotCoordinator, 1, Nothing),
        (ApiKey::AddPartitionsToTxn, Code::InvalidProducerIdMapping, 1, WorkAgain),
        (ApiKey::AddPartitionsToTxn, Code::InvalidTxnState, 1, WorkAgain),
        (ApiKey::AddPartitionsToTxn, Code::TopicAuthorizationFailed, 1, Restart("not-authorized")),
        (ApiKey::AddPartitionsToTxn, Code::ProducerFenced, 1, Restart("fenced")),
        (ApiKey::Produce, Code::NotEnoughReplicas, 2, Nothing),
        (ApiKey::Produce, Code::NotLeaderOrFollower, 1, Nothing),
        (ApiKey::Produce, Code::OutOfOrderSequenceNumber, 1, WorkAgain),
        (ApiKey::Produce, Code::UnknownProducerId, 1, WorkAgain),
        (ApiKey::Produce, Code::InvalidProducerEpoch, 1, Restart("fenced")),
        (ApiKey::Produce, Code::TopicAuthorizationFailed, 1, Restart("not-authorized")),
        (ApiKey::Produce, Code::MessageTooLarge, 1, End("record-refused")),
        (ApiKey::AddOffsetsToTxn, Code::ConcurrentTransactions, 2, Nothing),
        (ApiKey::AddOffsetsToTxn, Code::CoordinatorNotAvailable, 2, Nothing),
        (ApiKey::AddOffsetsToTxn, Code::GroupAuthorizationFailed, 1, Restart("not-authorized")),
        (ApiKey::TxnOffsetCommit, Code::CoordinatorLoadInProgress, 2, Nothing),
        (ApiKey::TxnOffsetCommit, Code::IllegalGeneration, 1, WorkAgain),
        (ApiKey::TxnOffsetCommit, Code::UnknownMemberId, 1, WorkAgain),
        (ApiKey::TxnOffsetCommit, Code::InvalidTxnState, 1, WorkAgain),
        (ApiKey::EndTxn, Code::CoordinatorNotAvailable, 2, Nothing),
        (ApiKey::EndTxn, Code::NotCoordinator, 1, Nothing),
        (ApiKey::EndTxn, Code::ConcurrentTransactions, 2, Nothing),
        (ApiKey::EndTxn, Code::InvalidTxnState, 1, WorkAgain),
        (ApiKey::EndTxn, Code::InvalidProducerIdMapping, 1, WorkAgain),
        (ApiKey::EndTxn, Code::InvalidProducerEpoch, 1, Restart("fenced")),
        (ApiKey::EndTxn, Code::TransactionalIdAuthorizationFailed, 1, Restart("not-authorized")),
    ] {
        let place = Arc::clone(&place);
        running.spawn(async move { refuse(&place, api, code, times, wanted).await });
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What was not as wanted.
async fn refuse(place: &Place, api: ApiKey, code: Code, times: usize, wanted: Seen) -> Option<String> {
    let scene = place.scene().await;
    scene.feed(0..30).await;
    let role = scene.role("refused");
    let skip = usize::from(api != ApiKey::InitProducerId);
    let refused = place.proxy.faults(&role.client, api, skip, times, Fault::Refuse(code.code()));
    let member = scene.member(role);
    let seen = if let Seen::End(_) = wanted {
        let stops = member.ended().await;
        // The next start takes it from where it stood.
        scene.all_once(vec![scene.member(scene.role("next"))], 30).await;
        format!("{stops:?}")
    } else {
        scene.until_last("29").await;
        let stops = member.stops.lock().unwrap().clone();
        // A step that is not told would add the work to what it did before.
        let again = member.processed().len() > 30 && member.happened(&Event::Aborted);
        scene.all_once(vec![member], 30).await;
        if stops.is_empty() && again { "again".to_owned() } else { format!("{stops:?}") }
    };
    let right = match wanted {
        Seen::Nothing => "[]".to_owned(),
        Seen::WorkAgain => "again".to_owned(),
        Seen::Restart(code) => format!("[({code:?}, true)]"),
        Seen::End(code) => format!("[({code:?}, false)]"),
    };
    let met = refused.times_met();
    (seen != right || met != times).then(|| format!("{api:?} {code:?}: wanted {right}, was {seen}, met {met} times"))
}

/// A step that finds too late that it must do its work in another way gets the same inputs, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_asks_for_its_inputs_again_gets_them() {
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..10).await;
    let mut role = scene.role("again");
    role.asks_again = true;
    let member = scene.member(role);
    scene.until_last("9").await;
    assert!(member.happened(&Event::Aborted));
    assert!(member.stops.lock().unwrap().is_empty(), "{:?}", member.stops);
    scene.all_once(vec![member], 10).await;
}
