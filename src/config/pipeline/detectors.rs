//! `[[pipeline.detectors]]`: what is counted in which windows.

use super::{DAY, millis, span};
use crate::config::mistake::{nearest, shown};
use crate::config::names::{self, Unique};
use crate::config::reader::{Names, Reader};
use crate::config::writer::Writer;
use outlier_core::field::FieldPath;
use outlier_core::measure::{Measure, Operand};
use outlier_core::model::Tier;
use outlier_core::pipeline::{Detector, Emit, Pipeline};
use outlier_core::window::LARGEST_RECORD;
use std::time::Duration;

/// The most detectors of a pipeline.
pub const MAX_DETECTORS: usize = 256;
/// The most measures of a detector whose models are large: all series of a group are one record of the state topic.
const MAX_LARGE: usize = 32;
/// The most measures of a detector.
pub const MAX_MEASURES: usize = 64;

/// The most fields that split a detector.
pub const MAX_BY: usize = 5;
/// The most fields that explain an anomaly.
pub const MAX_EXPLAIN: usize = 16;
/// The most windows of a detector that overlap at a time.
pub const MAX_OVERLAP: u128 = 60;

const EMITS: &Names<Emit> =
    &[("auto", Emit::Auto), ("all", Emit::All), ("changed", Emit::Changed), ("anomalous", Emit::Anomalous)];
const TIERS: &Names<Tier> = &[("compact", Tier::Compact), ("full", Tier::Full), ("both", Tier::Both)];
const TITLE: &str = "[[pipeline.detectors]]";
const MINUTE: Duration = Duration::from_secs(60);

/// What a detector takes from its pipeline when it does not say.
#[derive(Clone, Copy)]
struct Defaults {
    window: Duration,
    lateness: Duration,
    threshold: f64,
}

impl Defaults {
    /// The three keys, of a pipeline or of a detector.
    fn read(self, r: &mut Reader<'_>) -> Self {
        let window = r.duration("window", self.window, Duration::from_secs(1)..=DAY);
        if r.has("window") && !divides(window) {
            let text = "`window` must divide a day, and be whole minutes beyond one minute, such as \"10s\", \"1m\", \"5m\", \"1h\"";
            r.mistake(r.at("window"), text.to_owned());
        }
        Self {
            window,
            lateness: r.duration("lateness", self.lateness, Duration::ZERO..=DAY),
            threshold: r.number("threshold", self.threshold, 0.0..=100.0),
        }
    }
}

/// Windows are aligned to the epoch and merged from panes of a minute.
fn divides(window: Duration) -> bool {
    let (window, minute) = (window.as_millis(), MINUTE.as_millis());
    DAY.as_millis().is_multiple_of(window) && (window <= minute || window.is_multiple_of(minute))
}

/// Reads the detectors of a pipeline whose flags are read.
pub(super) fn read_all(r: &mut Reader<'_>, pipeline: &Pipeline) -> Vec<Detector> {
    let defaults = Defaults { window: MINUTE, lateness: Duration::from_secs(10), threshold: 90.0 };
    let defaults = defaults.read(r);
    let readers = r.tables("detectors", TITLE);
    if readers.len() > MAX_DETECTORS {
        let text = format!(
            "there are {} detectors, at most {MAX_DETECTORS} are possible: move some to another pipeline",
            readers.len()
        );
        r.mistake(r.at("detectors"), text);
        return Vec::new();
    }
    let flags: Vec<&str> = pipeline.flag_names().collect();
    let mut explain: Vec<FieldPath> = Vec::new();
    for group in &pipeline.flags {
        if !explain.contains(&group.field) && explain.len() < MAX_EXPLAIN {
            explain.push(group.field.clone());
        }
    }
    let mut unique = Unique::new("detectors");
    readers.into_iter().map(|reader| read(reader, defaults, &flags, &explain, &mut unique)).collect()
}

fn read(mut r: Reader<'_>, defaults: Defaults, flags: &[&str], explain: &[FieldPath], unique: &mut Unique) -> Detector {
    let name = r.name("\"action\"", names::check_name);
    unique.add(&r, r.at("name"), &name);
    let measures = read_measures(&mut r, flags);
    let Defaults { window, lateness, threshold } = defaults.read(&mut r);
    let mut detector = Detector::new(&name, measures, millis(window), millis(lateness));
    detector.threshold = threshold;
    detector.hop = millis(read_hop(&mut r, window));
    detector.by = read_fields(&mut r, "by", MAX_BY).unwrap_or_default();
    // Counting the values of each of many series would cost more than the series: it must be asked for.
    let usual = if detector.by.is_empty() { explain.to_vec() } else { Vec::new() };
    let explain = read_fields(&mut r, "explain", MAX_EXPLAIN);
    let named = explain.is_some();
    detector.explain = explain.unwrap_or(usual);
    detector.why_values = r.int("why_values", 1_000, 10..=100_000);
    detector.model = read_model(&mut r, &detector);
    fit(&mut r, &mut detector, named);
    detector.emit = r.choice("emit", Emit::Auto, EMITS);
    detector.max_series = r.int("max_series", 250_000, 1..=10_000_000);
    detector.forget = millis(r.duration("forget", 30 * DAY, Duration::from_secs(3_600)..=3_650 * DAY));
    let new = detector.measures.iter().any(|measure| matches!(measure, Measure::New(_)));
    if new && detector.forget < detector.window {
        r.mistake(r.at("forget"), "`forget` must be at least the window, or every value would be new".to_owned());
    }
    r.finish();
    detector
}

