//! What a partition remembers of its producers: epoch, the last batches for duplicates, and where an open transaction began.
//!
//! In: the header of a batch; out: whether it is new, a repetition, or wrong. Rules as in Kafka's `ProducerStateManager`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::batch::Header;
use super::codec::{Decoder, Encoder, Malformed};

/// Kafka's clients have at most this many batches on the way to one partition.
const REMEMBERED_BATCHES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    sent: VecDeque<Sent>,
    /// First offset of the open transaction.
    pub(crate) open_since: Option<i64>,
    pub(crate) last_ms: i64,
}

impl ProducerState {
    /// -1 if nothing of the present epoch is stored.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.sent.back().map_or(-1, |sent| sent.last_sequence)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// Stored before, at this offset.
    Duplicate {
        base_offset: i64,
    },
    OldEpoch,
    OutOfOrder,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, ProducerState>,
}

impl Producers {
    pub(crate) fn get(&self, producer_id: i64) -> Option<&ProducerState> {
        self.by_id.get(&producer_id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (i64, &ProducerState)> {
        self.by_id.iter().map(|(id, state)| (*id, state))
    }

    /// Judges a batch that a client sends.
    pub(crate) fn judge(&self, batch: &Header) -> Verdict {
        if !batch.has_producer() {
            return Verdict::New;
        }
        let Some(known) = self.by_id.get(&batch.producer_id) else { return Verdict::New };
        if batch.producer_epoch < known.epoch {
            return Verdict::OldEpoch;
        }
        if batch.producer_epoch > known.epoch {
            return if batch.base_sequence == 0 { Verdict::New } else { Verdict::OutOfOrder };
        }
        let Some(last) = known.sent.back() else { return Verdict::New };
        let repeated = known
            .sent
            .iter()
            .find(|sent| sent.first_sequence == batch.base_sequence && sent.last_sequence == batch.last_sequence());
        if let Some(sent) = repeated {
            return Verdict::Duplicate { base_offset: sent.base_offset };
        }
        let next = if last.last_sequence == i32::MAX { 0 } else { last.last_sequence + 1 };
        if batch.base_sequence == next { Verdict::New } else { Verdict::OutOfOrder }
    }

    /// Takes in a stored data batch.
    pub(crate) fn record(&mut self, batch: &Header, now_ms: i64) {
        let state = self.by_id.entry(batch.producer_id).or_insert_with(|| ProducerState {
            epoch: batch.producer_epoch,
            sent: VecDeque::new(),
            open_since: None,
            last_ms: 0,
        });
        if state.epoch != batch.producer_epoch {
            state.epoch = batch.producer_epoch;
            state.sent.clear();
        }
        if state.sent.len() == REMEMBERED_BATCHES {
            state.sent.pop_front();
        }
        state.sent.push_back(Sent {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
        });
        state.last_ms = now_ms;
        if batch.is_transactional() && state.open_since.is_none() {
            state.open_since = Some(batch.base_offset);
        }
    }

    /// Takes in a marker; gives the first offset of the transaction that it ends, if the partition has one.
    pub(crate) fn end_transaction(&mut self, marker: &Header, now_ms: i64) -> Option<i64> {
        let state = self.by_id.entry(marker.producer_id).or_insert_with(|| ProducerState {
            epoch: marker.producer_epoch,
            sent: VecDeque::new(),
            open_since: None,
            last_ms: 0,
        });
        if marker.producer_epoch > state.epoch {
            state.epoch = marker.producer_epoch;
            state.sent.clear();
        }
        state.last_ms = now_ms;
        state.open_since.take()
    }

    /// Forgets producers that wrote nothing since `before_ms` and have nothing open.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, state| state.open_since.is_some() || state.last_ms >= before_ms);
    }

    /// First offset and producer of every open transaction.
    pub(crate) fn open_transactions(&self) -> BTreeMap<i64, i64> {
        self.by_id.iter().filter_map(|(id, state)| state.open_since.map(|first| (first, *id))).collect()
    }

    pub(crate) fn encode(&self, to: &mut Encoder) {
        to.len(self.by_id.len());
        for (id, state) in &self.by_id {
            to.i64(*id);
            to.i16(state.epoch);
            to.i64(state.open_since.unwrap_or(-1));
            to.i64(state.last_ms);
            to.len(state.sent.len());
            for sent in &state.sent {
                to.i32(sent.first_sequence);
                to.i32(sent.last_sequence);
                to.i64(sent.base_offset);
            }
        }
    }

    pub(crate) fn decode(from: &mut Decoder) -> Result<Self, Malformed> {
        let entries = from.list(|from| {
            let id = from.i64()?;
            let epoch = from.i16()?;
            let open_since = Some(from.i64()?).filter(|offset| *offset >= 0);
            let last_ms = from.i64()?;
            let sent = from.list(|from| {
                Ok(Sent { first_sequence: from.i32()?, last_sequence: from.i32()?, base_offset: from.i64()? })
            })?;
            Ok((id, ProducerState { epoch, sent: sent.into(), open_since, last_ms }))
        })?;
        Ok(Self { by_id: entries.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, sequence: i32, count: i32, offset: i64) -> Header {
        Header {
            base_offset: offset,
            size: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: sequence,
            record_count: count,
        }
    }

    #[test]
    fn a_repeated_batch_is_known_by_its_sequences() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 3, 10), 0);
        producers.record(&batch(0, 3, 1, 13), 0);
        assert_eq!(producers.judge(&batch(0, 0, 3, 0)), Verdict::Duplicate { base_offset: 10 });
        assert_eq!(producers.judge(&batch(0, 4, 1, 0)), Verdict::New);
        assert_eq!(producers.judge(&batch(0, 5, 1, 0)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&batch(1, 1, 1, 0)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&batch(1, 0, 1, 0)), Verdict::New);
    }

    #[test]
    fn a_marker_of_a_newer_epoch_fences_the_older_one() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 1, 0), 0);
        producers.end_transaction(&batch(1, -1, 1, 1), 0);
        assert_eq!(producers.judge(&batch(0, 1, 1, 0)), Verdict::OldEpoch);
    }

    #[test]
    fn sequences_go_on_at_zero_after_the_largest() {
        let mut producers = Producers::default();
        producers.record(&batch(0, i32::MAX, 1, 0), 0);
        assert_eq!(producers.judge(&batch(0, 0, 1, 0)), Verdict::New);
    }

    #[test]
    fn state_survives_encoding() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 3, 10), 0);
        let mut to = Encoder::default();
        producers.encode(&mut to);
        assert_eq!(Producers::decode(&mut Decoder::new(to.finish())), Ok(producers));
    }
}
