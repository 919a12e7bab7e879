//! The repository's pages agree with its code: the map names every folder, the glossary every id and
//! form of key material, links lead somewhere, and the lock file keeps the floors of `deny.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// Versions below these have known faults; older copies beside a newer one count too.
const FLOORS: [(&str, [u64; 3]); 12] = [
    ("libp2p-gossipsub", [0, 50, 1]),
    ("yamux", [0, 13, 10]),
    ("rustls-webpki", [0, 103, 13]),
    ("h2", [0, 4, 16]),
    ("quinn-proto", [0, 11, 15]),
    ("hickory-proto", [0, 26, 1]),
    ("curve25519-dalek", [4, 1, 3]),
    ("snow", [0, 9, 5]),
    ("tokio", [1, 44, 2]),
    ("time", [0, 3, 47]),
    ("tracing-subscriber", [0, 3, 20]),
    ("ring", [0, 17, 12]),
];

/// Forms of key material, as the code names them.
const FORMS: [&str; 10] = [
    "PhotonBatch",
    "SiftedKey",
    "ReconciledKey",
    "VerifiedKey",
    "SecretKey",
    "LinkKeyPool",
    "LinkKey",
    "HopFrame",
    "Transfer",
    "SuppliedKey",
];

const PAGES: [&str; 5] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    found.sort();
    found
}

fn passes(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// A package of the lock file: name, version, and where it comes from.
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

fn packages(lock: &str) -> Vec<Package> {
    let lock: toml::Table = lock.parse().expect("a lock file");
    let text = |package: &toml::Value, field: &str| Some(package.get(field)?.as_str()?.to_owned());
    let list = lock["package"].as_array().expect("packages").iter().map(|package| Package {
        name: text(package, "name").expect("a name"),
        version: text(package, "version").expect("a version"),
        source: text(package, "source"),
    });
    list.collect()
}

fn numbers(version: &str) -> [u64; 3] {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse().expect("a number"));
    [0; 3].map(|_: u64| parts.next().unwrap_or_default())
}

fn lock_faults(lock: &str) -> Vec<String> {
    let mut found = Vec::new();
    for Package { name, version, source } in packages(lock) {
        let floor = FLOORS.iter().find(|(of, _)| *of == name);
        if let Some((_, floor)) = floor.filter(|(_, floor)| numbers(&version) < *floor) {
            found.push(format!("{name} {version} is below {floor:?}"));
        }
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            found.push(format!("{name} does not come from a registry"));
        }
    }
    found
}

/// Folders below `src` that hold more than tests, as written in the map.
fn source_folders(folder: &Path, found: &mut Vec<String>) {
    for path in entries(folder).into_iter().filter(|path| path.is_dir()) {
        let code = entries(&path).iter().any(|file| file.file_name().is_some_and(|name| name != "tests.rs"));
        if code {
            found.push(format!("{}/", path.strip_prefix(root()).expect("it lies below the root").display()));
        }
        source_folders(&path, found);
    }
}

fn unnamed<'a>(page: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    names.into_iter().filter(|name| !page.contains(&format!("`{name}`"))).collect()
}

/// Types that `id.rs` declares, by itself or by a macro whose argument stands on a line of its own.
fn id_types(source: &str) -> Vec<&str> {
    let lines = source.lines().map(str::trim);
    let named = lines.map(|line| line.strip_prefix("pub struct ").unwrap_or(line));
    let word = |line: &str| line.find(|c: char| !c.is_alphanumeric()).unwrap_or(line.len());
    let ends = ["Id", "Error", "Nonce", "Incarnation"];
    let first = named.map(|line| &line[..word(line)]);
    first.filter(|name| name.starts_with(char::is_uppercase) && ends.iter().any(|end| name.ends_with(end))).collect()
}

/// Targets of relative links of a page, without their anchors.
fn links(page: &str) -> Vec<&str> {
    let parts = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = parts.filter(|target| !target.contains("://") && !target.starts_with('#'));
    relative.map(|target| target.split('#').next().unwrap_or_default()).collect()
}

