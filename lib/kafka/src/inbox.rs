//! What waits for a worker, taken in the order of the records' times over all inputs.
//!
//! In: what the consumer's thread hands over, ordered within each topic only. Out: the same, one at a time, the earliest
//! first; of one topic always in the order of its offsets. Of equal times the earlier input of the list goes first.
//!
//! A broker answers in chunks, topic by topic, so after a restart the youngest record of one input can arrive before
//! the oldest of another. What the predecessor left unread in an input is therefore waited for before anything of an
//! input that stands behind it in the list (as Kafka Streams does with `max.task.idle.ms`). The wait ends when the consumer
//! says that it is past it: what the broker counts as unread may be the mark of a transaction, which never comes.
//!
//! The anchor and the inputs behind it are made from those in front of it. A producer that dies leaves a transaction open,
//! which hides what others write behind it, for up to the transaction timeout; a record that was made from something
//! younger would overtake it. So before such a record goes, the inputs in front are asked what is hidden in them, and that is waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use crate::Inbound;
use crate::partitioned::ToWorker;

/// Records held here before more is taken from the consumer's thread.
const HELD_RECORDS: usize = 512;
/// The same while unread records of another input are waited for, which may stand behind these.
const HELD_RECORDS_WAITING: usize = 4096;
/// Longest wait for an input's unread records since the last of them came: its partition may be out of reach.
const PATIENCE: Duration = Duration::from_secs(30);
/// How old the answer may be to what is hidden. A dead producer hides for seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// No question for so long after one that was not answered, for asking held the worker up.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What [`Inbox::take`] found.
#[derive(Debug)]
pub(crate) enum Taken {
    Record(Inbound),
    /// Nothing until the given time.
    Nothing,
    Drain,
    Abandon,
}

pub(crate) struct Inbox {
    channel: Receiver<ToWorker>,
    inputs: Vec<Input>,
    held: usize,
    /// Whether it waits for unread records.
    waits: Arc<AtomicBool>,
    /// The index of the anchor.
    anchor: usize,
    look: Look,
    /// When it is asked next.
    look_at: Instant,
}

/// Tells in which inputs in front of the anchor an open transaction hides records, and the offset behind the last of them.
/// None: nobody knows at present.
pub(crate) type Look = Box<dyn FnMut() -> Option<Vec<(Arc<str>, i64)>> + Send>;

struct Input {
    topic: Arc<str>,
    waiting: VecDeque<Inbound>,
    /// The offset before which the predecessor left records unread; 0 when all that came of it is known.
    unread_until: i64,
    /// The offset before which an open transaction hides records; 0 when all that was hidden has come.
    hidden_until: i64,
    /// Until when unread records are waited for. None: nothing had to wait for them yet.
    patience_ends: Option<Instant>,
}

impl Inbox {
    pub(crate) fn new(
        channel: Receiver<ToWorker>,
        topics: &[Arc<str>],
        waits: Arc<AtomicBool>,
        anchor: usize,
        look: Look,
    ) -> Self {
        let input = |topic: &Arc<str>| Input {
            topic: topic.clone(),
            waiting: VecDeque::new(),
            unread_until: 0,
            hidden_until: 0,
            patience_ends: None,
        };
        Self {
            channel,
            inputs: topics.iter().map(input).collect(),
            held: 0,
            waits,
            anchor,
            look,
            look_at: Instant::now(),
        }
    }

    /// The predecessor left records of `topic` unread, all before `offset`.
    pub(crate) fn expect(&mut self, topic: &str, offset: i64) {
        if let Some(input) = self.inputs.iter_mut().find(|input| *input.topic == *topic) {
            input.unread_until = offset;
        }
    }

