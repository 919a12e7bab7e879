//! The walls of the house, read from the source text: floors of this crate, doors of the
//! dependencies, who may serialise, who may look into a secret, how long a file may be.
//!
//! Each rule is a function from a file's text to what breaks it, and is itself tested on planted lines.

use std::fs;
use std::path::Path;

mod source;
use source::{Source, names, rust_files};

/// Floors of `qkd-proto/src` (the table in `lib.rs`). What is not named here is ground: floor 0.
const FLOORS: &[(&str, u8)] =
    &[("optics", 1), ("distill", 2), ("pool", 3), ("relay", 4), ("supply", 5), ("node", 6), ("control", 6), ("sim", 7)];

/// Ground modules: a new one is added here and in `lib.rs`, so that no stage slips in as ground.
const GROUND: &[&str] = &[
    "bits", "codec", "crypto", "entropy", "hybrid", "id", "kernel", "labels", "mac", "moment", "quantity", "secret",
    "topology",
];

/// A crate and the only files that may name it; an entry that ends in `/` is a folder.
const DOORS: &[(&str, &[&str])] = &[
    ("serde_cbor", &["qkd-proto/src/codec.rs"]),
    ("ring", &["qkd-proto/src/crypto.rs"]),
    ("poly1305", &["qkd-proto/src/mac.rs"]),
    ("x25519_dalek", &["qkd-proto/src/hybrid.rs"]),
    ("ml_kem", &["qkd-proto/src/hybrid.rs"]),
    ("chacha20", &["qkd-proto/src/entropy.rs"]),
    ("subtle", &["qkd-proto/src/crypto.rs"]),
    ("fuser", &["testnet/src/deep/disk_mount.rs"]),
    ("sled", &["qkdd/src/store/sled_store.rs"]),
    ("argon2", &["qkdd/src/store/master_key.rs"]),
    ("memfd_secret", &["qkdd/src/store/locked.rs"]),
    ("memmap2", &["qkdd/src/store/locked.rs"]),
    ("landlock", &["qkdd/src/hardening/fence.rs"]),
    ("seccompiler", &["qkdd/src/hardening/syscalls.rs"]),
    ("libc", &["qkdd/src/hardening/syscalls.rs"]),
    ("libp2p", &["qkdd/src/network/"]),
    ("libp2p_stream", &["qkdd/src/network/"]),
    (
        "clap",
        &[
            "qkdd/src/args.rs",
            "qkdd/src/main.rs",
            "qkdctl/src/cli.rs",
            "qkdctl/src/commands/",
            "qkdctl/src/main.rs",
            "qkdctl/src/output.rs",
            "testnet/src/bench.rs",
            "testnet/src/cli.rs",
            "testnet/src/deep.rs",
            "testnet/src/docker.rs",
            "testnet/src/main.rs",
        ],
    ),
    ("rustls", &["qkdd/src/api/tls.rs", "qkdd/src/device/module/client.rs", "qkdctl/src/kme_client.rs"]),
    ("tokio_rustls", &["qkdd/src/api/key_socket.rs", "qkdd/src/device/module/client.rs", "qkdctl/src/kme_client.rs"]),
    ("x509_parser", &["qkdd/src/api/sae.rs"]),
    ("rcgen", &["qkdctl/src/net/pki.rs", "qkdctl/src/net/render.rs"]),
    ("comfy_table", &["qkdctl/src/output.rs"]),
    ("redb", &["testnet/src/bench/store/yardsticks.rs"]),
    ("tokio", &["qkdd/src/", "qkdctl/src/", "testnet/src/"]),
];

/// Who makes or implements `Serialize` in `qkd-proto`: a serialisable type is a promise to wires,
/// disks and operators.
const SERIALIZED: &[&str] = &["id", "bits", "quantity", "moment", "crypto", "mac", "hybrid", "topology", "control"];

