//! Makes the table of frozen sets of the polar codes, offline: `cargo run --release -p qkd-proto
//! --example frozen_sets > qkd-proto/src/distill/polar/ladders.bin` (some minutes). The same bytes on
//! every machine; a test makes the first ones again.

use std::io::Write;

use qkd_proto::distill::polar::ladder;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for log in ladder::FRAME_LOGS {
        let packed = ladder::make(log);
        eprintln!("2^{log}: {} bytes", packed.len());
        out.write_all(&(packed.len() as u32).to_le_bytes())?;
        out.write_all(&packed)?;
    }
    out.flush()
}
