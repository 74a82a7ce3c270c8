//! A member of a group, as it introduced itself.
//!
//! Invariant: at most one of `joining` and `syncing` is set, and while one is, the member does not expire.

use bytes::Bytes;

use super::Ticket;
use crate::clock::Millis;

/// A member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
    /// Protocols by preference, each with the member's subscription.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
    /// True when the member has asked for its assignment in this generation.
    pub(super) synced: bool,
    /// When the session ends without a sign of life.
    pub(super) expires: Millis,
}

impl Member {
    pub(super) fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata.clone())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn touch(&mut self, now: Millis) {
        self.expires = now.saturating_add(i64::from(self.session_ms));
    }
}