/// Files that may call `expose()`, each with its reason.
const EXPOSED: &[(&str, &str)] = &[
    ("qkd-proto/src/crypto.rs", "keys of HKDF, AEAD and signatures go into ring"),
    ("qkd-proto/src/mac.rs", "the key of a one-time tag goes into Poly1305"),
    ("qkd-proto/src/hybrid.rs", "both halves of the exchange are combined"),
    ("qkd-proto/src/optics/seeded.rs", "a connection's secret seeds both emulated ends"),
    ("qkd-proto/src/optics/table.rs", "the session's secret seeds the rate-table device"),
    ("qkd-proto/src/distill/key.rs", "the receiver counts its own errors after correction"),
    ("qkd-proto/src/distill/sift.rs", "sifting picks bits of the own record"),
    ("qkd-proto/src/distill/reconcile.rs", "engines read the words of their frames"),
    ("qkd-proto/src/distill/cascade/flight.rs", "parities and corrections of frames"),
    ("qkd-proto/src/distill/noise.rs", "made-up keys, secret to nobody, become frames for a bench"),
    ("qkd-proto/src/distill/trial.rs", "a trial that holds both ends compares them"),
    ("qkd-proto/src/distill/verify.rs", "the verification hash"),
    ("qkd-proto/src/distill/amplify/mod.rs", "the Toeplitz hash"),
    ("qkd-proto/src/pool/mod.rs", "tags are made and checked, rests of open blocks go back into boxes"),
    ("qkd-proto/src/pool/chain.rs", "pad blocks go into boxes and out of them"),
    ("qkd-proto/src/pool/deposit.rs", "a secret key is cut into pad blocks"),
    ("qkd-proto/src/pool/hash_keys.rs", "hash keys start the running hashes of tags"),
    ("qkd-proto/src/pool/ledger.rs", "a range is cut out of its blocks"),
    ("qkd-proto/src/pool/stock.rs", "a range is cut out of the first pads"),
    ("qkd-proto/src/pool/handshake.rs", "the pre-shared secret enters a key derivation"),
    ("qkd-proto/src/pool/record.rs", "records on their way to sealed storage"),
    ("qkd-proto/src/relay/hop.rs", "bits go under a pad and come out from under one"),
    ("qkd-proto/src/relay/session.rs", "keys are masked, tags and ids derived"),
    ("qkd-proto/src/relay/transfer.rs", "a masked key leaves for its application or for sealed storage"),
    ("qkd-proto/src/relay/record.rs", "records on their way from sealed storage"),
    ("qkd-proto/src/node/origin.rs", "the origin keeps the bits for masking and sends them under a pad"),
    ("qkd-proto/src/sim/disk.rs", "simulated disk"),
    ("qkd-proto/src/sim/ledger.rs", "the checker compares hashes of delivered keys"),
    ("qkdd/src/daemon.rs", "a copy of the identity seed goes to the overlay; the node has the other"),
    ("qkdd/src/device/plan.rs", "a copy of a link's pre-shared secret goes to the node"),
    ("qkdd/src/device/module/keys.rs", "keys of a module are joined to a block and hashed"),
    ("qkdd/src/device/module/frame.rs", "unsealed ids and digests are read; they are no key bits"),
    ("qkdd/src/device/receiver.rs", "unsealed photons enter the emulated receiver"),
    ("qkdd/src/network/peers.rs", "the identity seed becomes libp2p's key pair"),
    ("qkdd/src/api/etsi014_reply.rs", "a key is written into its reply, wiped once sent"),
    ("qkdd/src/store/committer.rs", "a failed group is tried again record by record"),
    ("qkdd/src/store/memory_store.rs", "a store of tests gives copies"),
    ("qkdd/src/store/audit.rs", "audit lines travel as records; they hold no key bits"),
    ("qkdd/src/store/audit/line.rs", "the audit log's key goes into HMAC"),
    ("qkdd/src/store/locked.rs", "the master key moves into locked memory, and is compared there"),
    ("qkdd/src/store/master_key.rs", "a passphrase goes into Argon2id, the key of it into a check value"),
    ("qkdd/src/guard.rs", "what an operator gives to unlock is read as a key"),
    ("qkdd/src/store/tables.rs", "records are sealed and opened"),
    ("qkdd/src/store/seal.rs", "records are sealed"),
    ("qkdd/src/store/vault.rs", "pads that are boxes already are stored as given"),
    ("qkdd/src/store/wrap.rs", "intermediate and data keys are wrapped"),
    ("qkdd/src/store/shred.rs", "the number of a key comes out of its slot"),
    ("qkdd/src/store/ring.rs", "the intermediate key authenticates the head of the ring"),
    ("qkdd/src/store/anchor.rs", "the anchor's key goes into HMAC"),
    ("qkdd/src/store/migrate.rs", "numbers come out of records of the first form"),
    ("qkdd/src/store/digest.rs", "the digest's key goes into HMAC"),
    ("qkdd/src/store/slots.rs", "a slot's payload is written and authenticated"),
    ("testnet/src/deep/forensics.rs", "a thief opens what a raw disk still holds"),
    ("testnet/src/deep/shred.rs", "records are searched for keys that were consumed"),
    ("testnet/src/deep/open_data.rs", "records are hashed, so that two opens can be compared"),
    ("qkdd/src/store/node_state.rs", "numbers come out of a slot; they hold no key bits"),
];

