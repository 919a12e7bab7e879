//! Image and compose file. In: a network's state. Out: `image/` with the binaries and a Dockerfile,
//! and `compose.yml`. Always: containers run without root, without capabilities, on a read-only root;
//! each sees its own node's folder only.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use super::state::{Service, State};
use crate::binaries;
use crate::error::Failed;
use crate::progress::say;

/// Whom containers run as if root starts them.
const CONTAINER_ID: u32 = 10_001;
/// The image: nothing but two static programs.
const DOCKERFILE: &str = "FROM scratch\nCOPY qkdd qkdctl /\nENTRYPOINT [\"/qkdd\"]\n";
/// Most memory of a container.
const MEMORY_MAX: &str = "256m";
/// How a program that needs a loader names it.
const LOADER: &[u8] = b"/ld-linux";
/// Where the loader's name stands at the latest, in bytes.
const LOADER_WITHIN: usize = 8192;

/// Writes all files that the container engine needs.
pub(super) fn stage(dir: &Path, state: &State) -> Result<(), Failed> {
    let image = dir.join("image");
    std::fs::create_dir_all(&image).map_err(|error| Failed::file(&image, error))?;
    let binaries = binaries::find()?;
    for binary in [&binaries.qkdd, &binaries.qkdctl] {
        stage_binary(binary, &image)?;
    }
    write(&image.join("Dockerfile"), DOCKERFILE)?;
    let own = std::fs::metadata(dir).map_err(|error| Failed::file(dir, error))?;
    let owner = if own.uid() == 0 { (CONTAINER_ID, CONTAINER_ID) } else { (own.uid(), own.gid()) };
    for service in &state.services {
        let folder = dir.join("net/nodes").join(&service.node);
        if own.uid() == 0 {
            give(&folder, owner)?;
        }
    }
    write(&dir.join("compose.yml"), &compose_file(dir, state, owner))
}

/// Copies a binary, without its symbols where `strip` is at hand.
fn stage_binary(binary: &Path, image: &Path) -> Result<(), Failed> {
    let name = binary.file_name().unwrap_or_default();
    let target = image.join(name);
    let bytes = std::fs::read(binary).map_err(|error| Failed::file(binary, error))?;
    let head = &bytes[..bytes.len().min(LOADER_WITHIN)];
    if head.windows(LOADER.len()).any(|window| window == LOADER) {
        let text = "is not static, an image from nothing cannot run it: build with the repository's .cargo/config.toml";
        return Err(Failed::file(binary, text));
    }
    std::fs::copy(binary, &target).map_err(|error| Failed::file(&target, error))?;
    let stripped = Command::new("strip").arg(&target).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|ended| ended.success()) {
        say("strip is missing: the image carries symbols");
    }
    Ok(())
}

/// Gives a folder and all within to the container's user.
fn give(path: &Path, owner: (u32, u32)) -> Result<(), Failed> {
    let failed = |error| Failed::file(path, error);
    chown(path, Some(owner.0), Some(owner.1)).map_err(failed)?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(failed)? {
            give(&entry.map_err(failed)?.path(), owner)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(|error| Failed::file(path, error))
}

fn compose_file(dir: &Path, state: &State, owner: (u32, u32)) -> String {
    let mut text = format!("# Network {}, rendered by testnet.\nversion: \"2.4\"\nservices:\n", state.network);
    state.services.iter().for_each(|service| text.push_str(&service_text(dir, state, service, owner)));
    text.push_str("networks:\n  overlay: {}\n");
    text
}

fn service_text(dir: &Path, state: &State, service: &Service, (user, group): (u32, u32)) -> String {
    let (name, image, port) = (&service.name, &state.project, service.supply_port);
    let folder = dir.join("net/nodes").join(&service.node).to_string_lossy().replace('$', "$$");
    let folder = serde_json::Value::from(folder);
    format!(
        "  {name}:
    image: {image}
    hostname: {name}
    user: \"{user}:{group}\"
    command: [\"--config\", \"/node/qkdd.toml\"]
    networks: [overlay]
    ports: [\"127.0.0.1:{port}:{port}\"]
    volumes:
      - {{type: bind, source: {folder}, target: /node}}
    read_only: true
    cap_drop: [ALL]
    security_opt: [\"no-new-privileges:true\"]
    mem_limit: {MEMORY_MAX}
    restart: unless-stopped
    stop_grace_period: 10s
    healthcheck:
      test: [\"CMD\", \"/qkdctl\", \"--socket\", \"/node/qkdd.sock\", \"health\"]
      interval: 2s
      timeout: 5s
      retries: 3
"
    )
}