/// What is known of a group must fit into one record of Kafka: of the fields that explain by default, those that do.
fn fit(r: &mut Reader<'_>, detector: &mut Detector, named: bool) {
    while !named && detector.values_room().is_none() && detector.explain.pop().is_some() {}
    if detector.values_room().is_none() {
        let text = format!(
            "what a group needs does not fit into a Kafka record of {} MiB: take fewer fields in `explain` ({} of {} kinds of records), fewer quantiles, `distinct`, `new` and `rare` among the {} measures, or a longer `hop` (now {} windows overlap)",
            LARGEST_RECORD >> 20,
            detector.explain.len(),
            detector.weights().len(),
            detector.measures.len(),
            detector.window / detector.hop,
        );
        let at = if r.has("explain") { r.at("explain") } else { r.at("measures") };
        r.mistake(at, text);
    }
}

/// By default both models, where that costs little: without `by`.
fn read_model(r: &mut Reader<'_>, detector: &Detector) -> Tier {
    let few = detector.measures.len() <= MAX_LARGE;
    let default = if detector.by.is_empty() && few { Tier::Both } else { Tier::Compact };
    let model = r.choice("model", default, TIERS);
    if model != Tier::Compact && !few {
        let text = format!(
            "a detector with more than {MAX_LARGE} measures cannot have large models: use \"compact\", or add another detector"
        );
        r.mistake(r.at("model"), text);
    }
    model
}

/// The time from one window's end to the next: the window itself, unless windows overlap.
fn read_hop(r: &mut Reader<'_>, window: Duration) -> Duration {
    let hop = r.duration("hop", window, Duration::from_secs(1)..=DAY);
    if hop == window || !r.has("hop") {
        return window;
    }
    let (w, h) = (window.as_millis(), hop.as_millis());
    if !divides(hop) || !w.is_multiple_of(h) || w / h > MAX_OVERLAP {
        let text = format!(
            "`hop` must divide the window into at most {MAX_OVERLAP} parts, and be whole minutes beyond one minute, such as a fifth of the window"
        );
        r.mistake(r.at("hop"), text);
        return window;
    }
    hop
}

/// A list of paths, each once; `None` without the key.
fn read_fields(r: &mut Reader<'_>, key: &'static str, most: usize) -> Option<Vec<FieldPath>> {
    let nodes = r.list(key)?;
    if nodes.len() > most {
        r.mistake(r.at(key), format!("`{key}` has {} values, at most {most} are possible", nodes.len()));
        return None;
    }
    let mut fields: Vec<FieldPath> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let Some(text) = r.text_of(&format!("`{key}`"), node) else { continue };
        match text.parse::<FieldPath>() {
            Ok(field) if fields.contains(&field) => {
                r.mistake(node.at.clone(), format!("`{key}` has \"{field}\" twice: keep one"));
            }
            Ok(field) => fields.push(field),
            Err(wrong) => r.mistake(node.at.clone(), format!("`{key}`: {wrong}")),
        }
    }
    Some(fields)
}

fn read_measures(r: &mut Reader<'_>, flags: &[&str]) -> Vec<Measure> {
    let nodes = r.list("measures");
    let count = nodes.as_ref().map_or(0, Vec::len);
    if count == 0 && (nodes.is_some() || !r.has("measures")) {
        let text = "a detector needs measures: add some, such as `measures = [\"count\", \"sum(B_action)\"]`";
        r.missing(text.to_owned());
    }
    if count > MAX_MEASURES {
        let text = format!("`measures` has {count} values, at most {MAX_MEASURES} are possible: add another detector");
        r.mistake(r.at("measures"), text);
        return Vec::new();
    }
    let mut measures = Vec::with_capacity(count);
    for node in nodes.iter().flatten() {
        match r.text_of("`measures`", node).map(|text| parse(&text, flags)) {
            Some(Ok(measure)) if measures.contains(&measure) => {
                let text = format!("`measures` has \"{measure}\" twice: keep one");
                r.mistake(node.at.clone(), text);
            }
            Some(Ok(measure)) => measures.push(measure),
            Some(Err(wrong)) => r.mistake(node.at.clone(), format!("`measures`: {wrong}")),
            None => {}
        }
    }
    measures
}

