//! JoinGroup: members come together for the next generation.
//!
//! Invariants: a rebalance ends when all members have joined (and no announced one is missing) or its time is up,
//! whichever is first; it never waits longer than the largest rebalance timeout.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::{Answer, Answers, Group, MAX_MEMBERS, Member, Phase, Synced, Ticket};
use crate::clock::Millis;

/// A member's wish to join; its id is empty the first time.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    pub(crate) member_id: String,
    /// The id to give when it has none.
    pub(crate) fresh_id: String,
    /// The client must come back with its id before it becomes a member (KIP-394).
    pub(crate) two_steps: bool,
    /// The client understands `skip_assignment` (version 9).
    pub(crate) can_skip: bool,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// The answer to a join.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// For the leader: member, instance, subscription.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl Joined {
    pub(crate) fn refused(error: ResponseError, member_id: &str) -> Self {
        Self { error: Some(error), generation: -1, member_id: member_id.to_owned(), ..Self::default() }
    }
}

impl Group {
    /// Lets a member join; the answer comes at once or through `answers` later.
    pub(crate) fn join(&mut self, request: JoinRequest, ticket: Ticket, now: Millis, answers: &mut Answers) {
        if let Err(error) = self.try_join(&request, ticket, now, answers) {
            let id = if error == ResponseError::MemberIdRequired { &request.fresh_id } else { &request.member_id };
            answers.push((ticket, Answer::Join(Joined::refused(error, id))));
        }
    }