const LINES_MAX: usize = 400;

fn floor_of(module: &str) -> u8 {
    FLOORS.iter().find(|(name, _)| *name == module).map_or(0, |(_, floor)| *floor)
}

/// Paths of `qkd-proto` that reach up: `module` is the file's place below `src`.
fn upward(module: &[&str], source: &Source) -> Vec<String> {
    let own = floor_of(module[0]);
    let mut found = Vec::new();
    for (line, target) in source.crate_paths(module) {
        let floor = floor_of(&target);
        let known = floor > 0 || GROUND.contains(&target.as_str());
        if !known || floor > own {
            found.push(format!("line {line}: {} (floor {own}) reaches up to {target}", module[0]));
        }
    }
    found
}

fn serializes(source: &Source) -> Option<usize> {
    source
        .lines()
        .find(|(_, line)| {
            let derives = line.contains("derive(") && names(line, "Serialize");
            let implements = line.trim_start().starts_with("impl") && line.contains("Serialize for");
            derives || implements
        })
        .map(|(number, _)| number)
}

fn exposes(source: &Source) -> Option<usize> {
    source.lines().find(|(_, line)| line.contains(".expose()")).map(|(number, _)| number)
}

/// Where `source` names the crate: in a path, or in a `use` of the crate itself.
fn enters(source: &Source, dependency: &str) -> Option<usize> {
    let path = format!("{dependency}::");
    source
        .lines()
        .find(|(_, line)| {
            let mut starts = line.match_indices(&path).map(|(at, _)| &line[..at]);
            let in_path = starts.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            let words = line.trim_start().trim_start_matches("pub ").trim_start_matches("extern crate ");
            let whole = [format!("use {dependency};"), format!("use {dependency} as ")];
            in_path
                || whole.iter().any(|form| words.starts_with(form.as_str()))
                || (words.starts_with(dependency) && line.contains("extern crate"))
        })
        .map(|(number, _)| number)
}

