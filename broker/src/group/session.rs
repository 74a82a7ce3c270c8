//! Heartbeats, leaving, and time running out.
//!
//! Invariant: every way a member goes ends in the same removal, which starts a rebalance for those who stay.

use kafka_protocol::error::ResponseError;

use super::{Answer, Answers, Group, Joined, Phase, Synced};
use crate::clock::Millis;

impl Group {
    /// A sign of life.
    ///
    /// # Errors
    /// Unknown member, old generation, or a rebalance that the member has to join.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), ResponseError> {
        self.identify(member_id, instance)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
        match self.phase {
            Phase::Preparing => Err(ResponseError::RebalanceInProgress),
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// A commit is a sign of life, too.
    pub(crate) fn seen(&mut self, member_id: &str, now: Millis) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
    }

    /// Lets a member go, by its id or as a static member by its instance.
    ///
    /// # Errors
    /// Unknown or replaced member.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        now: Millis,
        answers: &mut Answers,
    ) -> Result<(), ResponseError> {
        if instance.is_none() && self.pending.remove(member_id).is_some() {
            self.after_pending_left(now, answers);
            return Ok(());
        }
        let by_instance = instance.filter(|_| member_id.is_empty()).and_then(|i| self.instances.get(i)).cloned();
        let id = by_instance.unwrap_or_else(|| member_id.to_owned());
        self.identify(&id, instance)?;
        self.remove(&id, now, answers);
        Ok(())
    }

    fn after_pending_left(&mut self, now: Millis, answers: &mut Answers) {
        if self.phase == Phase::Preparing {
            self.prepare(now, answers);
        }
    }

    fn remove(&mut self, id: &str, now: Millis, answers: &mut Answers) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if let Some(ticket) = member.joining {
            answers.push((ticket, Answer::Join(Joined::refused(ResponseError::UnknownMemberId, id))));
        }
        if let Some(ticket) = member.syncing {
            answers.push((ticket, Answer::Sync(Synced::refused(ResponseError::UnknownMemberId))));
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
        self.prepare(now, answers);
    }

    /// Does what is due: sessions that ended, announced members that did not come, rebalances whose time is up.
    pub(crate) fn expire(&mut self, now: Millis, answers: &mut Answers) {
        let announced = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < announced {
            self.after_pending_left(now, answers);
        }
        let dead = |(id, m): (&String, &super::Member)| (!m.is_waiting() && m.expires <= now).then(|| id.clone());
        let ended: Vec<String> = self.members.iter().filter_map(dead).collect();
        for id in ended {
            // An earlier removal may have ended the rebalance, and with it dropped or renewed this one.
            if self.members.get(&id).is_some_and(|m| !m.is_waiting() && m.expires <= now) {
                tracing::debug!(member = id, "session ended without a heartbeat");
                self.remove(&id, now, answers);
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.end_of_wait(now, answers);
        }
    }

    fn end_of_wait(&mut self, now: Millis, answers: &mut Answers) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing => {
                self.pending.clear();
                self.complete_join(now, answers);
            }
            Phase::Completing | Phase::Stable => {
                let silent = |(id, m): (&String, &super::Member)| (!m.synced).then(|| id.clone());
                let silent: Vec<String> = self.members.iter().filter_map(silent).collect();
                silent.iter().for_each(|id| self.remove(id, now, answers));
            }
        }
    }

    /// When [`Group::expire`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let sessions = self.members.values().filter(|m| !m.is_waiting()).map(|m| m.expires);
        sessions.chain(self.pending.values().copied()).chain(self.deadline).min()
    }
}
