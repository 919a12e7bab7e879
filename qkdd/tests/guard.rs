//! A real daemon is locked, unlocked, zeroized and tampered with, and its walls are looked at from outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use qkd_proto::secret::SecretBytes;
use qkdd::config::Config;
use qkdd::hardening::fence::{Fenced, enter};
use qkdd::hardening::{Wanted, syscalls};
use qkdd::store::audit::report::{Verdict, last, verify};
use qkdd::store::data_dir::DataDir;
use rcgen::{CertificateParams, KeyPair};

mod two_nodes;

const WAIT: Duration = Duration::from_secs(60);
const ZEROIZED: i32 = 79;
const WORDS: &str = "correct horse battery staple";

/// The folder of a node whose only neighbour is not there.
struct Home(tempfile::TempDir);

impl Home {
    fn new(extra: &str) -> Self {
        let home = Self(tempfile::Builder::new().prefix("q").tempdir().expect("a folder"));
        home.write("roster.cbor", &two_nodes::roster(), 0o600);
        home.write("identity.key", "01".repeat(32).as_bytes(), 0o600);
        home.write("a-b.psk", "02".repeat(32).as_bytes(), 0o600);
        home.write("master.key", "03".repeat(32).as_bytes(), 0o600);
        home.write("words", WORDS.as_bytes(), 0o600);
        let pair = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec!["localhost".into()]).expect("a name").self_signed(&pair);
        let certificate = certificate.expect("a certificate").pem();
        home.write("kme.pem", certificate.as_bytes(), 0o600);
        home.write("ca.pem", certificate.as_bytes(), 0o600);
        home.write("kme.key", pair.serialize_pem().as_bytes(), 0o600);
        let public = two_nodes::network_key();
        let text = format!(
            "node = \"a\"\nnetwork_key = \"{public}\"\n[overlay]\nlisten = \"127.0.0.1:0\"\n[supply]\n\
             listen = \"127.0.0.1:0\"\n[[link]]\nname = \"a-b\"\npsk = \"a-b.psk\"\nlength = \"10km\"\n{extra}"
        );
        home.write("qkdd.toml", text.as_bytes(), 0o600);
        DataDir::prepare(&home.path("data")).expect("a data directory");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        fs::write(self.path(name), bytes).expect("a file");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn qkdd(&self, option: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qkdd"));
        command.arg(option).arg(self.path("qkdd.toml")).stdin(Stdio::null());
        command
    }

    fn ended(&self, option: &str) -> Output {
        self.qkdd(option).output().expect("it runs")
    }

    /// A daemon that answers.
    fn start(&self) -> Daemon {
        let log = fs::File::create(self.path("log")).expect("a log");
        let child = self.qkdd("--config").stderr(log).spawn().expect("it starts");
        let mut daemon = Daemon { child, socket: self.path("qkdd.sock"), log: self.path("log") };
        let began = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            let ended = daemon.child.try_wait().expect("a state");
            assert!(ended.is_none() && began.elapsed() < WAIT, "{ended:?}\n{}", daemon.told());
            std::thread::sleep(Duration::from_millis(20));
        }
        // The walls are up before the first answer.
        assert!(daemon.ask("GET", "/v1/status", "").contains("\"node\":\"a\""));
        daemon
    }
}

struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("a connection");
        stream.set_read_timeout(Some(WAIT)).expect("a limit");
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: qkdd\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).expect("a request");
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a state") {
                return status;
            }
            assert!(began.elapsed() < WAIT, "{}", self.told());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("a process")
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        assert!(self.end().success(), "{}", self.told());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn events(home: &Home) -> Vec<String> {
    let lines = last(&home.path("data"), 100).expect("a log");
    lines.iter().map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect()
}

fn log_of(home: &Home) -> Verdict {
    verify(&home.path("data"), Some(&SecretBytes::new(vec![3; 32]))).expect("a log")
}

