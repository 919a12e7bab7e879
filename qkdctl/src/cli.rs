//! The command tree. In: arguments. Out: an exit code. Always: errors go to stderr in one line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::commands::audit::AuditCommand;
use crate::commands::fault::FaultCommand;
use crate::commands::lock::{UnlockArgs, ZeroizeArgs};
use crate::exit::{Exit, Failure};
pub use crate::output::Output;

/// Exit codes, for `--help`.
const EXIT_CODES: &str = "Exit codes: 0 done or healthy, 1 refused or failed, 2 bad usage, \
3 daemon not reachable, 4 degraded (an alarm is open)";

/// Operate a qkdd network
#[derive(Debug, Parser)]
#[command(name = "qkdctl", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Control socket of the daemon
    #[arg(long, global = true, default_value = "qkdd.sock", value_name = "PATH")]
    pub socket: PathBuf,
    /// Form of the output
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the node, its links and alarms
    Status,
    /// Show the links of the node
    Links,
    /// Tell by exit code whether the node is healthy
    Health,
    /// Compute what a link gives, and explain what it gave
    #[command(subcommand)]
    Link(LinkCommand),
    /// Make node folders from a topology
    #[command(subcommand)]
    Net(NetCommand),
    /// Issue certificates
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Ask any KME for keys (ETSI GS QKD 014)
    #[command(subcommand)]
    Key(KeyCommand),
    /// Put faults on the emulated links of a node that allows it
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Stop the node from handing out keys
    Lock,
    /// Let a locked node hand out keys again
    Unlock(UnlockArgs),
    /// Destroy every pool, mark and key of the node, and end it
    Zeroize(ZeroizeArgs),
    /// Read the audit log of a node, running or not
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Handle the pools of a stopped node
    #[command(subcommand)]
    Pool(PoolCommand),
}

#[derive(Debug, Subcommand)]
enum LinkCommand {
    /// Answer a JSON array of links or counts from stdin by closed form, emulator and key-length formulas
    Model,
    /// Show formula, inputs, bounds and result of a link's last block
    Explain {
        /// The link
        link: String,
    },
    /// Show what the presets give at some lengths, by closed form
    Presets {
        /// Lengths of the fibre, in km
        #[arg(long, value_delimiter = ',', default_value = "0,10,25,50,75,100", value_name = "KM")]
        lengths: Vec<f64>,
    },
}

#[derive(Debug, Subcommand)]
enum PoolCommand {
    /// Discard pools and undelivered keys, the only way out of damaged state
    Reset {
        /// Configuration of the node, which must not run
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Say that this is meant
        #[arg(long)]
        i_know: bool,
    },
}

#[derive(Debug, Subcommand)]
enum NetCommand {
    /// Write the folders of all nodes, with all their keys
    Render {
        /// Topology file
        topology: PathBuf,
        /// Folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// First port; each node takes the next ten
        #[arg(long, default_value_t = crate::net::BASE_PORT_DEFAULT)]
        base_port: u16,
    },
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Issue a certificate for one more SAE from the authority of a rendered folder
    IssueSae {
        /// Name of the SAE
        id: String,
        /// Rendered folder
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Ask how many keys are in store
    Status {
        #[command(flatten)]
        kme: KmeArgs,
        /// The SAE to share keys with
        #[arg(long, value_name = "ID")]
        slave: String,
    },
    /// Get new keys
    Get {
        #[command(flatten)]
        kme: KmeArgs,
        #[command(flatten)]
        show: ShowArgs,
        /// The SAE to share keys with
        #[arg(long, value_name = "ID")]
        slave: String,
        /// How many keys
        #[arg(long, default_value_t = 1)]
        number: u32,
        /// Bits of each [default: as the KME says]
        #[arg(long, value_name = "BITS")]
        size: Option<u64>,
    },
    /// Fetch keys that another SAE got, by their ids
    Fetch {
        #[command(flatten)]
        kme: KmeArgs,
        #[command(flatten)]
        show: ShowArgs,
        /// The SAE that got the keys
        #[arg(long, value_name = "ID")]
        master: String,
        /// Ids of the keys
        #[arg(long, required = true, num_args = 1.., value_name = "UUID")]
        id: Vec<String>,
    },
}

/// Where the KME is and as whom to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct KmeArgs {
    /// Address of the KME, https://HOST:PORT
    #[arg(long, required_unless_present = "net")]
    pub(crate) url: Option<String>,
    /// Certificate of the asking SAE, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "net")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "net")]
    pub(crate) key: Option<PathBuf>,
    /// Authority of the KME's certificate, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "net")]
    pub(crate) ca: Option<PathBuf>,
    /// Rendered folder that gives all of these
    #[arg(long, value_name = "DIR", requires = "as_sae")]
    pub(crate) net: Option<PathBuf>,
    /// The SAE to ask as, with --net
    #[arg(long = "as", id = "as_sae", value_name = "SAE", requires = "net")]
    pub(crate) as_sae: Option<String>,
}

/// What to do with the bits.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    /// Print the bits (base64) instead of their SHA-256
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Write the bits to a new file of mode 0600, base64, one key a line
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Exit {
        self.perform().unwrap_or_else(|failure| {
            eprintln!("qkdctl: {failure}");
            failure.exit()
        })
    }

    fn perform(self) -> Result<Exit, Failure> {
        let output = self.output;
        match self.command {
            Command::Status => block_on(commands::status::status(&self.socket, output)),
            Command::Links => block_on(commands::status::links(&self.socket, output)),
            Command::Health => block_on(commands::status::health(&self.socket, output)),
            Command::Link(LinkCommand::Model) => commands::link::model(),
            Command::Link(LinkCommand::Explain { link }) => {
                block_on(commands::explain::explain(&self.socket, &link, output))
            }
            Command::Link(LinkCommand::Presets { lengths }) => commands::link::presets(&lengths, output),
            Command::Net(NetCommand::Render { topology, out, base_port }) => {
                commands::net::render(&topology, &out, base_port, output)
            }
            Command::Pki(PkiCommand::IssueSae { id, dir }) => commands::net::issue_sae(&id, &dir, output),
            Command::Pool(PoolCommand::Reset { config, i_know }) => commands::pool::reset(&config, i_know, output),
            Command::Lock => block_on(commands::lock::lock(&self.socket, output)),
            Command::Unlock(args) => block_on(commands::lock::unlock(&self.socket, args, output)),
            Command::Zeroize(args) => block_on(commands::lock::zeroize(&self.socket, args, output)),
            Command::Audit(command) => commands::audit::run(command, output),
            Command::Fault(command) => block_on(commands::fault::run(&self.socket, command, output)),
            Command::Key(KeyCommand::Status { kme, slave }) => block_on(commands::key::status(&kme, &slave, output)),
            Command::Key(KeyCommand::Get { kme, show, slave, number, size }) => {
                block_on(commands::key::get(&kme, &show, &slave, number, size, output))
            }
            Command::Key(KeyCommand::Fetch { kme, show, master, id }) => {
                block_on(commands::key::fetch(&kme, &show, &master, &id, output))
            }
        }
    }
}

fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Refused(format!("no runtime: {error}")))?;
    runtime.block_on(work)
}
