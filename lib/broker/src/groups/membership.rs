//! The classic group protocol as a state machine: who is in the group, which generation it is in, who waits for an answer.
//!
//! In: join, sync, heartbeat, leave and the passing of time; out: answers through the senders that joins and syncs bring.
//! How a generation is made is in `rebalance.rs`. Nothing here waits or does I/O. The rules are those of Kafka's `GroupCoordinator` (KIP-345 static members included).
//! Membership is not kept over a restart of the broker: members then join again.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::member::Member;
use super::messages::{Join, JoinAnswer, Sync, SyncAnswer, Synced};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    /// Waits for the members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    Stable,
}

impl Phase {
    /// Kafka's name of the state.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::PreparingRebalance => "PreparingRebalance",
            Phase::CompletingRebalance => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

pub(crate) struct Membership {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) members: BTreeMap<String, Member>,
    /// Instance id to member id.
    pub(super) instances: HashMap<String, String>,
    /// Ids given out to members that have not joined with them yet.
    pub(super) pending: HashMap<String, Instant>,
    /// When a rebalance goes on without those that are missing.
    pub(super) rebalance_deadline: Option<Instant>,
    pub(super) initial_delay: Duration,
    /// The first rebalance waits the whole delay, for members that are just starting.
    pub(super) gathering: bool,
}

impl Membership {
    pub(crate) fn new(initial_delay: Duration, generation: i32, protocol_type: String) -> Self {
        Self {
            phase: Phase::Empty,
            generation,
            protocol_type,
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            instances: HashMap::new(),
            pending: HashMap::new(),
            rebalance_deadline: None,
            initial_delay,
            gathering: false,
        }
    }

    pub(crate) fn join(&mut self, join: Join, answer: oneshot::Sender<JoinAnswer>, now: Instant) {
        let refuse = |answer: oneshot::Sender<JoinAnswer>, error, id: &str| {
            answer.send(Err((error, id.to_owned()))).ok();
        };
        if join.protocols.is_empty() || join.protocol_type.is_empty() || !self.is_compatible(&join) {
            return refuse(answer, ResponseError::InconsistentGroupProtocol, &join.member_id);
        }
        if !join.member_id.is_empty() {
            return match self.check_member(&join.member_id, join.instance_id.as_deref()) {
                Ok(()) => self.rejoin(join, answer, now),
                Err(ResponseError::UnknownMemberId) if self.pending.remove(&join.member_id).is_some() => {
                    let id = join.member_id.clone();
                    self.add(id, join, answer, now);
                }
                Err(error) => refuse(answer, error, &join.member_id),
            };
        }
        if let Some(instance) = &join.instance_id {
            let id = format!("{instance}-{}", Uuid::new_v4());
            return match self.instances.get(instance).cloned() {
                Some(old) => self.replace_static(&old, id, join, answer, now),
                None => self.add(id, join, answer, now),
            };
        }
        let id = format!("{}-{}", join.client_id, Uuid::new_v4());
        if join.id_required {
            self.pending.insert(id.clone(), now + join.session_timeout);
            return refuse(answer, ResponseError::MemberIdRequired, &id);
        }
        self.add(id, join, answer, now);
    }

    fn is_compatible(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type == join.protocol_type
            && join.protocols.iter().any(|(name, _)| self.members.values().all(|member| member.knows(name)))
    }

