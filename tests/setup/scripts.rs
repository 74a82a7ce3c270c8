//! What the check of scripts passes, a real OpenSearch compiles.

use super::support;
use outlier::index::opensearch::Client;
use outlier::setup::script;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeSet;

const NUMBERS: &[&str] = &["ctx.a", "ctx.b[0].c", "ctx['x) y'].z", "params.n", "0", "12", "0.5", "1e-7", "2147483647"];
const COMPARES: &[&str] = &[">", "<", ">=", "<=", "==", "!="];
const OTHERS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "!",
    "&&",
    "||",
    "(",
    ")",
    "[",
    "]",
    ".",
    "=",
    "&",
    "|",
    ";",
    "'",
    "01",
    "1.",
    "ctx",
    "return",
    "-1",
    "--",
    "2147483648",
    "true",
    "null",
    "",
];
const SCRIPTS: usize = 300;

/// The tokens of a condition, or of a number.
fn expression(rng: &mut StdRng, depth: u32, condition: bool) -> Vec<&'static str> {
    let Some(below) = depth.checked_sub(1) else {
        let number = *NUMBERS.choose(rng).unwrap();
        return if condition { vec![number, *COMPARES.choose(rng).unwrap(), "1"] } else { vec![number] };
    };
    let sign = match (condition, rng.random_range(0..4)) {
        (true, 0) => return [vec!["!", "("], expression(rng, below, true), vec![")"]].concat(),
        (_, 0) => return [vec!["("], expression(rng, below, condition), vec![")"]].concat(),
        (true, 1) => COMPARES.choose(rng).unwrap(),
        (true, _) => ["&&", "||"].choose(rng).unwrap(),
        (false, _) => ["+", "-", "*"].choose(rng).unwrap(),
    };
    let parts = condition && !COMPARES.contains(sign);
    [expression(rng, below, parts), vec![*sign], expression(rng, below, parts)].concat()
}

#[tokio::test]
async fn a_real_server_compiles_what_passes() {
    let Some(url) = support::opensearch() else { return };
    let mut rng = StdRng::seed_from_u64(1);
    let (mut passed, mut refused) = (BTreeSet::new(), 0);
    while passed.len() < SCRIPTS {
        let depth = rng.random_range(0..4);
        let mut tokens = expression(&mut rng, depth, true);
        for _ in 0..rng.random_range(0..3) {
            let at = rng.random_range(0..tokens.len());
            let other = [NUMBERS, COMPARES, OTHERS].choose(&mut rng).unwrap().choose(&mut rng).unwrap();
            if rng.random() { tokens[at] = other } else { tokens.insert(at, other) }
        }
        let source = tokens.join(if rng.random() { " " } else { "" });
        let body = json!({"source": source, "lang": "painless"});
        if script::check(&body).is_ok() {
            passed.extend([source])
        } else {
            refused += 1
        };
    }
    assert!(refused > SCRIPTS, "{refused}");
    // The server limits how often it compiles: each is a function of one script, which calls none.
    let functions = passed.iter().enumerate();
    let functions: String =
        functions.map(|(i, of)| format!("boolean f{i}(def ctx, def params) {{ return {of}; }}\n")).collect();
    let body = json!({"script": {"source": format!("{functions}return true;")}}).to_string();
    let client = Client::new(&super::plugins::config(&url, "")).unwrap();
    let post = opensearch::http::Method::Post;
    let answer = client.send(post, "/_scripts/painless/_execute", Some(body.into())).await.unwrap();
    assert!(answer.good(), "{}", answer.json().unwrap());
}
