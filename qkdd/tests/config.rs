//! Every mistake in a configuration has a text that says what to do, and all are told together.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use qkdd::config::{Config, DeviceSettings, StoreSettings};
use qkdd::store::options::{AnchorDir, Profile};

mod two_nodes;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("roster.cbor", &two_nodes::roster(), 0o644);
        folder.write("identity.key", "01".repeat(32).as_bytes(), 0o600);
        for name in ["master.key", "kme.key", "a-b.psk"] {
            folder.write(name, "02".repeat(32).as_bytes(), 0o600);
        }
        folder.write("kme.pem", b"", 0o644);
        folder.write("ca.pem", b"", 0o644);
        folder
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("qkdd.toml")
    }

    fn load(&self, text: &str) -> Result<Config, String> {
        self.write("qkdd.toml", text.as_bytes(), 0o644);
        Config::load(&self.path()).map_err(|faults| faults.to_string())
    }
}

fn good() -> String {
    let key = two_nodes::network_key();
    format!(
        "node = \"a\"\nnetwork_key = \"{key}\"\n[overlay]\nlisten = \"127.0.0.1:7001\"\n[supply]\n\
         listen = \"127.0.0.1:8001\"\n[[link]]\nname = \"a-b\"\npsk = \"a-b.psk\"\nlength = \"10km\"\n"
    )
}

#[test]
fn defaults_fill_the_rest() {
    let folder = Folder::new();
    let config = folder.load(&good()).expect("a configuration");
    assert_eq!(config.control_socket, folder.0.path().join("qkdd.sock"));
    assert_eq!(config.links[0].device, DeviceSettings::Simulated);
    assert_eq!((config.links[0].preset.as_str(), config.links[0].capacity_bytes), ("lab", 262_144));
    assert!(!format!("{config:?}").contains("0202"), "no secret in Debug");
}

#[test]
fn the_store_is_kept_as_told() {
    let folder = Folder::new();
    let store = |text: &str| folder.load(&format!("{}[store]\n{text}", good())).map(|config| config.store);
    let day = Some(Duration::from_secs(86_400));
    assert_eq!(store("").unwrap(), StoreSettings { key_lifetime: day, ..StoreSettings::default() });
    assert_eq!(store("key_lifetime = \"2h\"\n").unwrap().key_lifetime, Some(Duration::from_secs(7200)));
    let given =
        store("key_lifetime = \"none\"\nanchor_dir = \"run\"\nprofile = \"ephemeral\"\nstrict = true\n").unwrap();
    let anchor_dir = AnchorDir::At(folder.0.path().join("run"));
    assert_eq!(given, StoreSettings { anchor_dir, profile: Profile::Ephemeral, strict: true, key_lifetime: None });
    assert_eq!(store("anchor_dir = \"none\"\n").unwrap().anchor_dir, AnchorDir::Nowhere);
    let error = store("profile = \"fast\"\nstrict = 1\n").expect_err("faults");
    assert!(error.contains("store.profile = \"fast\" is unknown: use durable or ephemeral"), "{error}");
    assert!(error.contains("store.strict"), "{error}");
}

