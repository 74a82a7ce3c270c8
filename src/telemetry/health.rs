//! The state of each component of a process, and what it has to show for: what `/health` and `/ready` answer.
//!
//! Invariant: what is shown are the metrics themselves, so that `/health` and `/metrics` never disagree; a number makes no
//! component unhealthy.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Working as far as it can by now, and better later: as good as ready.
    Learning {
        /// What it waits for.
        reason: String,
    },
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

/// A component as `/health` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// Records that took another way than most, since the start, by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// What goes up and down, such as the series that are still learning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, i64>,
}

#[derive(Default)]
struct Component {
    state: Option<State>,
    counts: BTreeMap<String, Counter>,
    levels: BTreeMap<String, Gauge>,
}

/// The components of a process. Cheap to clone; all clones see the same.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Component>>>);

impl Health {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Component>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a component's state; a change is logged once.
    pub fn set(&self, component: &str, state: State) {
        let mut components = self.lock();
        let own = components.entry(component.to_owned()).or_default();
        if own.state.as_ref() == Some(&state) {
            return;
        }
        match &state {
            State::Ready => tracing::info!(component, "ready"),
            State::Learning { reason } => tracing::info!(component, reason, "learning"),
            State::Starting { reason } => tracing::info!(component, reason, "starting"),
            State::Waiting { reason } => tracing::warn!(component, reason, "waiting"),
            State::Failed { reason } => tracing::error!(component, reason, "failed"),
        }
        own.state = Some(state);
    }

    /// Says nothing of a component any more, as another instance knows better.
    pub fn forget(&self, component: &str) {
        self.lock().remove(component);
    }

    /// Shows a counter of `/metrics` with a component, as the cause that it counts.
    pub fn show_count(&self, component: &str, cause: &str, counter: &Counter) {
        self.lock().entry(component.to_owned()).or_default().counts.insert(cause.to_owned(), counter.clone());
    }

    /// Shows a level of `/metrics` with a component.
    pub fn show_level(&self, component: &str, name: &str, gauge: &Gauge) {
        self.lock().entry(component.to_owned()).or_default().levels.insert(name.to_owned(), gauge.clone());
    }

    /// A copy of all states.
    pub fn components(&self) -> BTreeMap<String, State> {
        let components = self.lock();
        components.iter().filter_map(|(name, own)| Some((name.clone(), own.state.clone()?))).collect()
    }

    /// All components as they are now, with their numbers.
    pub fn report(&self) -> BTreeMap<String, Report> {
        let report = |own: &Component| {
            Some(Report {
                state: own.state.clone()?,
                counts: own.counts.iter().map(|(cause, counter)| (cause.clone(), counter.get())).collect(),
                levels: own.levels.iter().map(|(name, gauge)| (name.clone(), gauge.get())).collect(),
            })
        };
        self.lock().iter().filter_map(|(name, own)| Some((name.clone(), report(own)?))).collect()
    }

    /// True when there is a component and all are ready, or learning.
    pub fn ready(&self) -> bool {
        let components = self.components();
        let good = |state: &State| matches!(state, State::Ready | State::Learning { .. });
        !components.is_empty() && components.values().all(good)
    }

    /// True unless a component failed for good.
    pub fn alive(&self) -> bool {
        !self.components().values().any(|state| matches!(state, State::Failed { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_metrics_and_change_no_state() {
        let health = Health::default();
        let (late, learning) = (Counter::default(), Gauge::default());
        health.show_count("process waf", "late", &late);
        health.show_level("process waf", "series_learning", &learning);
        assert!(health.report().is_empty() && !health.ready(), "without a state there is no component");
        health.set("process waf", State::Ready);
        late.inc_by(3);
        learning.set(2);
        let text = serde_json::to_string(&health.report()).unwrap();
        assert_eq!(text, r#"{"process waf":{"state":"ready","counts":{"late":3},"levels":{"series_learning":2}}}"#);
        assert!(health.ready() && health.alive());
        health.set("detector", State::Learning { reason: "3 of 40".to_owned() });
        assert!(health.ready() && health.alive());
        health.set("index", State::Waiting { reason: "gone".to_owned() });
        assert!(!health.ready() && health.alive());
    }
}
