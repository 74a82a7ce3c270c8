//! `[[pipeline.flags]]`: a good and a bad flag over one field.
//!
//! Invariant: no text that is easily found matches both lists of a group.

use super::{matcher, read_field};
use crate::config::names::{self, Unique};
use crate::config::reader::{Names, Reader};
use crate::config::text::quote;
use crate::config::tree::Value;
use crate::config::writer::{self, Writer};
use outlier_core::pipeline::{Fallback, Flag, FlagGroup, Matcher};

/// The most groups of a pipeline.
pub const MAX_GROUPS: usize = 64;
/// The most matchers of a flag.
pub const MAX_MATCHERS: usize = 1_000;

const TITLE: &str = "[[pipeline.flags]]";
const FALLBACKS: &Names<Fallback> = &[("bad", Fallback::Bad), ("neither", Fallback::Neither)];

/// Reads the groups in their order.
pub(super) fn read_all(pipeline: &mut Reader<'_>) -> Vec<FlagGroup> {
    let readers = pipeline.tables("flags", TITLE);
    if readers.len() > MAX_GROUPS {
        let text = format!(
            "there are {} flag groups, at most {MAX_GROUPS} are possible: move some to another pipeline",
            readers.len()
        );
        pipeline.mistake(pipeline.at("flags"), text);
        return Vec::new();
    }
    let mut unique = (Unique::new("flag groups"), Unique::new("flags"));
    readers.into_iter().map(|r| read(r, &mut unique)).collect()
}

fn read(mut r: Reader<'_>, (groups, flags): &mut (Unique, Unique)) -> FlagGroup {
    let name = r.name("\"action\"", names::check_name);
    groups.add(&r, r.at("name"), &name);
    let field = read_field(&mut r, "field", None);
    let other = r.choice("other", Fallback::Neither, FALLBACKS);
    let missing = r.choice("missing", other, FALLBACKS);
    let ignore_case = r.bool("ignore_case", false);
    // Without matchers a bad flag still means something when other or missing values are bad.
    let bad_by_rule = other == Fallback::Bad || missing == Fallback::Bad;
    let good = read_flag(&mut r, "good", "[pipeline.flags.good]", false, flags);
    let bad = read_flag(&mut r, "bad", "[pipeline.flags.bad]", bad_by_rule, flags);
    let both = good.matchers.iter().find_map(|a| {
        let mut with = bad.matchers.iter();
        with.find_map(|b| matcher::overlap(a, b, ignore_case).map(|text| (a, b, text)))
    });
    if let Some((a, b, text)) = both {
        let (a, b) = (matcher::show(a), matcher::show(b));
        let text = format!("{text:?} would be good by {a:?} and bad by {b:?}: change one so that no text matches both");
        r.mistake(r.at("bad"), text);
    }
    r.finish();
    FlagGroup { name, field, good, bad, other, missing, ignore_case }
}

fn read_flag(group: &mut Reader<'_>, key: &'static str, title: &str, may_be_empty: bool, unique: &mut Unique) -> Flag {
    if !group.has(key) {
        group.missing(format!(
            "{TITLE} lacks `{key}`: add it, such as `{key} = {{ name = \"{key}_action\", match = [\"ALLOW\"] }}`"
        ));
    }
    let mut r = group.table(key, title);
    if !group.has(key) {
        return Flag { name: String::new(), matchers: Vec::new() };
    }
    let name = r.name("\"B_action\"", names::check_flag);
    unique.add(&r, r.at("name"), &name);
    let matchers = read_matchers(&mut r, may_be_empty);
    r.finish();
    Flag { name, matchers }
}

fn read_matchers(r: &mut Reader<'_>, may_be_empty: bool) -> Vec<Matcher> {
    let nodes = r.list("match");
    let count = nodes.as_ref().map_or(0, Vec::len);
    if count == 0 && !may_be_empty && (nodes.is_some() || !r.has("match")) {
        let text =
            "`match` has no values, so this flag would never be 1: name some, such as `match = [\"BLOCK\", \"4xx\"]`";
        r.missing(text.to_owned());
    }
    if count > MAX_MATCHERS {
        let text = format!("`match` has {count} values, at most {MAX_MATCHERS} are possible: use prefixes or ranges");
        r.mistake(r.at("match"), text);
        return Vec::new();
    }
    let mut matchers: Vec<Matcher> = Vec::with_capacity(count);
    for node in nodes.iter().flatten() {
        let matcher = match &node.value {
            Value::Integer(text) | Value::Float(text) => Matcher::Literal(text.clone()),
            Value::Bool(value) => Matcher::Literal(value.to_string()),
            _ => match r.text_of("`match`", node).map(|text| matcher::parse(&text)) {
                Some(Ok(matcher)) => matcher,
                Some(Err(wrong)) => {
                    r.mistake(node.at.clone(), format!("`match` {wrong}"));
                    continue;
                }
                None => continue,
            },
        };
        if matchers.contains(&matcher) {
            let text = format!("`match` has {:?} twice: keep one", matcher::show(&matcher));
            r.mistake(node.at.clone(), text);
        }
        matchers.push(matcher);
    }
    matchers
}

/// Writes the groups.
pub(super) fn write_all(groups: &[FlagGroup], w: &mut Writer) {
    for group in groups {
        w.table(TITLE);
        w.text("name", &group.name);
        w.text("field", &group.field.to_string());
        for (key, flag) in [("good", &group.good), ("bad", &group.bad)] {
            let matchers = writer::list(flag.matchers.iter().map(matcher::show));
            let name = quote(&flag.name);
            w.plain(key, format!("{{ name = {name}, match = {matchers} }}"));
        }
        w.choice("other", group.other, FALLBACKS);
        w.choice("missing", group.missing, FALLBACKS);
        w.plain("ignore_case", group.ignore_case);
    }
}
