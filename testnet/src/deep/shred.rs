//! Raw images: what was consumed a second ago is gone from the disk. In: a share of five rounds of 60 keys.
//! Out: what a thief with the whole disk and every key file can open. Always: on ext4 as servers have it, and
//! first with a copy of the key files left lying about, which has to be found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;
use qkdd::config::Config;
use rustix::process::Signal;

use super::copies::{copy, remove};
use super::forensics::{self, Opened};
use super::forms::Forms;
use super::load::Load;
use super::{Plan, privileges};
use crate::delivery::Outcome;
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds at full size, and keys of each.
const ROUNDS: usize = 5;
const KEYS: usize = 60;
/// Size of an image, in bytes.
const IMAGE_BYTES: u64 = 64 << 20;
/// When a consumed key has to be gone.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// Files that keys lie in.
const KEY_FILES: [&str; 3] = ["ring.0", "ring.1", "shred"];

/// A loop image under a data directory.
struct Image {
    at: PathBuf,
    file: PathBuf,
}

impl Image {
    /// Makes a file system and mounts it, with what was there.
    fn under(data: &Path) -> Result<Self, Failed> {
        let file = data.with_file_name("disk.img");
        let aside = data.with_file_name("data-aside");
        copy(data, &aside)?;
        let made = std::fs::File::create(&file).and_then(|image| image.set_len(IMAGE_BYTES));
        made.map_err(|error| Failed::file(&file, error))?;
        run_program("mkfs.ext4", &["-q", "-F", "-b", "4096"], &[&file])?;
        run_program("mount", &["-o", "loop,data=ordered"], &[&file, data])?;
        let image = Self { at: data.to_owned(), file };
        copy(&aside.join("FRESH"), &data.join("FRESH"))?;
        remove(&aside)?;
        remove(&data.join("lost+found"))?;
        std::fs::set_permissions(data, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(|error| Failed::file(data, error))?;
        Ok(image)
    }

    fn sync(&self) -> Result<(), Failed> {
        run_program("sync", &["-f"], &[&self.at])
    }

    /// Its raw bytes, all that the kernel holds written back first.
    fn bytes(&self) -> Result<Vec<u8>, Failed> {
        self.sync()?;
        run_program("sync", &[], &[&self.file])?;
        std::fs::read(&self.file).map_err(|error| Failed::file(&self.file, error))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).stdin(Stdio::null()).status();
    }
}

fn run_program(name: &str, options: &[&str], paths: &[&Path]) -> Result<(), Failed> {
    let done = Command::new(name).args(options).args(paths).stdin(Stdio::null()).output();
    let done = done.map_err(|error| Failed::new(format!("{name}: {error}")))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(Failed::new(format!("{name}: {words}"))) }
}

/// Consumes keys and looks for them.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let tools = ["mkfs.ext4", "mount", "sync"];
    let has_tools = tools.iter().all(|tool| Command::new(tool).arg("-V").stdin(Stdio::null()).output().is_ok());
    if !privileges::has_own_mounts() || !has_tools {
        report.skip("shred", "needs root, mount namespaces, loop devices and mkfs.ext4");
        return Ok(());
    }
    let rounds = plan.count(ROUNDS);
    println!("shred: {rounds} rounds of {KEYS} keys");
    let mut load = Load::render(&Scenario::line(2)?, &[])?;
    let images = load.cluster.daemons.iter().map(|daemon| Image::under(&daemon.data_dir()));
    let images = images.collect::<Result<Vec<_>, _>>()?;
    load.start_daemons().await?;
    for number in 0..=rounds {
        // The first round is the planted one.
        let copies = if number == 0 { lay_copies(&load)? } else { Vec::new() };
        let keys = consume(&load, KEYS).await?;
        let forms = Forms::of(&keys);
        let look = |i| hold(&load, i, || find(&load, i, &images[i], &forms));
        let before = (0..images.len()).map(look).collect::<Result<Vec<_>, _>>()?;
        tokio::time::sleep(GONE_AFTER).await;
        // A sync of a busy disk takes its time, the daemon's too.
        images.iter().try_for_each(Image::sync)?;
        for (i, before) in before.iter().enumerate() {
            let seen = judge(before, &look(i)?);
            let name = &load.cluster.daemons[i].node.name;
            if number == 0 {
                report.check(&format!("shred planted at {name}: copies of key files"), caught(seen));
            } else {
                report.check(&format!("shred round {number} at {name}"), seen);
            }
        }
        copies.iter().try_for_each(|path| overwrite(path))?;
    }
    load.end("shred", false, report).await
}

/// Does something while the daemon is held.
fn hold<T>(load: &Load, i: usize, work: impl FnOnce() -> T) -> T {
    load.cluster.daemons[i].signal(Signal::STOP);
    let done = work();
    load.cluster.daemons[i].signal(Signal::CONT);
    done
}

/// Delivers keys at both ends.
async fn consume(load: &Load, count: usize) -> Result<Vec<Vec<u8>>, Failed> {
    let mut keys = Vec::new();
    for _ in 0..20 * count {
        let (got, bits) = load.alice.get_bits(&load.bob.id).await;
        load.history().got(&got);
        let Outcome::Delivered(id, _) = &got else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let fetched = load.bob.fetch(&load.alice.id, id).await;
        load.history().fetched(id, &fetched);
        keys.push(bits);
        if keys.len() == count {
            return Ok(keys);
        }
    }
    Err(Failed::new(format!("only {} of {count} keys could be had", keys.len())))
}

