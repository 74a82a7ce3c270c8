//! The state of each component of a process: what `/health` and `/ready` answer.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Not working yet, for this reason.
    Starting {
        /// What it waits for.
        reason: String,
    },
    /// Working.
    Ready,
    /// Working again as soon as something outside does; it keeps trying.
    Waiting {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Stopped for good; the process ends.
    Failed {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// The components of a process. Cheap to clone; all clones see the same.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, State>>>);

impl Health {
    /// Sets a component's state; a change is logged once.
    pub fn set(&self, component: &str, state: State) {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if components.get(component) == Some(&state) {
            return;
        }
        match &state {
            State::Ready => tracing::info!(component, "ready"),
            State::Starting { reason } => tracing::info!(component, reason, "starting"),
            State::Waiting { reason } => tracing::warn!(component, reason, "waiting"),
            State::Failed { reason } => tracing::error!(component, reason, "failed"),
        }
        components.insert(component.to_owned(), state);
    }

    /// A copy of all states.
    pub fn components(&self) -> BTreeMap<String, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True when there is a component and all are ready.
    pub fn ready(&self) -> bool {
        let components = self.components();
        !components.is_empty() && components.values().all(|state| *state == State::Ready)
    }

    /// True unless a component failed for good.
    pub fn alive(&self) -> bool {
        !self.components().values().any(|state| matches!(state, State::Failed { .. }))
    }
}
