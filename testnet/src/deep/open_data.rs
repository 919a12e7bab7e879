//! Opens a data directory and reads all of it, in a process of its own. In: a configuration. Out: one
//! line: a digest of every record, or why not. Always: no bit is shown.

use std::path::Path;

use qkd_proto::crypto::sha256;
use qkd_proto::node::effect::Table;
use qkdd::config::Config;
use qkdd::store::data_dir::DataDir;

use crate::error::Failed;

/// Tables whose records are read.
const TABLES: [Table; 4] = [Table::Pools, Table::Pads, Table::Marks, Table::Transfers];

/// Prints generation, sequence, count and digest; what is refused goes to stderr.
pub(crate) fn print(config: &Path) -> Result<bool, Failed> {
    let config = Config::load(config).map_err(|error| Failed::new(error.to_string()))?;
    let master = config.master_key.open(&config.data_dir).map_err(|error| Failed::new(error.to_string()))?.copy();
    let opened = DataDir::open(&config.data_dir, &master).map_err(|error| Failed::new(error.to_string()))?;
    let (mut records, mut digest) = (0, [0; 32]);
    for table in TABLES {
        for (key, value) in opened.store.load(table).map_err(|error| Failed::new(error.to_string()))? {
            let lengths = [(key.len() as u64).to_be_bytes(), (value.len() as u64).to_be_bytes()].concat();
            digest = sha256(&[&digest, format!("{table:?}").as_bytes(), &lengths, &key, value.expose()]);
            records += 1;
        }
    }
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} {} {records} {digest}", opened.generation, opened.sequence.0);
    Ok(true)
}