    fn try_join(
        &mut self,
        request: &JoinRequest,
        ticket: Ticket,
        now: Millis,
        answers: &mut Answers,
    ) -> Result<(), ResponseError> {
        self.check_protocols(request)?;
        let known_instance = request.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        if request.member_id.is_empty() {
            if let Some(replaced) = known_instance {
                return self.replace_static(request, &replaced, ticket, now, answers);
            }
            if self.members.len() + self.pending.len() >= MAX_MEMBERS {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            if request.two_steps && request.instance.is_none() {
                let until = now.saturating_add(i64::from(request.session_ms));
                self.pending.insert(request.fresh_id.clone(), until);
                return Err(ResponseError::MemberIdRequired);
            }
            self.admit(request, &request.fresh_id, ticket, now, answers);
            return Ok(());
        }
        if request.instance.is_none() && self.pending.remove(&request.member_id).is_some() {
            self.admit(request, &request.member_id, ticket, now, answers);
            return Ok(());
        }
        self.identify(&request.member_id, request.instance.as_deref())?;
        self.rejoin(request, ticket, now, answers);
        Ok(())
    }

    /// A group keeps one protocol type, and there must be a protocol that all members know.
    fn check_protocols(&self, request: &JoinRequest) -> Result<(), ResponseError> {
        let mut others = self.members.iter().filter(|(id, _)| **id != request.member_id).peekable();
        let common = others.peek().is_none()
            || request.protocols.iter().any(|(name, _)| {
                self.members.iter().filter(|(id, _)| **id != request.member_id).all(|(_, m)| m.supports(name))
            });
        let same_type =
            self.members.is_empty() || self.protocol_type.as_deref() == Some(request.protocol_type.as_str());
        if request.protocol_type.is_empty() || request.protocols.is_empty() || !common || !same_type {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn admit(&mut self, request: &JoinRequest, id: &str, ticket: Ticket, now: Millis, answers: &mut Answers) {
        let mut member = Member {
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_ms: request.session_ms,
            rebalance_ms: request.rebalance_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            synced: false,
            expires: now,
        };
        member.touch(now);
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.to_owned());
        }
        self.protocol_type = Some(request.protocol_type.clone());
        self.members.insert(id.to_owned(), member);
        self.prepare(now, answers);
    }

    fn rejoin(&mut self, request: &JoinRequest, ticket: Ticket, now: Millis, answers: &mut Answers) {
        let id = request.member_id.as_str();
        let is_leader = self.leader.as_deref() == Some(id);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let unchanged = member.protocols == request.protocols;
        let stays = match self.phase {
            Phase::Completing => unchanged,
            Phase::Stable => unchanged && !is_leader,
            Phase::Empty | Phase::Preparing => false,
        };
        member.touch(now);
        member.session_ms = request.session_ms;
        member.rebalance_ms = request.rebalance_ms;
        if stays {
            // The answer to its join was lost: the same one again.
            let joined = self.joined(id);
            answers.push((ticket, Answer::Join(joined)));
            return;
        }
        member.protocols.clone_from(&request.protocols);
        if let Some(earlier) = member.joining.replace(ticket) {
            answers.push((earlier, Answer::Join(Joined::refused(ResponseError::RebalanceInProgress, id))));
        }
        self.prepare(now, answers);
    }

    /// A static member comes back under a new id: it keeps its assignment when its subscription is the same.
    fn replace_static(
        &mut self,
        request: &JoinRequest,
        replaced: &str,
        ticket: Ticket,
        now: Millis,
        answers: &mut Answers,
    ) -> Result<(), ResponseError> {
        let mut member = self.members.remove(replaced).ok_or(ResponseError::UnknownMemberId)?;
        let id = request.fresh_id.clone();
        if let Some(ticket) = member.joining.take() {
            answers.push((ticket, Answer::Join(Joined::refused(ResponseError::FencedInstanceId, replaced))));
        }
        if let Some(ticket) = member.syncing.take() {
            answers.push((ticket, Answer::Sync(Synced::refused(ResponseError::FencedInstanceId))));
        }
        let was_leader = self.leader.as_deref() == Some(replaced);
        if was_leader {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let unchanged = member.protocols == request.protocols;
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        member.protocols.clone_from(&request.protocols);
        (member.session_ms, member.rebalance_ms) = (request.session_ms, request.rebalance_ms);
        member.touch(now);
        let keeps = self.phase == Phase::Stable && unchanged;
        member.joining = (!keeps).then_some(ticket);
        self.members.insert(id.clone(), member);
        if !keeps {
            self.prepare(now, answers);
            return Ok(());
        }
        let mut joined = self.joined(&id);
        joined.skip_assignment = was_leader && request.can_skip;
        if was_leader && !request.can_skip {
            // An old client would assign again as leader, and its assignment would be ignored.
            joined.leader = replaced.to_owned();
            joined.members.clear();
        }
        answers.push((ticket, Answer::Join(joined)));
        Ok(())
    }

    /// Starts a rebalance, or joins the one that runs.
    pub(super) fn prepare(&mut self, now: Millis, answers: &mut Answers) {
        if self.phase != Phase::Preparing {
            for member in self.members.values_mut() {
                if let Some(ticket) = member.syncing.take() {
                    member.touch(now);
                    answers.push((ticket, Answer::Sync(Synced::refused(ResponseError::RebalanceInProgress))));
                }
            }
            self.phase = Phase::Preparing;
            self.deadline = Some(now.saturating_add(self.rebalance_ms()));
        }
        if self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some()) {
            self.complete_join(now, answers);
        }
    }

    pub(super) fn rebalance_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_ms)).max().unwrap_or(0)
    }

    /// Ends the wait for joins: who has not joined is out, the others get the next generation.
    pub(super) fn complete_join(&mut self, now: Millis, answers: &mut Answers) {
        self.members.retain(|_, member| member.joining.is_some() || member.instance.is_some());
        let members = &self.members;
        self.instances.retain(|_, id| members.contains_key(id));
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.vote();
        let waits = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(waits) {
            let first = self.members.iter().filter_map(|(id, m)| Some((m.joining?, id))).min();
            self.leader = first.map(|(_, id)| id.clone());
        }
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.deadline = None;
            self.protocol_type = None;
            return;
        }
        self.phase = Phase::Completing;
        self.deadline = Some(now.saturating_add(self.rebalance_ms()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.synced = false;
                if let Some(ticket) = member.joining.take() {
                    member.touch(now);
                    answers.push((ticket, Answer::Join(joined)));
                }
            }
        }
    }

    /// Each member votes for the first of its protocols that all know; ties go to the first name.
    fn vote(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let votes: Vec<&str> = self
            .members
            .values()
            .filter_map(|m| m.protocols.iter().map(|(name, _)| name.as_str()).find(|name| common(name)))
            .collect();
        let count = |name: &str| votes.iter().filter(|vote| **vote == name).count();
        votes.iter().max_by(|a, b| count(a).cmp(&count(b)).then(b.cmp(a))).map(|name| (*name).to_owned())
    }

    fn joined(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let describe = |(id, m): (&String, &Member)| (id.clone(), m.instance.clone(), self.metadata(m));
        let members = if leader == id { self.members.iter().map(describe).collect() } else { Vec::new() };
        Joined {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            member_id: id.to_owned(),
            skip_assignment: false,
            members,
        }
    }
}
