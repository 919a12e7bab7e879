//! Stops a node from handing out keys, lets it go on, and destroys its state.

use std::fs::File;
use std::io::{Read as _, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use qkd_proto::control::reply::SCHEMA;
use qkd_proto::control::request::{UnlockRequest, ZeroizeRequest};
use serde_json::json;
use zeroize::Zeroize as _;

use crate::client::{self, from_json};
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 1026;

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    /// File whose first line is the passphrase of the master key (or the key's 64 hex digits); - reads stdin
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ZeroizeArgs {
    /// Configuration of the node, if it does not run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say that this is meant
    #[arg(long)]
    i_know: bool,
}

pub(crate) async fn lock(socket: &Path, output: Output) -> Result<Exit, Failure> {
    client::order(socket, "/v1/lock", &json!({})).await?;
    let text = "Locked: no key is handed out, and the secrets of sessions are gone. qkdctl unlock ends it.";
    print(output, &json!({"schema": SCHEMA, "locked": true}), text);
    Ok(Exit::Done)
}

pub(crate) async fn unlock(socket: &Path, args: UnlockArgs, output: Output) -> Result<Exit, Failure> {
    let secret = args.secret_file.as_deref().map(read_secret).transpose()?;
    client::order(socket, "/v1/unlock", &UnlockRequest { secret }).await?;
    print(output, &json!({"schema": SCHEMA, "locked": false}), "Unlocked: keys are handed out again.");
    Ok(Exit::Done)
}

fn read_secret(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::Refused(format!("{}: {error}", path.display()));
    let mut text = String::with_capacity(SECRET_BYTES_MAX as usize);
    if path == Path::new("-") {
        stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text)).map_err(failed)?;
    }
    let line = text.lines().next().unwrap_or_default().to_owned();
    text.zeroize();
    Ok(line)
}

pub(crate) async fn zeroize(socket: &Path, args: ZeroizeArgs, output: Output) -> Result<Exit, Failure> {
    if !args.i_know {
        let what = "destroys every pool, mark and key of this node beyond recovery; add --i-know to do it";
        return Err(Failure::Usage(what.into()));
    }
    let rest = "Key files outside the data directory are left. qkdctl pool reset lets the node begin anew.";
    match &args.config {
        None => {
            client::order(socket, "/v1/zeroize", &ZeroizeRequest { i_know: true }).await?;
            let text =
                format!("The node destroys its data directory and ends; its last line says how that went. {rest}");
            print(output, &json!({"schema": SCHEMA, "ordered": true}), &text);
            Ok(Exit::Done)
        }
        Some(config) => {
            let arguments = ["--zeroize".as_ref(), config.as_os_str()];
            let told: serde_json::Value = from_json(&daemon::run(&arguments, "nothing was destroyed: see above")?)?;
            let text =
                format!("{} files with {} bytes are overwritten and removed. {rest}", told["files"], told["bytes"]);
            print(output, &told, &text);
            Ok(if told["failed"] == 0 { Exit::Done } else { Exit::Failed })
        }
    }
}