/// Leaves copies of both nodes' key files where a careless backup would.
fn lay_copies(load: &Load) -> Result<Vec<PathBuf>, Failed> {
    let mut copies = Vec::new();
    for daemon in &load.cluster.daemons {
        for name in KEY_FILES {
            let (file, to) = (daemon.data_dir().join(name), daemon.data_dir().join(format!("{name}.bak")));
            if file.exists() {
                copy(&file, &to)?;
                copies.push(to);
            }
        }
    }
    Ok(copies)
}

/// A removed file stays on the disk: its bytes have to go first.
fn overwrite(path: &Path) -> Result<(), Failed> {
    use std::io::Write as _;
    let length = std::fs::metadata(path).map_err(|error| Failed::file(path, error))?.len();
    let done = std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| {
        file.write_all(&vec![0; usize::try_from(length).unwrap_or(0)])?;
        file.sync_all()
    });
    done.map_err(|error| Failed::file(path, error))?;
    remove(path)
}

/// What a thief opens at node `i`.
fn open_all(load: &Load, i: usize, bytes: &[u8]) -> Result<(Opened, SecretBytes), Failed> {
    let config = Config::load(&load.cluster.daemons[i].node.config).map_err(|error| Failed::new(error.to_string()))?;
    let links: Vec<String> = config.links.iter().map(|link| link.name.to_string()).collect();
    let master = config.master_key.open(&config.data_dir).map_err(|error| Failed::new(error.to_string()))?.copy();
    Ok((forensics::read(bytes, &master, &links), master))
}

/// What a thief finds at one moment.
struct Find {
    opened: Opened,
    /// Consumed keys in plain, in any form.
    plain: usize,
    /// Consumed keys in records of now.
    held: usize,
    /// Records of now that have a data key.
    records: usize,
    /// Data keys of no record of now.
    orphans: BTreeSet<[u8; 32]>,
}

/// Looks at an image.
fn find(load: &Load, i: usize, image: &Image, forms: &Forms) -> Result<Find, Failed> {
    let bytes = image.bytes()?;
    let (opened, master) = open_all(load, i, &bytes)?;
    let (records, held, live) = live_records(load, i, &master, forms)?;
    let orphans = opened.data_keys.difference(&live).copied().collect();
    Ok(Find { plain: forms.find(&bytes).len(), opened, held, records, orphans })
}

/// What the thief has a second later: no key in any form, no data key that was of no record before already, no
/// mark of before.
fn judge(before: &Find, after: &Find) -> Result<String, String> {
    let is_old = |(link, marks): (&String, &BTreeSet<u64>)| {
        let newest = before.opened.marks.get(link).and_then(|marks| marks.last());
        marks.first().zip(newest).is_some_and(|(oldest, newest)| oldest < newest)
    };
    let old = after.opened.marks.iter().filter(|of| is_old(*of)).count();
    let overdue = after.orphans.intersection(&before.orphans).count();
    let (plain, held) = (after.plain, after.held);
    let text = format!(
        "{plain} keys in any form, {held} in records of now; {} intermediate key(s); {} data keys for {} records, \
         {overdue} longer than a second without its record; {old} links with a mark of before",
        after.opened.wraps.len(),
        after.opened.data_keys.len(),
        after.records
    );
    if after.opened.wraps.is_empty() || after.opened.marks.is_empty() || after.opened.data_keys.is_empty() {
        return Err(format!("the thief is blind: {text}"));
    }
    if plain + held + old + overdue == 0 { Ok(text) } else { Err(text) }
}

/// How many records have a data key of their own, how many consumed keys they hold, and those data keys, by
/// opening a copy of the directory: it forgets all others when it is closed.
fn live_records(
    load: &Load,
    i: usize,
    master: &SecretBytes,
    forms: &Forms,
) -> Result<(usize, usize, BTreeSet<[u8; 32]>), Failed> {
    let data = load.cluster.daemons[i].data_dir();
    let opened = data.with_file_name("data-opened");
    remove(&opened)?;
    copy(&data, &opened)?;
    for name in KEY_FILES {
        remove(&opened.join(format!("{name}.bak")))?;
    }
    let store =
        qkdd::store::data_dir::DataDir::open(&opened, master).map_err(|error| Failed::new(error.to_string()))?;
    let (mut records, mut held) = (0, 0);
    for table in [Table::Pools, Table::Transfers] {
        let all = store.store.load(table).map_err(|error| Failed::new(error.to_string()))?;
        records += all.len();
        held += all.iter().map(|(_, record)| forms.find(record.expose()).len()).sum::<usize>();
    }
    drop(store);
    let mut bytes = Vec::new();
    for path in KEY_FILES.map(|name| opened.join(name)).into_iter().filter(|path| path.exists()) {
        bytes.extend(std::fs::read(&path).map_err(|error| Failed::file(&path, error))?);
        bytes.resize(bytes.len().next_multiple_of(forensics::PAGE), 0);
    }
    remove(&opened)?;
    Ok((records, held, forensics::read(&bytes, master, &[]).data_keys))
}

fn caught(seen: Result<String, String>) -> Result<String, String> {
    match seen {
        Err(text) => Ok(format!("caught: {text}")),
        Ok(text) => Err(format!("copies of the key files opened nothing: {text}")),
    }
}