    /// The earliest record; waits for one until `until`, or as long as it takes.
    pub(crate) fn take(&mut self, until: Option<Instant>) -> Taken {
        loop {
            while self.held < HELD_RECORDS {
                match self.channel.try_recv() {
                    Ok(ToWorker::Record(record)) => self.hold(record),
                    Ok(ToWorker::Passed(topic, offset)) => self.passed(&topic, offset),
                    Ok(ToWorker::Drain) | Err(TryRecvError::Disconnected) => return Taken::Drain,
                    Ok(ToWorker::Abandon) => return Taken::Abandon,
                    Err(TryRecvError::Empty) => break,
                }
            }
            let waits_for_unread = match self.earliest() {
                None => None,
                Some(earliest) => {
                    self.look_for_hidden(earliest);
                    match self.unread_before(earliest) {
                        Some(ends) if self.held < HELD_RECORDS_WAITING => Some(ends),
                        _ => return self.release(earliest).map_or(Taken::Nothing, Taken::Record),
                    }
                }
            };
            let next = [until, waits_for_unread].into_iter().flatten().min();
            let received = match next {
                None => self.channel.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(next) => self.channel.recv_timeout(next.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(ToWorker::Record(record)) => self.hold(record),
                Ok(ToWorker::Passed(topic, offset)) => self.passed(&topic, offset),
                Ok(ToWorker::Drain) | Err(RecvTimeoutError::Disconnected) => return Taken::Drain,
                Ok(ToWorker::Abandon) => return Taken::Abandon,
                Err(RecvTimeoutError::Timeout) if until.is_some_and(|until| until <= Instant::now()) => {
                    return Taken::Nothing;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn passed(&mut self, topic: &Arc<str>, offset: i64) {
        let Some(input) = self.inputs.iter_mut().find(|input| Arc::ptr_eq(&input.topic, topic)) else { return };
        for until in [&mut input.unread_until, &mut input.hidden_until] {
            if offset >= *until {
                *until = 0;
            }
        }
        if input.unread_until == 0 && input.hidden_until == 0 {
            input.patience_ends = None;
        }
    }

    /// Before a record of input `index` goes.
    fn look_for_hidden(&mut self, index: usize) {
        if index < self.anchor || Instant::now() < self.look_at {
            return;
        }
        let hidden = (self.look)();
        self.look_at = Instant::now() + if hidden.is_some() { LOOK_EVERY } else { LOOK_AGAIN_AFTER };
        for (topic, end) in hidden.unwrap_or_default() {
            let input = self.inputs.iter_mut().find(|input| Arc::ptr_eq(&input.topic, &topic));
            // What was waited for in vain is not waited for again, until something comes.
            if let Some(input) = input.filter(|input| input.patience_ends.is_none_or(|ends| ends > Instant::now())) {
                input.hidden_until = input.hidden_until.max(end);
            }
        }
    }

    fn hold(&mut self, record: Inbound) {
        self.passed(&record.topic, record.offset + 1);
        let Some(input) = self.inputs.iter_mut().find(|input| Arc::ptr_eq(&input.topic, &record.topic)) else { return };
        input.patience_ends = None;
        input.waiting.push_back(record);
        self.held += 1;
    }

    fn release(&mut self, index: usize) -> Option<Inbound> {
        let record = self.inputs.get_mut(index)?.waiting.pop_front()?;
        self.held -= 1;
        Some(record)
    }

    /// The input with the earliest head.
    fn earliest(&self) -> Option<usize> {
        let heads = self.inputs.iter().enumerate().filter_map(|(index, input)| Some((index, input.waiting.front()?)));
        Some(heads.min_by_key(|(index, head)| (head.timestamp_ms, *index))?.0)
    }

    /// Until when an input that stands before `index` is waited for.
    fn unread_before(&mut self, index: usize) -> Option<Instant> {
        let now = Instant::now();
        let mut latest = None;
        for input in self.inputs.iter_mut().take(index) {
            let awaited = input.unread_until > 0 || (index >= self.anchor && input.hidden_until > 0);
            if !awaited || !input.waiting.is_empty() {
                continue;
            }
            let ends = *input.patience_ends.get_or_insert(now + PATIENCE);
            if ends <= now {
                tracing::warn!(topic = %input.topic, "unread records did not come: later ones of other inputs go first");
                (input.unread_until, input.hidden_until) = (0, 0);
                continue;
            }
            latest = latest.max(Some(ends));
        }
        self.waits.store(latest.is_some(), Ordering::Release);
        latest
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    struct Scene {
        topics: [Arc<str>; 2],
        consumer: SyncSender<ToWorker>,
        inbox: Inbox,
        /// Where the first topic ends behind what is hidden.
        hidden: Arc<Mutex<Option<i64>>>,
    }

    impl Scene {
        fn new() -> Self {
            let topics: [Arc<str>; 2] = [Arc::from("first"), Arc::from("second")];
            let (consumer, channel) = sync_channel(HELD_RECORDS_WAITING * 2);
            let hidden = Arc::<Mutex<Option<i64>>>::default();
            let (told, first) = (Arc::clone(&hidden), topics[0].clone());
            let look =
                Box::new(move || Some(told.lock().unwrap().map(|end| (first.clone(), end)).into_iter().collect()));
            Self { inbox: Inbox::new(channel, &topics, Arc::default(), 1, look), topics, consumer, hidden }
        }

        fn hand_over(&self, input: usize, offset: i64, timestamp_ms: i64) {
            let record = Inbound {
                topic: self.topics[input].clone(),
                partition: 0,
                offset,
                timestamp_ms,
                key: None,
                value: None,
                headers: Vec::new(),
            };
            self.consumer.send(ToWorker::Record(record)).unwrap();
        }

        /// All that can be taken now, as `<topic> <offset>`.
        fn taken(&mut self) -> Vec<String> {
            let mut taken = Vec::new();
            while let Taken::Record(record) = self.inbox.take(Some(Instant::now())) {
                taken.push(format!("{} {}", record.topic, record.offset));
            }
            taken
        }
    }

    #[test]
    fn the_earliest_goes_first_and_a_topic_keeps_its_order() {
        let mut scene = Scene::new();
        for (input, offset, time) in [(1, 0, 20), (1, 1, 5), (0, 7, 10), (0, 8, 20), (0, 9, 30)] {
            scene.hand_over(input, offset, time);
        }
        assert_eq!(scene.taken(), ["first 7", "first 8", "second 0", "second 1", "first 9"]);
    }

    #[test]
    fn what_was_left_unread_of_an_earlier_input_is_waited_for() {
        let mut scene = Scene::new();
        scene.inbox.expect("first", 3);
        scene.hand_over(1, 0, 20);
        assert!(scene.taken().is_empty());
        scene.hand_over(0, 1, 10);
        assert_eq!(scene.taken(), ["first 1"]);
        scene.hand_over(0, 2, 11);
        assert_eq!(scene.taken(), ["first 2", "second 0"]);
    }

    #[test]
    fn an_input_waits_for_none_that_stands_behind_it() {
        let mut scene = Scene::new();
        scene.inbox.expect("second", 3);
        scene.hand_over(0, 1, 10);
        assert_eq!(scene.taken(), ["first 1"]);
    }

    #[test]
    fn a_mark_that_is_never_handed_over_is_not_waited_for() {
        let mut scene = Scene::new();
        scene.inbox.expect("first", 3);
        scene.hand_over(1, 0, 20);
        let pass = |scene: &Scene, offset| {
            scene.consumer.send(ToWorker::Passed(scene.topics[0].clone(), offset)).unwrap();
        };
        pass(&scene, 2);
        assert!(scene.taken().is_empty());
        assert!(scene.inbox.waits.load(Ordering::Acquire), "it wants to be told more");
        pass(&scene, 3);
        assert_eq!(scene.taken(), ["second 0"]);
        assert!(!scene.inbox.waits.load(Ordering::Acquire));
    }

    #[test]
    fn what_is_hidden_of_an_earlier_input_goes_before_a_younger_record_of_the_anchor() {
        let mut scene = Scene::new();
        *scene.hidden.lock().unwrap() = Some(5);
        scene.hand_over(1, 0, 20);
        assert!(scene.taken().is_empty());
        assert!(scene.inbox.waits.load(Ordering::Acquire), "it wants to be told more");
        *scene.hidden.lock().unwrap() = None;
        scene.hand_over(0, 3, 10);
        assert_eq!(scene.taken(), ["first 3"], "the end of what was hidden is 5");
        scene.hand_over(0, 4, 30);
        assert_eq!(scene.taken(), ["second 0", "first 4"]);
        scene.inbox.look_at = Instant::now();
        scene.hand_over(1, 1, 40);
        assert_eq!(scene.taken(), ["second 1"]);
    }

    #[test]
    fn what_is_hidden_of_the_anchor_holds_nothing() {
        let mut scene = Scene::new();
        *scene.hidden.lock().unwrap() = Some(5);
        scene.hand_over(0, 0, 20);
        assert_eq!(scene.taken(), ["first 0"], "the inputs in front of the anchor do not wait for each other");
    }

    #[test]
    fn what_was_waited_for_in_vain_is_not_waited_for_again() {
        let mut scene = Scene::new();
        *scene.hidden.lock().unwrap() = Some(5);
        scene.hand_over(1, 0, 20);
        assert!(scene.taken().is_empty());
        scene.inbox.inputs[0].patience_ends = Some(Instant::now());
        assert_eq!(scene.taken(), ["second 0"]);
        scene.inbox.look_at = Instant::now();
        scene.hand_over(1, 1, 21);
        assert_eq!(scene.taken(), ["second 1"]);
        // Until something comes.
        scene.hand_over(0, 3, 22);
        assert_eq!(scene.taken(), ["first 3"]);
        scene.inbox.look_at = Instant::now();
        scene.hand_over(1, 2, 23);
        assert!(scene.taken().is_empty());
    }

    #[test]
    fn a_broker_that_does_not_answer_holds_nothing_and_is_not_asked_again_at_once() {
        let mut scene = Scene::new();
        scene.inbox.look = Box::new(|| None);
        scene.hand_over(1, 0, 20);
        assert_eq!(scene.taken(), ["second 0"]);
        assert!(scene.inbox.look_at > Instant::now() + LOOK_EVERY);
    }

    /// Else the consumer's thread could not hand over what is waited for.
    #[test]
    fn a_wait_ends_when_too_much_is_held() {
        let mut scene = Scene::new();
        scene.inbox.expect("first", 3);
        for offset in 0..=HELD_RECORDS_WAITING {
            scene.hand_over(1, i64::try_from(offset).unwrap(), 20);
        }
        assert!(matches!(scene.inbox.take(Some(Instant::now() + Duration::from_secs(1))), Taken::Record(_)));
    }

    #[test]
    fn a_drain_comes_before_what_is_held() {
        let mut scene = Scene::new();
        scene.hand_over(0, 0, 1);
        scene.hand_over(0, 1, 2);
        assert!(matches!(scene.inbox.take(None), Taken::Record(_)));
        scene.consumer.send(ToWorker::Drain).unwrap();
        assert!(matches!(scene.inbox.take(None), Taken::Drain));
    }
}