    /// That a request comes from the member it names.
    pub(crate) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            return match self.instances.get(instance) {
                Some(current) if current == id => Ok(()),
                Some(_) => Err(ResponseError::FencedInstanceId),
                None => Err(ResponseError::UnknownMemberId),
            };
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    fn add(&mut self, id: String, join: Join, answer: oneshot::Sender<JoinAnswer>, now: Instant) {
        self.protocol_type.clone_from(&join.protocol_type);
        if let Some(instance) = &join.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.leader.is_empty() {
            self.leader.clone_from(&id);
        }
        let deadline = now + join.session_timeout;
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            deadline,
            join: Some(answer),
            sync: None,
        };
        self.members.insert(id, member);
        self.prepare_rebalance(now);
    }

    fn rejoin(&mut self, join: Join, answer: oneshot::Sender<JoinAnswer>, now: Instant) {
        let id = join.member_id;
        let is_leader = self.leader == id;
        let Some(member) = self.members.get_mut(&id) else { return };
        let same = member.protocols == join.protocols;
        member.deadline = now + join.session_timeout;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        let keeps_generation = match self.phase {
            Phase::CompletingRebalance => same,
            Phase::Stable => same && !is_leader,
            Phase::PreparingRebalance | Phase::Empty => false,
        };
        if keeps_generation {
            answer.send(Ok(self.joined(&id))).ok();
            return;
        }
        member.join = Some(answer);
        self.prepare_rebalance(now);
    }

    /// A static member is back under a new member id; the old one is fenced.
    fn replace_static(&mut self, old: &str, id: String, join: Join, answer: oneshot::Sender<JoinAnswer>, now: Instant) {
        let Some(mut member) = self.members.remove(old) else { return };
        if let Some(waiting) = member.join.take() {
            waiting.send(Err((ResponseError::FencedInstanceId, old.to_owned()))).ok();
        }
        if let Some(waiting) = member.sync.take() {
            waiting.send(Err(ResponseError::FencedInstanceId)).ok();
        }
        let was_leader = self.leader == old;
        let same = member.protocols == join.protocols;
        member.protocols = join.protocols;
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.deadline = now + join.session_timeout;
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        if was_leader {
            self.leader.clone_from(&id);
        }
        let keeps_generation = same && self.phase == Phase::Stable;
        if !keeps_generation {
            member.join = Some(answer);
            self.members.insert(id, member);
            return self.prepare_rebalance(now);
        }
        self.members.insert(id.clone(), member);
        let mut joined = self.joined(&id);
        if was_leader {
            if join.may_skip {
                joined.skip_assignment = true;
            } else {
                // A client that cannot skip must not take itself for the leader, or it would assign anew.
                old.clone_into(&mut joined.leader);
                joined.members.clear();
            }
        }
        answer.send(Ok(joined)).ok();
    }

    pub(crate) fn sync(&mut self, sync: Sync, answer: oneshot::Sender<SyncAnswer>, now: Instant) {
        let checked = self.check_member(&sync.member_id, sync.instance_id.as_deref()).and_then(|()| {
            let other = |theirs: &Option<String>, ours: &str| theirs.as_ref().is_some_and(|theirs| theirs != ours);
            if sync.generation != self.generation {
                Err(ResponseError::IllegalGeneration)
            } else if other(&sync.protocol_type, &self.protocol_type) || other(&sync.protocol, &self.protocol) {
                Err(ResponseError::InconsistentGroupProtocol)
            } else {
                Ok(())
            }
        });
        if let Err(error) = checked {
            answer.send(Err(error)).ok();
            return;
        }
        let synced = |membership: &Self, assignment: Bytes| Synced {
            protocol_type: membership.protocol_type.clone(),
            protocol: membership.protocol.clone(),
            assignment,
        };
        let assignment = {
            let Some(member) = self.members.get_mut(&sync.member_id) else { return };
            member.deadline = now + member.session_timeout;
            member.assignment.clone()
        };
        match self.phase {
            Phase::Empty => {
                answer.send(Err(ResponseError::UnknownMemberId)).ok();
            }
            Phase::PreparingRebalance => {
                answer.send(Err(ResponseError::RebalanceInProgress)).ok();
            }
            Phase::Stable => {
                answer.send(Ok(synced(self, assignment))).ok();
            }
            Phase::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(&sync.member_id) {
                    member.sync = Some(answer);
                }
                if self.leader != sync.member_id {
                    return;
                }
                let mut assignments: HashMap<String, Bytes> = sync.assignments.into_iter().collect();
                self.phase = Phase::Stable;
                self.rebalance_deadline = None;
                let template = synced(self, Bytes::new());
                for (id, member) in &mut self.members {
                    member.assignment = assignments.remove(id).unwrap_or_default();
                    if let Some(waiting) = member.sync.take() {
                        member.deadline = now + member.session_timeout;
                        waiting.send(Ok(Synced { assignment: member.assignment.clone(), ..template.clone() })).ok();
                    }
                }
            }
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check_member(id, instance)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.deadline = now + member.session_timeout;
        }
        match self.phase {
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            Phase::CompletingRebalance | Phase::Stable => Ok(()),
            Phase::Empty => Err(ResponseError::UnknownMemberId),
        }
    }

    pub(crate) fn leave(&mut self, id: &str, instance: Option<&str>, now: Instant) -> Result<(), ResponseError> {
        let id = match instance {
            // An administrator removes a static member by its instance alone.
            Some(instance) if id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            _ => id.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.complete_if_all_joined(now);
            return Ok(());
        }
        self.check_member(&id, instance)?;
        self.remove(&id, now);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str, now: Instant) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if let Some(waiting) = member.join.take() {
            waiting.send(Err((ResponseError::UnknownMemberId, id.to_owned()))).ok();
        }
        if let Some(waiting) = member.sync.take() {
            waiting.send(Err(ResponseError::UnknownMemberId)).ok();
        }
        if self.leader == id {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        match self.phase {
            Phase::Stable | Phase::CompletingRebalance => self.prepare_rebalance(now),
            Phase::PreparingRebalance => self.complete_if_all_joined(now),
            Phase::Empty => {}
        }
    }

    /// No member is left and none is about to come.
    pub(crate) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }
}