#[test]
fn all_faults_come_together_with_their_lines() {
    let text = good().replace("10km", "10dB") + "los = \"0.2dB/km\"\neve = 2\n[log]\nlevel = \"loud\"\n[nonsense]\n";
    let path = Folder::new();
    let error = path.load(&text).expect_err("faults");
    for part in [
        ":10: link[1].length = \"10dB\" is not a number with one of the units km, m",
        ":11: link[1].los is not an option here: use one of",
        ":12: link[1].eve = 2 is outside 0 to 1",
        ":14: log.level = \"loud\": not a level",
        ":15: nonsense is not an option here",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}

#[test]
fn a_published_link_gives_what_the_file_does_not() {
    let folder = Folder::new();
    let load = |text: &str| folder.load(&good().replace("length = \"10km\"\n", text)).expect("a configuration");
    let emulated = &load("preset = \"tokyo-koganei1-otemachi1\"\n").links[0];
    assert_eq!((&emulated.device, emulated.length_km), (&DeviceSettings::Simulated, 45.0));
    assert_eq!(load("preset = \"tokyo-koganei1-otemachi1\"\nlength = \"20km\"\n").links[0].length_km, 20.0);
    let table = |text: &str| load(&format!("device = \"table\"\n{text}")).links[0].device.clone();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let DeviceSettings::Table { rate_bps, qber, schedule } = table("preset = \"satellite-beijing\"\n") else {
        panic!()
    };
    assert_eq!((rate_bps, qber, schedule.map(|schedule| schedule.pass)), (47.8e3, None, Some(minutes(5))));
    let own = "preset = \"secoqc-sie-erd\"\nrate = \"1kbit/s\"\npass_every = \"24h\"\npass_length = \"8h\"\n";
    let DeviceSettings::Table { rate_bps, qber, schedule } = table(own) else { panic!() };
    assert_eq!((rate_bps, qber, schedule.map(|schedule| schedule.period)), (1e3, Some(0.035), Some(minutes(24 * 60))));
}

#[test]
fn files_are_checked() {
    let folder = Folder::new();
    folder.write("master.key", "02".repeat(32).as_bytes(), 0o644);
    folder.write("a-b.psk", b"short", 0o600);
    std::fs::remove_file(folder.0.path().join("ca.pem")).expect("removed");
    let error = folder.load(&good()).expect_err("faults");
    assert!(error.contains("has mode 0644, at most 0600 is allowed: run chmod 600"), "{error}");
    assert!(error.contains("must hold 64 hex digits"), "{error}");
    assert!(error.contains("supply.client_ca file") && error.contains("cannot be read"), "{error}");
}

#[test]
fn membership_is_checked() {
    let folder = Folder::new();
    let error = folder.load(&good().replace("node = \"a\"", "node = \"c\"")).expect_err("not a member");
    assert!(error.contains(":1: node = \"c\" is not in the roster"), "{error}");
    let error = folder.load(&good().replace("node = \"a\"", "node = \"b\"")).expect_err("another's key");
    assert!(error.contains("identity_key is not the key that the roster gives for b"), "{error}");
    let error = folder.load(&good().replace("name = \"a-b\"", "name = \"a-c\"")).expect_err("no link");
    assert!(error.contains("is no link of a in the roster"), "{error}");
}

#[test]
fn the_rest_is_refused_too() {
    let folder = Folder::new();
    for (text, part) in [
        ("node = ".to_owned(), "not TOML"),
        (good() + "device = \"table\"\n", "rate is missing"),
        (good() + "device = \"table\"\nrate = \"1kbit/s\"\nqber = 0.01\nloss = \"1dB/km\"\n", "have no effect"),
        (good() + "preset = \"nowhere\"\n", "use one of lab, apd-1g, sdapd-1g, snspd-2.5g, or a published link"),
        (good() + "preset = \"satellite-beijing\"\n", "without a pulse model: use device = \"table\""),
        (good() + "device = \"table\"\nrate = \"1kbit/s\"\nqber = 0\npreset = \"lab\"\n", "is of emulated optics"),
        (good() + "device = \"table\"\nrate = \"1kbit/s\"\nqber = 0\npass_every = \"24h\"\n", "pass_length is missing"),
        (good() + "pass_offset = \"1h\"\n", "pass_offset needs device = \"table\""),
        (
            good() + "device = \"table\"\nrate = \"1kbit/s\"\nqber = 0\npass_every = \"1h\"\npass_length = \"2h\"\n",
            "would overlap",
        ),
        (good() + "mu = [0.1, 0.3]\n", "smaller decoy second"),
        (good() + "[insecure_test]\nself_pair = true\n", "add i_know = true"),
        (format!("{}[control]\nsocket = \"{}\"\n", good(), "x".repeat(200)), "at most 107 fit"),
        (good() + "[[sae]]\nid = \"s\"\n[[sae]]\nid = \"s\"\n", "appears twice"),
        (good() + "[[sae]]\nid = \"a/b\"\n", "is not a valid name"),
    ] {
        let error = folder.load(&text).expect_err(part);
        assert!(error.contains(part), "{part}\n{error}");
    }
    assert!(Config::load(&folder.0.path().join("none.toml")).is_err());
}
