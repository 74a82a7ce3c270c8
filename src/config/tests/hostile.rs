//! Whatever the file holds, it is refused or read; nothing panics and nothing takes long.

use super::{MINIMAL, check, mistakes, parse};
use crate::config::{Config, effective};
use proptest::prelude::*;

#[test]
fn not_a_text_file() {
    let path = std::env::temp_dir().join(format!("outlier-hostile-{}.toml", std::process::id()));
    for (bytes, want) in [
        (&b"[kafka]\nx = \"\xff\""[..], ":2:6: this is not UTF-8: save the file as UTF-8"),
        (&vec![b'#'; (1 << 20) + 1], ": the file has more than 1048576 bytes"),
        (b"\0\0\0", ":1:1: "),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let got = Config::load(Some(&path)).unwrap_err().to_string();
        let want = format!("{}{want}", path.display());
        assert!(got.starts_with(&want), "{got}\n{want}");
    }
    std::fs::remove_file(&path).unwrap();
    let got = Config::load(Some(&std::env::temp_dir())).unwrap_err().to_string();
    assert!(got.contains("the file cannot be read"), "{got}");
}

#[test]
fn huge_numbers() {
    let digits = "9".repeat(400);
    let text = format!(
        "{MINIMAL}window = \"{digits}s\"\nthreshold = {digits}\nmax_depth = {digits}\nmax_record_bytes = {digits}\n[kafka]\nraw_partitions = -{digits}\nreplication_factor = 1e999\n[process]\nidle_timeout = {digits}\nmax_batch_records = 0xffffffffffffffffffffffffffffffffffffff\n"
    );
    check(
        &text,
        &[],
        &[
            "3:10 `window` is no duration",
            "4:13 `threshold` must be a number",
            "5:13 `max_depth` must be",
            "6:20 `max_record_bytes` must be",
            "8:18 `raw_partitions` must be",
            "9:22 `replication_factor` must be",
            "11:16 `idle_timeout` needs a unit",
            "12:21 `max_batch_records` must be",
        ],
    );
    assert!(mistakes(&text, &[]).iter().all(|mistake| mistake.len() < 700));
}

#[test]
fn deep_nesting() {
    let n = 100_000;
    let nested = format!("{}x={}", "a.".repeat(79), "{a.a.a.a.a.a.a.a.a.a.a.a=[".repeat(70));
    for text in [
        format!("x = {}", "[".repeat(n)),
        format!("x = {}{}", "[".repeat(n), "]".repeat(n)),
        format!("x = {}", "{a=".repeat(n)),
        format!("{}x = 1", "a.".repeat(n)),
        format!("[{}x]", "a.".repeat(n)),
        format!("[[{}x]]", "a.".repeat(n)),
        format!("[kafka.properties]\n{}x = 1", "a.".repeat(70)),
        format!("x = \"{}\"", "${".repeat(n)),
        nested,
    ] {
        assert!(!mistakes(&text, &[]).is_empty());
        let env = [("OUTLIER__KAFKA__X", text.as_str())];
        assert!(!mistakes(MINIMAL, &env).is_empty());
    }
    let name = format!("OUTLIER__{}", "A__".repeat(n));
    check(MINIMAL, &[(&format!("{name}B"), "x")], &["environment variable OUTLIER__…no path to a key"]);
}

#[test]
fn many_of_everything() {
    let pipelines: String = (0..65).map(|i| format!("[[pipeline]]\nname = \"p{i}\"\n")).collect();
    check(&pipelines, &[], &["1:1 there must be 1 to 64 pipelines, not 65"]);
    let detectors = "[[pipeline.detectors]]\n".repeat(257);
    check(&format!("{MINIMAL}{detectors}"), &[], &["3:1 there are 257 detectors, at most 256"]);
    let flags = "[[pipeline.flags]]\n".repeat(65);
    check(&format!("{MINIMAL}{flags}"), &[], &["3:1 there are 65 flag groups, at most 64"]);
    let unknown: String = (0..2_000).map(|i| format!("k{i} = {i}\n")).collect();
    assert_eq!(mistakes(&format!("{unknown}{MINIMAL}"), &[]).len(), 2_000);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", lines in prop::collection::vec("[a-z_.\\[\\]{}=\", 0-9\n$#-]{0,30}", 0..10)) {
        let _ = parse(&text, &[]);
        let _ = parse(&lines.join("\n"), &[]);
    }

    /// A sound file with some bytes cut out or put in.
    #[test]
    fn a_damaged_file_is_read_or_refused(from in 0usize..3_000, length in 0usize..60, put in "[\\PC\n]{0,6}") {
        let text = include_str!("../../../config/waf.toml");
        let from = text.floor_char_boundary(from.min(text.len()));
        let to = text.floor_char_boundary((from + length).min(text.len()));
        let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
        if let Ok(config) = parse(&damaged, &[]) {
            let shown = effective(&config);
            prop_assert_eq!(parse(&shown, &[]), Ok(config), "{}", shown);
        }
    }
}