fn pages(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return entries(path).iter().flat_map(|path| pages(path)).collect();
    }
    path.extension().filter(|end| *end == "md").map(|_| path.to_owned()).into_iter().collect()
}

#[test]
fn the_map_names_every_folder() {
    let mut folders = Vec::new();
    for tree in ["qkd-proto/src", "qkdd/src", "qkdctl/src", "testnet/src"] {
        source_folders(&root().join(tree), &mut folders);
    }
    assert!(folders.len() > 10, "{folders:?}");
    let map = read("docs/ARCHITECTURE.md");
    assert_eq!(unnamed(&map, folders.iter().map(String::as_str)), [""; 0], "not in docs/ARCHITECTURE.md");
}

#[test]
fn the_glossary_names_ids_and_forms() {
    let glossary = read("docs/glossary.md");
    let ids = read("qkd-proto/src/id.rs");
    let ids = id_types(&ids);
    assert!(ids.len() >= 10 && ids.contains(&"NodeId") && ids.contains(&"KeyId"), "{ids:?}");
    assert_eq!(unnamed(&glossary, ids), [""; 0], "not in docs/glossary.md");
    assert_eq!(unnamed(&glossary, FORMS), [""; 0], "not in docs/glossary.md");
}

#[test]
fn forms_of_the_glossary_exist() {
    let mut text = String::new();
    let mut folders = vec![root().join("qkd-proto/src")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let declared = |form: &&str| {
        let ends = [" {", "(", "<"];
        let kinds = ["struct", "enum"];
        kinds.iter().any(|kind| ends.iter().any(|end| text.contains(&format!("pub {kind} {form}{end}"))))
    };
    let missing: Vec<&str> = FORMS.into_iter().filter(|form| !declared(form)).collect();
    assert_eq!(missing, [""; 0], "no such type");
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    for page in PAGES.iter().flat_map(|page| pages(&root().join(page))) {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            if !page.parent().unwrap().join(target).exists() {
                found.push(format!("{}: {target}", page.display()));
            }
        }
    }
    passes(&found);
}

#[test]
fn the_lock_file_keeps_the_floors() {
    passes(&lock_faults(&read("Cargo.lock")));
}

#[test]
fn deny_toml_has_the_same_floors() {
    let deny: toml::Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let bans = deny["bans"]["deny"].as_array().unwrap();
    let has = |text: String| bans.iter().any(|ban| ban["crate"].as_str() == Some(text.as_str()));
    for (name, [a, b, c]) in FLOORS {
        assert!(has(format!("{name}:<{a}.{b}.{c}")), "deny.toml: no floor {a}.{b}.{c} for {name}");
    }
    let ignored = deny["advisories"]["ignore"].as_array().unwrap();
    assert!(ignored.iter().all(|entry| entry["reason"].as_str().is_some_and(|reason| reason.len() > 20)));
}

#[test]
fn planted_faults_are_found() {
    let package = |name: &str, version: &str, source: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n")
    };
    let registry = "registry+https://example.org/index";
    assert_eq!(lock_faults(&package("yamux", "0.12.1", registry)).len(), 1);
    assert_eq!(lock_faults(&package("ring", "0.17.9", registry)).len(), 1);
    assert_eq!(lock_faults(&package("x", "1.0.0", "git+https://example.org/x")).len(), 1);
    assert!(lock_faults(&package("ring", "0.17.14", registry)).is_empty());
    assert_eq!(unnamed("see `a/src/b/`", ["a/src/b/", "a/src/c/"]), ["a/src/c/"]);
    assert_eq!(links("[a](b.md#c) [d](https://e.org) [f](#g)"), ["b.md"]);
    assert_eq!(id_types("/// x\npub struct KeyId(u8);\n    PoolId;\npub struct $name(u8);"), ["KeyId", "PoolId"]);
}
