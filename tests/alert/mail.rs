//! A real mail server, and what `outlier setup --test` says of it.

use crate::scene::Scene;
use crate::support::tls::Certificate;
use crate::support::{Folder, wait};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The Python that has aiosmtpd.
fn python() -> Option<String> {
    let python = std::env::var("OUTLIER_AIOSMTPD_PYTHON").ok().filter(|path| !path.is_empty());
    if python.is_none() {
        println!("skipped: OUTLIER_AIOSMTPD_PYTHON is not set");
    }
    python
}

/// `mail_server.py`, which puts mails into a folder.
struct Server {
    child: Child,
    port: u16,
    mails: PathBuf,
}

impl Server {
    /// `files` are its certificate and its key, where `security` is not "none".
    fn start(python: &str, folder: &Path, security: &str, files: &[PathBuf]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mails = folder.join(format!("mails-{security}"));
        let child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alert/mail_server.py"))
            .arg(port.to_string())
            .arg(&mails)
            .arg(security)
            .args(files)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, mails };
        let up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait("the mail server", Duration::from_secs(30), up);
        server
    }

    /// A channel to it, with more lines.
    fn channel(&self, security: &str, more: &str) -> String {
        let port = self.port;
        format!(
            "[[alerting.channels]]\nname = \"mail\"\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             security = \"{security}\"\nfrom = \"outlier@example.com\"\n\
             to = [\"oncall@example.com\", \"team@example.com\"]\n{more}\n"
        )
    }

    fn mails(&self) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.mails.join("new")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        // Long lines are broken on the way.
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap().replace("=\n", "")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_mail_for_one_anomaly_and_one_when_it_is_over() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let server = Server::start(&python, &folder.0, "none", &[]);
    let scene = Scene::new("alert-mail", &server.channel("none", ""));
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[1.0, 99.5]);
    wait("the first mail", Duration::from_secs(30), || server.mails().len() == 1);
    scene.rows("sum(bad)", 2, &[1.0, 1.0, 1.0]);
    wait("the second mail", Duration::from_secs(30), || server.mails().len() == 2);
    scene.settled();
    assert!(alert.stop().success());
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    let has = |mail: &str, line: &str| assert!(mail.contains(line), "{line} in\n{mail}");
    has(&mails[0], "Subject: Critical anomaly: p: action sum(bad), score 99.5");
    has(&mails[0], "To: oncall@example.com, team@example.com");
    has(&mails[0], "is anomalous: critical, 99.5 where 1 was expected (0 to 7), score 99.5");
    has(&mails[1], "Subject: Resolved: p: action sum(bad)");
    let id = |mail: &str| mail.lines().find_map(|line| line.strip_prefix("Message-ID: ").map(str::to_owned)).unwrap();
    assert!(id(&mails[0]).ends_with("@example.com>") && id(&mails[0]) != id(&mails[1]));
}

/// Somebody has left: the others are told, and of what comes later, too.
#[test]
fn an_address_that_is_refused_keeps_the_mail_from_nobody() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let server = Server::start(&python, &folder.0, "none", &[]);
    let channel = server.channel("none", "").replace("\"oncall@", "\"left@example.com\", \"oncall@");
    let scene = Scene::new("alert-left", &channel);
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0, 1.0, 1.0, 1.0]);
    // Of each message two copies: the server takes them one by one.
    wait("the mails", Duration::from_secs(30), || server.mails().len() == 4);
    scene.settled();
    assert!(crate::support::read(&alert.log).contains("left@example.com: permanent error (550)"));
    assert!(alert.stop().success());
    assert_eq!(server.mails().len(), 4);
}

#[test]
fn a_mail_goes_with_a_password_over_tls_to_whom_the_authority_vouches_for() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let authority = Certificate::authority("mail authority");
    let own = authority.issue("mail");
    let file = |name: &str, text: String| {
        let path = folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let trusted = file("ca.pem", authority.pem()).display().to_string();
    let stranger = file("other.pem", Certificate::authority("another").pem()).display().to_string();
    let files = [file("mail.pem", own.pem()), file("mail.key", own.key_pem())];
    for security in ["start_tls", "tls"] {
        let server = Server::start(&python, &folder.0, security, &files);
        let test = |ca: &str, password: &str| {
            let more = format!("{ca}\nusername = \"outlier\"\npassword = \"{password}\"");
            let text = format!("[alerting]\nowner = \"outlier\"\n{}", server.channel(security, &more));
            let config = file("outlier.toml", crate::support::text(&text, "p"));
            let mut command = Command::new(env!("CARGO_BIN_EXE_outlier"));
            let output = command.arg("--config").arg(config).args(["setup", "--test", "mail"]).output().unwrap();
            let said = if output.status.success() { output.stdout } else { output.stderr };
            (output.status.success(), String::from_utf8(said).unwrap())
        };
        let ca = |path: &str| format!("ca_file = {path:?}");
        for (ca, password, told) in [
            (String::new(), "secret", "the channel's `ca_file` names"),
            (ca(&stranger), "secret", "the channel's `ca_file` names"),
            (ca("nowhere.pem"), "secret", "ca_file nowhere.pem cannot be read"),
            (ca(&trusted), "wrong", "535"),
        ] {
            let (done, said) = test(&ca, password);
            assert!(!done && said.contains(told), "{security}, {ca}, {password}: {told} in {said}");
        }
        assert!(server.mails().is_empty());
        assert_eq!(test(&ca(&trusted), "secret"), (true, "mail: delivered by outlier itself\n".to_owned()));
        let mails = server.mails();
        assert!(mails.len() == 1 && mails[0].contains("Subject: Test message of outlier"), "{security}: {mails:?}");
    }
}
