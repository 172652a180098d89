//! How a group comes to its next generation, and what the passing of time ends: sessions, joins, silence after a join.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::member::Member;
use super::membership::{Membership, Phase};
use super::messages::Joined;

impl Membership {
    pub(super) fn prepare_rebalance(&mut self, now: Instant) {
        if self.phase == Phase::CompletingRebalance {
            self.answer_syncs(ResponseError::RebalanceInProgress);
        }
        if self.phase != Phase::PreparingRebalance {
            self.gathering = self.phase == Phase::Empty && !self.initial_delay.is_zero();
            let delay = if self.gathering { self.initial_delay } else { self.longest_rebalance() };
            self.phase = Phase::PreparingRebalance;
            self.rebalance_deadline = Some(now + delay);
        }
        self.complete_if_all_joined(now);
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn answer_syncs(&mut self, error: ResponseError) {
        for member in self.members.values_mut() {
            if let Some(waiting) = member.sync.take() {
                waiting.send(Err(error)).ok();
            }
        }
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Instant) {
        let all = self.members.values().all(|member| member.join.is_some());
        if self.phase == Phase::PreparingRebalance && all && self.pending.is_empty() && !self.gathering {
            self.complete_join(now);
        }
    }

    /// The joining ends: who has not joined is out (a static member stays until its session ends), a new generation begins.
    fn complete_join(&mut self, now: Instant) {
        let missing = |member: &Member| member.join.is_none() && member.instance_id.is_none();
        self.members.retain(|_, member| !missing(member));
        self.generation += 1;
        self.rebalance_deadline = None;
        self.gathering = false;
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        let leader_joined = self.members.get(&self.leader).is_some_and(|leader| leader.join.is_some());
        if !leader_joined {
            let joined = self.members.iter().find(|(_, member)| member.join.is_some());
            let any = joined.or_else(|| self.members.iter().next()).map(|(id, _)| id.clone());
            self.leader = any.unwrap_or_default();
        }
        self.protocol = self.choose_protocol();
        self.phase = Phase::CompletingRebalance;
        self.rebalance_deadline = Some(now + self.longest_rebalance());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(waiting) = member.join.take()
            {
                member.deadline = now + member.session_timeout;
                waiting.send(Ok(joined)).ok();
            }
        }
    }

    /// Each member votes for the first of its protocols that all know.
    fn choose_protocol(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let known = |name: &str| self.members.values().all(|other| other.knows(name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.iter().max_by_key(|(_, count)| **count).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    pub(super) fn joined(&self, id: &str) -> Joined {
        let members = if self.leader == id {
            let entry = |(id, member): (&String, &Member)| {
                (id.clone(), member.instance_id.clone(), member.metadata(&self.protocol))
            };
            self.members.iter().map(entry).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members,
            skip_assignment: false,
        }
    }

    fn become_empty(&mut self) {
        self.phase = Phase::Empty;
        self.protocol.clear();
        self.leader.clear();
        self.instances.clear();
    }

    /// When [`Self::pass_time`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter(|member| member.can_expire()).map(|member| member.deadline);
        sessions.chain(self.pending.values().copied()).chain(self.rebalance_deadline).min()
    }

    /// Ends sessions and rebalances that are due.
    pub(crate) fn pass_time(&mut self, now: Instant) {
        let before = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now);
        if self.pending.len() != before {
            self.complete_if_all_joined(now);
        }
        let expired = |member: &Member| member.can_expire() && member.deadline <= now;
        let dead: Vec<String> =
            self.members.iter().filter(|(_, member)| expired(member)).map(|(id, _)| id.clone()).collect();
        for id in dead {
            self.remove(&id, now);
        }
        if self.rebalance_deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        match self.phase {
            Phase::PreparingRebalance => {
                self.pending.clear();
                self.complete_join(now);
            }
            Phase::CompletingRebalance => {
                // Who joined and did not sync holds up the others: it is out.
                self.rebalance_deadline = None;
                let silent: Vec<String> =
                    self.members.iter().filter(|(_, member)| member.sync.is_none()).map(|(id, _)| id.clone()).collect();
                for id in silent {
                    self.remove(&id, now);
                }
            }
            Phase::Empty | Phase::Stable => self.rebalance_deadline = None,
        }
    }
}