const KNOWN: &str =
    "count, silence, sum(X), ratio(X), mean(X), p95(X) or another quantile, distinct(X), new(X) or rare(X)";

/// Reads a measure; X is a flag in a ratio, a flag or the path of a numeric field in a sum, else the path of a field.
///
/// # Errors
/// What is wrong and what to do.
fn parse(text: &str, flags: &[&str]) -> Result<Measure, String> {
    let text = text.trim();
    match text {
        "count" => return Ok(Measure::Count),
        "silence" => return Ok(Measure::Silence),
        _ => {}
    }
    let inner = text.strip_suffix(')').and_then(|text| text.split_once('('));
    let (name, argument) = inner.ok_or_else(|| format!("{} is no measure: write {KNOWN}", shown(text)))?;
    let argument = argument.trim();
    let field = || argument.parse::<FieldPath>().map_err(|wrong| wrong.to_string());
    match name.trim() {
        "mean" => return field().map(Measure::Mean),
        "distinct" => return field().map(Measure::Distinct),
        "new" => return field().map(Measure::New),
        "rare" => return field().map(Measure::Rare),
        quantile => {
            if let Some(thousandths) = thousandths(quantile) {
                return field().map(|path| Measure::Quantile(thousandths, path));
            }
        }
    }
    let flag = flags.iter().position(|flag| *flag == argument);
    let flag = flag.map(|index| Operand::Flag(index, argument.to_owned()));
    match (name.trim(), flag) {
        ("sum", Some(flag)) => Ok(Measure::Sum(flag)),
        ("ratio", Some(flag)) => Ok(Measure::Ratio(flag)),
        ("sum", None) => match misspelt(argument, flags) {
            Some(flag) => Err(format!(
                "there is no flag {}; did you mean `{flag}`? If it is a field, write sum(\\{argument}) in single quotes",
                shown(argument)
            )),
            None => argument
                .parse()
                .map(|path: FieldPath| Measure::Sum(Operand::Field(path)))
                .map_err(|wrong| wrong.to_string()),
        },
        ("ratio", None) => Err(match nearest(argument, flags.iter().copied()) {
            Some(flag) => format!("there is no flag {}; did you mean `{flag}`?", shown(argument)),
            None if flags.is_empty() => {
                "a ratio needs a flag, and this pipeline has none: add [[pipeline.flags]]".to_owned()
            }
            None => format!("there is no flag {}; a ratio needs one of {}", shown(argument), flags.join(", ")),
        }),
        (other, _) => Err(format!("there is no measure {}; write {KNOWN}", shown(other))),
    }
}

/// `p95` as 950, `p99.9` as 999.
fn thousandths(name: &str) -> Option<u16> {
    let percent = name.strip_prefix('p')?;
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 2) || !digits(tenth, 1) {
        return None;
    }
    let value = whole.parse::<u16>().ok()? * 10 + tenth.parse::<u16>().ok()?;
    (value > 0).then_some(value)
}

/// The flag that a field's name is almost, so that the field is probably a typing mistake.
fn misspelt<'a>(name: &str, flags: &[&'a str]) -> Option<&'a str> {
    let near = |flag: &&&str| {
        name.len() <= 64
            && (flag.eq_ignore_ascii_case(name) || (flag.len() > 3 && strsim::damerau_levenshtein(flag, name) == 1))
    };
    // A backslash before the first letter changes nothing in a path, but shows that a path is meant.
    let plain = !name.starts_with('\\');
    flags.iter().find(near).copied().filter(|_| plain)
}

/// Writes a measure so that it reads back as the same.
fn show(measure: &Measure, flags: &[&str]) -> String {
    match measure {
        Measure::Sum(Operand::Field(path)) => {
            let text = path.to_string();
            let marked = misspelt(&text, flags).is_some() || text.starts_with(char::is_whitespace);
            format!("sum({}{text})", if marked { "\\" } else { "" })
        }
        measure => measure.to_string(),
    }
}

/// Writes the detectors.
pub(super) fn write_all(pipeline: &Pipeline, w: &mut Writer) {
    let flags: Vec<&str> = pipeline.flag_names().collect();
    for detector in &pipeline.detectors {
        w.table(TITLE);
        w.text("name", &detector.name);
        w.list("measures", detector.measures.iter().map(|measure| show(measure, &flags)));
        w.duration("window", span(detector.window));
        w.duration("hop", span(detector.hop));
        w.duration("lateness", span(detector.lateness));
        w.plain("threshold", detector.threshold);
        w.list("by", detector.by.iter().map(ToString::to_string));
        w.list("explain", detector.explain.iter().map(ToString::to_string));
        w.plain("why_values", detector.why_values);
        w.choice("model", detector.model, TIERS);
        w.choice("emit", detector.emit, EMITS);
        w.plain("max_series", detector.max_series);
        w.duration("forget", span(detector.forget));
    }
}