fn allowed(file: &str, doors: &[&str]) -> bool {
    doors.iter().any(|door| file == *door || (door.ends_with('/') && file.starts_with(door)))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Every source file of the four crates: its path from the root, its text without tests.
fn sources() -> Vec<(String, Source)> {
    let crates = ["qkd-proto/src", "qkdd/src", "qkdctl/src", "testnet/src"];
    let files = crates.iter().flat_map(|folder| rust_files(&root().join(folder)));
    let named = files.map(|path| {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        (name, Source::new(&fs::read_to_string(&path).expect("a source file")))
    });
    named.filter(|(name, _)| !name.ends_with("/tests.rs")).collect()
}

fn passes(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_floor_reaches_up() {
    let mut found = Vec::new();
    for (name, source) in sources() {
        let Some(inside) = name.strip_prefix("qkd-proto/src/") else { continue };
        let path = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Vec<&str> = path.split('/').collect();
        if module == ["lib"] {
            continue;
        }
        if floor_of(module[0]) == 0 && !GROUND.contains(&module[0]) {
            found.push(format!("{name}: a module without a floor"));
        }
        found.extend(upward(&module, &source).into_iter().map(|what| format!("{name}: {what}")));
    }
    passes(&found);
}

#[test]
fn only_outer_forms_are_serialized() {
    let mut found = Vec::new();
    for (name, source) in sources() {
        let Some(inside) = name.strip_prefix("qkd-proto/src/") else { continue };
        let module = inside.split(['/', '.']).next().unwrap_or_default();
        let outer = inside.ends_with("message.rs") || inside.ends_with("record.rs") || SERIALIZED.contains(&module);
        if let Some(line) = serializes(&source).filter(|_| !outer) {
            found.push(format!("{name}:{line}: `Serialize` outside message.rs, record.rs and the listed modules"));
        }
    }
    passes(&found);
}

#[test]
fn secrets_are_exposed_in_listed_files_only() {
    let listed: Vec<&str> = EXPOSED.iter().map(|(file, _)| *file).collect();
    let mut found = Vec::new();
    for (name, source) in sources() {
        match exposes(&source) {
            Some(line) if !allowed(&name, &listed) => found.push(format!("{name}:{line}: `expose()` is not listed")),
            None if listed.contains(&name.as_str()) => found.push(format!("{name}: listed, but calls no `expose()`")),
            _ => {}
        }
    }
    assert!(EXPOSED.iter().all(|(_, reason)| !reason.is_empty()));
    passes(&found);
}

#[test]
fn every_dependency_has_one_door() {
    let mut found = Vec::new();
    for (name, source) in sources() {
        for (dependency, doors) in DOORS {
            if let Some(line) = enters(&source, dependency).filter(|_| !allowed(&name, doors)) {
                found.push(format!("{name}:{line}: {dependency} is for {}", doors.join(", ")));
            }
        }
    }
    passes(&found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for (name, source) in sources() {
        if source.length() > LINES_MAX {
            found.push(format!("{name}: {} lines without tests, {LINES_MAX} are allowed", source.length()));
        }
    }
    passes(&found);
}

#[test]
fn a_planted_upward_path_is_found() {
    let planted = [
        "use crate::pool::LinkKeyPool;",
        "use crate::{bits, relay::hop};",
        "fn f() { crate::node::Node::start() }",
        "use super::super::pool::LinkKeyPool;",
        "use crate::{\n    bits,\n    sim,\n};",
        "use crate::LinkKeyPool;",
    ];
    for text in planted {
        assert_eq!(upward(&["distill", "session"], &Source::new(text)).len(), 1, "{text}");
    }
    let fine = "use crate::{bits::BitString, optics};\nuse super::key;\n//! [`crate::pool`]\n\
                let text = \"crate::node\";\n#[cfg(test)]\nmod tests {\n    use crate::sim;\n}";
    assert!(upward(&["distill", "session"], &Source::new(fine)).is_empty());
}

#[test]
fn planted_words_are_found() {
    let of = Source::new;
    assert_eq!(serializes(&of("#[derive(Debug, Serialize)]")), Some(1));
    assert_eq!(serializes(&of("impl serde::Serialize for Pad {")), Some(1));
    assert_eq!(serializes(&of("fn encode<T: Serialize>(value: &T)")), None);
    assert_eq!(exposes(&of("let a = 1;\nlet bits = pad.expose();")), Some(2));
    assert_eq!(exposes(&of("// pad.expose()")), None);
}

#[test]
fn planted_doors_are_found() {
    let of = Source::new;
    assert_eq!(enters(&of("use sled::Tree;"), "sled"), Some(1));
    assert_eq!(enters(&of("let db = sled::open(path);"), "sled"), Some(1));
    assert_eq!(enters(&of("use sled;"), "sled"), Some(1));
    assert_eq!(enters(&of("extern crate sled;"), "sled"), Some(1));
    assert_eq!(enters(&of("self.sled.apply(batches)?; // sled::Tree"), "sled"), None);
    assert_eq!(enters(&of("rustls::crypto::ring::default_provider()"), "ring"), None);
    assert_eq!(enters(&of("use tokio_rustls::TlsAcceptor;"), "rustls"), None);
    assert!(allowed("qkdd/src/network/swarm.rs", &["qkdd/src/network/"]));
    assert!(!allowed("qkdd/src/driver.rs", &["qkdd/src/network/"]));
}

#[test]
fn a_planted_long_file_is_found() {
    assert_eq!(Source::new(&"fn f() {}\n".repeat(401)).length(), 401);
    assert_eq!(Source::new("fn f() {}\n#[cfg(test)]\nmod tests {\n}\n").length(), 1);
}
