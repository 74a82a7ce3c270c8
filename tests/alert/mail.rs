//! A real mail server.

use crate::scene::Scene;
use crate::support::wait;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// aiosmtpd, which puts mails into a folder.
struct Server {
    child: Child,
    port: u16,
    mails: PathBuf,
}

impl Server {
    fn start(python: &str, folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mails = folder.join("mails");
        let child = Command::new(python)
            .args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}"), "-c", "aiosmtpd.handlers.Mailbox"])
            .arg(&mails)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, mails };
        let up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait("the mail server", Duration::from_secs(30), up);
        server
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
    let Some(python) = std::env::var("OUTLIER_AIOSMTPD_PYTHON").ok().filter(|path| !path.is_empty()) else {
        println!("skipped: OUTLIER_AIOSMTPD_PYTHON is not set");
        return;
    };
    let folder = crate::support::Folder::new();
    let server = Server::start(&python, &folder.0);
    let port = server.port;
    let channel = format!(
        "[[alerting.channels]]\nname = \"mail\"\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\n\
         from = \"outlier@example.com\"\nto = [\"oncall@example.com\", \"team@example.com\"]\n"
    );
    let scene = Scene::new("alert-mail", &channel);
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