#[test]
fn the_walls_stand_while_it_serves() {
    let walls = "[hardening]\nlandlock = \"require\"\nseccomp = \"require\"\nmemory = \"require\"\n";
    let home = Home::new(&format!("{walls}[audit]\nfile_size = \"4KiB\"\nfiles = 2\n"));
    let daemon = home.start();
    let status = daemon.proc("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!((field("Seccomp"), field("NoNewPrivs"), field("Umask")), ("2".into(), "1".into(), "0077".into()));
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.child.id())).expect("threads");
    for thread in threads.flatten() {
        let told = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        assert!(told.is_empty() || told.contains("Seccomp:\t2"), "{told}");
    }
    let core = daemon.proc("limits").lines().find(|line| line.starts_with("Max core")).expect("a limit").to_owned();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // A process that may be dumped belongs to its user; this one to root, whoever runs it.
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(format!("/proc/{}/environ", daemon.child.id())).expect("a file").uid();
    assert_eq!(owner, 0);
    assert!(daemon.told().contains("landlock=enforced"), "{}", daemon.told());
    assert!(!daemon.told().contains("There is no anchor"), "{}", daemon.told());
    // Behind them the audit log begins new files and drops old ones.
    let began = Instant::now();
    while log_of(&home).first_seq <= Some(1) {
        assert!(daemon.ask("POST", "/v1/lock", "{}").starts_with("HTTP/1.1 200"));
        assert!(daemon.ask("POST", "/v1/unlock", "{}").starts_with("HTTP/1.1 200"));
        assert!(began.elapsed() < WAIT, "{}", daemon.told());
    }
    daemon.stop();
    let verdict = log_of(&home);
    assert!(verdict.whole && verdict.files == 3, "{verdict:?}");
}

/// A Landlock domain holds for the thread that enters it, so that this test can look from within.
#[test]
fn behind_the_fence_only_own_files_open() {
    let home = Home::new("[hardening]\nlandlock = \"require\"\n");
    let (file, other) = (home.path("qkdd.toml"), tempfile::tempdir().expect("a folder"));
    let config = Config::load(&file).expect("a configuration");
    let foreign = other.path().join("x");
    fs::write(&foreign, "x").expect("a file");
    let data = home.path("data");
    std::thread::spawn(move || {
        assert!(enter(&file, &config).expect("a fence") != Fenced::No);
        fs::read(&file).expect("the configuration");
        fs::write(data.join("x"), "x").expect("the data directory");
        fs::read("/proc/self/mountinfo").expect("how disks are mounted");
        for path in [Path::new("/etc/passwd"), &foreign] {
            let refused = fs::read(path).expect_err("it is closed");
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{}", path.display());
        }
        assert!(fs::write(foreign.with_file_name("y"), "y").is_err());
    })
    .join()
    .expect("a thread");
}

/// Started by the next test in a process of its own.
#[test]
#[ignore = "it puts a filter on its process"]
fn probe_of_the_filter() {
    let Some(probe) = std::env::var_os("QKDD_PROBE") else { return };
    syscalls::enter(Wanted::Require).expect("a filter");
    if probe == "exec" {
        let refused = Command::new("/bin/true").exec();
        panic!("it lives on: {refused}");
    }
    // Not listed, and not deadly.
    let refused = std::os::unix::fs::chown("/tmp", None, None).expect_err("it is not listed");
    assert_eq!(refused.raw_os_error(), Some(1));
}

#[test]
fn a_deadly_call_kills_and_any_other_is_refused() {
    let probe = |what: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "probe_of_the_filter", "--ignored"]).env("QKDD_PROBE", what);
        command.output().expect("it runs").status
    };
    assert!(probe("chown").success());
    assert_eq!(probe("exec").signal(), Some(31), "SIGSYS");
}

#[test]
fn a_locked_node_needs_its_passphrase() {
    let home = Home::new("[store]\npassphrase_file = \"words\"\n");
    fs::remove_file(home.path("master.key")).expect("removed");
    let daemon = home.start();
    assert!(daemon.ask("GET", "/v1/status", "").contains("\"locked\":false"));
    assert!(daemon.ask("POST", "/v1/lock", "{}").starts_with("HTTP/1.1 200"));
    let status = daemon.ask("GET", "/v1/status", "");
    assert!(status.contains("\"locked\":true") && status.contains("QKD-3003"), "{status}");
    for wrong in ["{}", "{\"secret\":\"incorrect horse battery\"}", "{\"secret\":\"x\"}", "{\"seecret\":\"x\"}"] {
        assert!(daemon.ask("POST", "/v1/unlock", wrong).starts_with("HTTP/1.1 400"), "{wrong}");
    }
    assert!(daemon.ask("GET", "/v1/status", "").contains("\"locked\":true"));
    let right = format!("{{\"secret\":\"{WORDS}\"}}");
    assert!(daemon.ask("POST", "/v1/unlock", &right).starts_with("HTTP/1.1 200"));
    assert!(daemon.ask("GET", "/v1/status", "").contains("\"locked\":false"));
    assert!(!daemon.told().contains(WORDS));
    daemon.stop();
    assert_eq!(events(&home), ["locked", "unlocked"]);
    // The same passphrase opens it again, another does not.
    home.start().stop();
    home.write("words", b"another horse entirely", 0o600);
    let refused = home.ended("--config");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("the passphrase is wrong"), "{told}");
}

