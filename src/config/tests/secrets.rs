//! Secrets: from files and variables, and never in what is printed.

use super::{MINIMAL, check, mistakes, valid};
use crate::config::{Recipient, effective};

const TEXT: &str = r#"
[kafka.properties]
sasl.password = "hunter2-a"
ssl.key.pem = "hunter2-b"
sasl.oauthbearer.client.secret = "hunter2-c"
sasl.username = "seen"
[opensearch]
username = "seen"
password = "hunter2-d"
[[alerting.channels]]
name = "n"
type = "webhook"
url = "https://h/hunter2-e"
[serve]
token = "hunter2-f"
[telemetry]
token = "${TOKEN}"
"#;

#[test]
fn secrets_are_never_shown() {
    let config = valid(&format!("{MINIMAL}{TEXT}"), &[("TOKEN", "hunter2-g")]);
    assert_eq!(config.telemetry.listen.token.as_ref().map(|s| s.expose()), Some("hunter2-g"));
    assert_eq!(config.kafka.properties["sasl.password"].expose(), "hunter2-a");
    let shown = effective(&config);
    for text in [shown.clone(), format!("{config:?}"), format!("{config:#?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(shown.matches("***").count(), 7, "{shown}");
    assert_eq!(effective(&valid(&shown, &[])), shown);
}

#[test]
fn a_password_without_quotes_is_a_secret() {
    for (written, password) in
        [("20261123", "20261123"), ("2026_1123", "20261123"), ("2026.1123", "2026.1123"), ("true", "true")]
    {
        let config = valid(&format!("{MINIMAL}[kafka.properties]\n\"sasl.password\" = {written}\n"), &[]);
        let property = &config.kafka.properties["sasl.password"];
        assert_eq!(property.expose(), password);
        let shown = effective(&config);
        assert!(shown.contains("\"sasl.password\" = \"***\""), "{shown}");
        assert!(
            !shown.contains(&format!("= \"{password}\""))
                && !format!("{config:?}").contains(&format!("\"{password}\"")),
            "{shown}"
        );
        assert_eq!(format!("{property:?}"), "Secret(***)");
    }
}

#[test]
fn a_token_is_not_shown_either() {
    let config = valid(&format!("{MINIMAL}[opensearch]\ntoken = \"hunter2\"\n"), &[]);
    assert_eq!(config.opensearch.token.as_ref().map(|token| token.expose()), Some("hunter2"));
    let shown = effective(&config);
    assert!(
        shown.contains("token = \"***\"") && !shown.contains("hunter2") && !format!("{config:?}").contains("hunter2")
    );
}

#[test]
fn mistakes_show_no_secret() {
    let text = format!(
        "{MINIMAL}[opensearch]\nurls = [\"http://u:hunter2@\"]\npasword = \"hunter2\"\npassword = \"hunter2\" x\n[[alerting.channels]]\nname = \"n\"\ntype = \"webhook\"\nurl = \"hunter2 \"\n[serve]\ntoken = [\"hunter2\"]\nlisten = \"0.0.0.0:1\""
    );
    let env = [("OUTLIER__TELEMETRY__TOKN", "hunter2"), ("OUTLIER__KAFKA__PROPERTIES__GROUP_ID", "hunter2")];
    let got = mistakes(&text, &env).join("\n");
    assert!(got.lines().count() == 7 && !got.contains("hunter2"), "{got}");
}

#[test]
fn secrets_come_from_files() {
    let dir = std::env::temp_dir().join(format!("outlier-secret-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("token");
    std::fs::write(&file, "abc\r\n").unwrap();
    let env = [("DIR", dir.to_str().unwrap())];
    let text = format!(
        "{MINIMAL}[serve]\ntoken = \"file:${{DIR}}/token\"\n[[alerting.channels]]\nname = \"n\"\ntype = \"webhook\"\nurl = \"file:${{DIR}}/hook\""
    );
    std::fs::write(dir.join("hook"), "https://h/x").unwrap();
    let config = valid(&text, &env);
    assert_eq!(config.serve.listen.token.map(|s| s.expose().to_owned()).as_deref(), Some("abc"));
    assert!(
        matches!(&config.alerting.channels[0].recipient, Recipient::Webhook { url } if url.expose() == "https://h/x")
    );
    std::fs::write(&file, "\n").unwrap();
    check(&text, &env, &["4:9 `token` is empty"]);
    std::fs::remove_file(&file).unwrap();
    check(&text, &env, &["4:9 `token`: the file …cannot be used: No such file"]);
    std::fs::create_dir(&file).unwrap();
    check(&text, &env, &["4:9 `token`: the file …cannot be used: it must be a file"]);
    std::fs::remove_dir_all(&dir).unwrap();
}
