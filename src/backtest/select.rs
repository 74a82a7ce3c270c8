//! Which pipeline and which detectors: what the command line names is looked up in the configurations.

use super::options::Options;
use super::{Label, Labels};
use crate::config::{Config, suggestion};
use crate::produce::choose as pipeline_of;
use anyhow::{Context, bail};
use outlier_core::pipeline::Pipeline;

/// What one side of the backtest scores.
pub struct Chosen {
    /// The pipeline, with the chosen detectors only.
    pub pipeline: Pipeline,
    /// Names of all its detectors.
    pub all: Vec<String>,
    /// Its configuration, for the report.
    pub config: String,
}

/// Both sides.
pub struct Choice {
    /// The configuration.
    pub first: Chosen,
    /// That of `--compare`.
    pub second: Option<Chosen>,
}

/// Looks everything up.
///
/// # Errors
/// There is no such pipeline or detector, or the other configuration has mistakes.
pub fn choose(config: &Config, options: &Options) -> anyhow::Result<Choice> {
    let pipeline = pipeline_of(config, options.pipeline.as_deref())?;
    let mut first = chosen(pipeline, "this configuration".to_owned());
    let mut second = match &options.compare {
        None => None,
        Some(path) => {
            let other =
                Config::load(Some(path)).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.to_string().trim_end()))?;
            let named = other.pipelines.iter().find(|p| p.name == pipeline.name);
            let found = match (named, other.pipelines.as_slice()) {
                (Some(named), _) => named,
                // A single one is meant, whatever it is called.
                (None, [only]) => only,
                (None, _) => pipeline_of(&other, Some(&pipeline.name)).with_context(|| path.display().to_string())?,
            };
            Some(chosen(found, path.display().to_string()))
        }
    };
    for name in &options.detector {
        let known = |side: &Chosen| side.all.contains(name);
        if !known(&first) && !second.as_ref().is_some_and(known) {
            let all: Vec<&str> = first.all.iter().map(String::as_str).collect();
            bail!("pipeline {} has no detector {name:?}{}", pipeline.name, suggestion(name, &all));
        }
    }
    if !options.detector.is_empty() {
        for side in [Some(&mut first), second.as_mut()].into_iter().flatten() {
            side.pipeline.detectors.retain(|detector| options.detector.contains(&detector.name));
        }
    }
    Ok(Choice { first, second })
}

fn chosen(pipeline: &Pipeline, config: String) -> Chosen {
    let all = pipeline.detectors.iter().map(|detector| detector.name.clone()).collect();
    Chosen { pipeline: pipeline.clone(), all, config }
}

/// The labels that concern a detector that is scored.
///
/// # Errors
/// One names a detector that is not configured.
pub fn labels(labels: Labels, first: &Chosen, second: Option<&Chosen>) -> anyhow::Result<Labels> {
    let sides: Vec<&Chosen> = [Some(first), second].into_iter().flatten().collect();
    let mut kept = Vec::with_capacity(labels.len());
    for label in labels {
        let Some(name) = &label.detector else {
            kept.push(label);
            continue;
        };
        if !sides.iter().any(|side| side.all.contains(name)) {
            let all: Vec<&str> = first.all.iter().map(String::as_str).collect();
            bail!(
                "the labels name a detector {name:?}, which pipeline {} does not have{}",
                first.pipeline.name,
                suggestion(name, &all)
            );
        }
        let is_scored = |label: &Label, side: &&Chosen| {
            side.pipeline.detectors.iter().any(|d| Some(&d.name) == label.detector.as_ref())
        };
        if sides.iter().any(|side| is_scored(&label, side)) {
            kept.push(label);
        }
    }
    Ok(kept)
}