fn is_destroyed(home: &Home, daemon: &mut Daemon, reason: &str) {
    let status = daemon.end();
    let told = daemon.told();
    assert!(status.code() == Some(ZEROIZED) && told.contains("ZEROIZED") && told.contains(reason), "{status} {told}");
    let names = fs::read_dir(home.path("data")).expect("a folder").flatten();
    let mut left: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["ZEROIZED", "audit.head", "audit.log", "lock"]);
    assert!(log_of(home).whole && events(home).last().is_some_and(|event| event == "zeroized"), "{:?}", events(home));
    let again = home.ended("--config");
    let told = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(ZEROIZED) && told.contains("was zeroized"), "{told}");
}

#[test]
fn a_zeroized_node_starts_after_a_reset_only() {
    let home = Home::new("");
    let mut daemon = home.start();
    assert!(daemon.ask("POST", "/v1/zeroize", "{\"i_know\":false}").starts_with("HTTP/1.1 400"));
    assert!(daemon.ask("POST", "/v1/zeroize", "{\"i_know\":true}").starts_with("HTTP/1.1 200"));
    is_destroyed(&home, &mut daemon, "by order of an operator");
    assert!(home.ended("--reset-pools").status.success());
    let daemon = home.start();
    assert!(daemon.ask("GET", "/v1/status", "").contains("\"incarnation\":1"));
    daemon.stop();
    // A node that is stopped is zeroized by the program itself, one that runs is not.
    let daemon = home.start();
    assert!(!home.ended("--zeroize").status.success());
    daemon.stop();
    assert!(home.ended("--zeroize").status.success());
    assert_eq!(home.ended("--config").status.code(), Some(ZEROIZED));
}

#[test]
fn a_sign_of_tampering_zeroizes() {
    let home = Home::new("[tamper]\nfile = \"open\"\nseal = \"seal\"\ngpio = \"gpio\"\nsignal = \"SIGUSR2\"\n");
    type Sign = fn(&Home, &Daemon);
    let signs: [(Sign, &str); 4] = [
        (|home, _| home.write("open", b"", 0o600), "open is there"),
        (|home, _| home.write("seal", b"y", 0o600), "seal is gone or was changed"),
        (|home, _| home.write("gpio", b"1\n", 0o600), "gpio is active"),
        (
            |_, daemon| {
                let pid = rustix::process::Pid::from_child(&daemon.child);
                rustix::process::kill_process(pid, rustix::process::Signal::USR2).expect("a signal");
            },
            "signal SIGUSR2",
        ),
    ];
    for (sign, reason) in signs {
        home.write("seal", b"x", 0o600);
        home.write("gpio", b"0\n", 0o600);
        let _ = fs::remove_file(home.path("open"));
        let mut daemon = home.start();
        let began = Instant::now();
        sign(&home, &daemon);
        is_destroyed(&home, &mut daemon, reason);
        println!("{reason}: {} ms", began.elapsed().as_millis());
        assert!(home.ended("--reset-pools").status.success());
    }
    // What already shows at the start is not overlooked.
    home.write("open", b"", 0o600);
    let ended = home.ended("--config");
    assert_eq!(ended.status.code(), Some(ZEROIZED), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.signal(), None);
}

#[test]
fn what_others_could_change_is_refused() {
    let home = Home::new("");
    home.write("qkdd.toml", &fs::read(home.path("qkdd.toml")).expect("a file"), 0o622);
    let refused = home.ended("--check-config");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("run chmod go-w"), "{refused:?}");
    home.write("qkdd.toml", &fs::read(home.path("qkdd.toml")).expect("a file"), 0o600);
    fs::set_permissions(home.0.path(), fs::Permissions::from_mode(0o770)).expect("a mode");
    let refused = home.ended("--check-config");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("control.socket lies where others"), "{refused:?}");
}
