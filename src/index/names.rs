//! The names of indices and tables: `<prefix><pipeline>-<stage>`.
//!
//! Invariant: two pipelines never share a name, because the configuration refuses names that differ by case only.

use crate::config::Stage;

/// All stages, in the order of the path.
pub const STAGES: [Stage; 4] = [Stage::Raw, Stage::Enriched, Stage::Scores, Stage::Alerts];

/// How a stage is called in names.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Raw => "raw",
        Stage::Enriched => "enriched",
        Stage::Scores => "scores",
        Stage::Alerts => "alerts",
    }
}

/// The index of a pipeline's stage, in lower case as OpenSearch demands.
pub fn index(prefix: &str, pipeline: &str, of: Stage) -> String {
    format!("{prefix}{pipeline}-{}", stage(of)).to_lowercase()
}
