//! SyncGroup: the leader hands in the assignment, every member takes its own.
//!
//! Invariant: an assignment is handed out only in the generation it was made for.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::{Answer, Answers, Group, Phase, Ticket};
use crate::clock::Millis;

/// A member asks for its assignment; the leader brings all of them.
#[derive(Debug, Clone)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: i32,
    /// What the client believes was agreed; checked when given.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: HashMap<String, Bytes>,
}

/// The answer to a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) error: Option<ResponseError>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl Synced {
    pub(crate) fn refused(error: ResponseError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

impl Group {
    /// Takes a member's sync; the answer comes at once or through `answers` later.
    pub(crate) fn sync(&mut self, request: SyncRequest, ticket: Ticket, now: Millis, answers: &mut Answers) {
        if let Err(error) = self.check_sync(&request) {
            answers.push((ticket, Answer::Sync(Synced::refused(error))));
            return;
        }
        let id = request.member_id;
        if let Some(member) = self.members.get_mut(&id) {
            member.synced = true;
            member.touch(now);
            if let Some(earlier) = member.syncing.replace(ticket) {
                answers.push((earlier, Answer::Sync(Synced::refused(ResponseError::RebalanceInProgress))));
            }
        }
        if self.phase == Phase::Completing && self.leader.as_deref() == Some(id.as_str()) {
            let mut assignments = request.assignments;
            for (id, member) in &mut self.members {
                // Slices of the request would keep all of it alive.
                member.assignment = Bytes::copy_from_slice(&assignments.remove(id).unwrap_or_default());
            }
            self.phase = Phase::Stable;
        }
        if self.phase == Phase::Stable {
            self.release(now, answers);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ResponseError> {
        self.identify(&request.member_id, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, agreed: &Option<String>| asked.is_some() && asked != agreed;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Preparing => Err(ResponseError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// Answers all who wait for their assignment.
    fn release(&mut self, now: Millis, answers: &mut Answers) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.touch(now);
                let synced = Synced {
                    error: None,
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                answers.push((ticket, Answer::Sync(synced)));
            }
        }
        if self.members.values().all(|member| member.synced) {
            self.deadline = None;
        }
    }
}
