//! The configuration as operators meet it: mistakes, overrides, secrets, shipped files, hostile input.

mod hostile;
mod mistakes;
mod overrides;
mod round_trip;
mod secrets;
mod shipped;

use super::{Config, Environment, Mistakes};

/// The smallest whole configuration, for tests of other sections.
const MINIMAL: &str = "[[pipeline]]\nname = \"p\"\n";

fn parse(text: &str, env: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment: Environment = env.iter().copied().collect();
    Config::parse(text, "t.toml", &environment)
}

/// The configuration, or a panic that shows the mistakes.
fn valid(text: &str, env: &[(&str, &str)]) -> Config {
    parse(text, env).unwrap_or_else(|mistakes| panic!("{mistakes}\n--\n{text}"))
}

/// Each mistake as `line:column` (or the variable) and its text.
fn mistakes(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    match parse(text, env) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes
            .iter()
            .map(|mistake| {
                let place = mistake.place.to_string();
                let place = place.strip_prefix("t.toml:").unwrap_or(&place);
                format!("{place} {}", mistake.text)
            })
            .collect(),
    }
}

/// Holds that there are exactly these mistakes: each of `want` begins one (place and text up to `…`), and
/// the parts after `…` follow in it.
fn check(text: &str, env: &[(&str, &str)], want: &[&str]) {
    let got = mistakes(text, env);
    let matches = got.len() == want.len()
        && got.iter().zip(want).all(|(got, want)| {
            let mut parts = want.split('…');
            let mut rest = got.strip_prefix(parts.next().unwrap_or_default());
            for part in parts {
                rest = rest.and_then(|rest| Some(&rest[rest.find(part)? + part.len()..]));
            }
            rest.is_some()
        });
    assert!(matches, "{text}\n-- got\n{}\n-- want\n{}", got.join("\n"), want.join("\n"));
}
