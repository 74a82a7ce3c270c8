//! The group coordinator: classic consumer groups (eager and cooperative) and their committed offsets.
//!
//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup and the offset APIs come here. Pure: a member that has to wait leaves a
//! [`Ticket`], and answers come back as values when an event or the time releases them. The assignment itself is the
//! client leader's work.
//!
//! ```text
//!   Empty ──join──► Preparing ──all joined, or time is up──► Completing ──leader's sync──► Stable
//!     ▲                ▲  │                                      │                            │
//!     │                │  └─ nobody left ─► Empty                │                            │
//!     └────────────────┴──────────── join, leave, expiry, changed subscription ◄──────────────┘
//! ```
//!
//! Invariants: a generation is handed out once, to the members that joined it; a parked ticket is answered exactly
//! once; a member that is parked does not expire; committed offsets change only by the current generation, or by
//! nobody's when the group has no members.

mod join;
mod member;
pub(crate) mod offsets;
mod session;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use crate::clock::Millis;
pub(crate) use join::{JoinRequest, Joined};
pub(crate) use member::Member;
pub(crate) use sync::{SyncRequest, Synced};

/// Members of a group.
const MAX_MEMBERS: usize = 1_000;

/// A place in the queue for an answer.
pub(crate) type Ticket = u64;

/// An answer for a member that waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Join(Joined),
    Sync(Synced),
}

/// Answers released by one event, in order.
pub(crate) type Answers = Vec<(Ticket, Answer)>;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; offsets may remain.
    Empty,
    /// Waits until every member has joined again.
    Preparing,
    /// Waits for the leader's assignment.
    Completing,
    /// Every member has its assignment.
    Stable,
}

impl Phase {
    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    /// `consumer`, or what another kind of client calls its protocol.
    pub(crate) protocol_type: Option<String>,
    /// The assignment protocol of this generation.
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids given to members that have yet to join with them (KIP-394), and until when they may.
    pending: HashMap<String, Millis>,
    /// Static members: instance → member.
    instances: HashMap<String, String>,
    /// When waiting for joins (preparing) or for syncs (completing, stable) ends.
    deadline: Option<Millis>,
    pub(crate) offsets: offsets::Offsets,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: HashMap::new(),
            instances: HashMap::new(),
            deadline: None,
            offsets: offsets::Offsets::default(),
        }
    }
}

impl Group {
    /// The member that a request speaks for.
    ///
    /// # Errors
    /// Unknown member, or a static member that another instance has replaced.
    fn identify(&self, member_id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            return match self.instances.get(instance) {
                None => Err(ResponseError::UnknownMemberId),
                Some(current) if current != member_id => Err(ResponseError::FencedInstanceId),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Checks who commits offsets; `in_transaction` allows a producer that belongs to no member.
    ///
    /// # Errors
    /// Unknown member, old generation, or a rebalance that waits for its assignment.
    pub(crate) fn check_commit(
        &self,
        generation: i32,
        member_id: &str,
        instance: Option<&str>,
        in_transaction: bool,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance.is_some() {
            self.identify(member_id, instance)?;
            if generation != self.generation {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !in_transaction {
            return Err(ResponseError::UnknownMemberId);
        }
        if !in_transaction && self.phase == Phase::Completing {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// True when nothing would be lost by forgetting the group.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty() && self.offsets.is_empty()
    }

    /// A member's subscription under the chosen protocol.
    pub(crate) fn metadata(&self, member: &Member) -> Bytes {
        self.protocol.as_deref().and_then(|protocol| member.metadata(protocol)).unwrap_or_default()
    }
}
