//! `outlier check`: every mistake, or the effective configuration.

use super::environment::Environment;
use super::{Config, effective, open};
use std::io::{self, Write};
use std::path::Path;

/// Why `check` did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CheckFailed {
    /// The mistakes are printed; this is their number.
    #[error("{0} mistake(s) in the configuration")]
    Mistakes(usize),
    /// The answer could not be printed.
    #[error("cannot print the answer: {0}")]
    Output(#[from] io::Error),
}

/// Loads the configuration as [`Config::load`] does and prints each mistake on a line of its own, or the
/// effective configuration with its source in a comment and secrets masked.
///
/// # Errors
/// [`CheckFailed::Mistakes`] after the mistakes were printed; [`CheckFailed::Output`] when they could not be.
pub fn check(path: Option<&Path>, out: &mut dyn Write) -> Result<(), CheckFailed> {
    let loaded = open(path).and_then(|(name, text)| {
        let config = Config::parse(&text, &name, &Environment::of_process())?;
        Ok((name, config))
    });
    match loaded {
        Ok((name, config)) => {
            writeln!(out, "# Effective configuration from {name}; secrets are masked.\n")?;
            out.write_all(effective(&config).as_bytes())?;
            Ok(())
        }
        Err(mistakes) => {
            writeln!(out, "{mistakes}")?;
            Err(CheckFailed::Mistakes(mistakes.iter().len()))
        }
    }
}
