//! Folders and certificates for a network.

use std::path::Path;

use qkd_proto::control::reply::SCHEMA;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::net::{self, RenderOptions, Topology};
use crate::output::{Output, print, table};

pub(crate) fn render(topology: &Path, out: &Path, base_port: u16, output: Output) -> Result<Exit, Failure> {
    let topology = Topology::read(topology).map_err(|error| Failure::Refused(error.to_string()))?;
    let options = RenderOptions { base_port, ..RenderOptions::default() };
    let net = net::render(&topology, out, options).map_err(|error| Failure::Refused(error.to_string()))?;
    let rows = net.nodes.iter().map(|node| vec![node.name.clone(), node.overlay.clone(), node.supply_url.clone()]);
    let mut text = table(&["NODE", "OVERLAY", "KEYS (ETSI 014)"], rows);
    let dir = out.display();
    text.push_str(&format!(
        "\n{dir} now holds EVERY key of this network, which is a convenience for testnets: in a real network\n\
         each node makes its own. Start a node with: qkdd --config {dir}/nodes/NAME/qkdd.toml"
    ));
    let value = serde_json::to_value(&net).map_err(|error| Failure::Refused(error.to_string()))?;
    print(output, &value, &text);
    if output == Output::Json {
        eprintln!("qkdctl: {dir} now holds EVERY key of this network: a convenience for testnets");
    }
    Ok(Exit::Done)
}

pub(crate) fn issue_sae(id: &str, dir: &Path, output: Output) -> Result<Exit, Failure> {
    let id = id.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    let folder = net::issue_sae(dir, &id).map_err(|error| Failure::Refused(error.to_string()))?;
    let shown = folder.display().to_string();
    let text =
        format!("{shown}/cert.pem and key.pem are written; enrol the SAE at its node with\n[[sae]]\nid = \"{id}\"");
    print(output, &json!({"schema": SCHEMA, "id": id.as_str(), "dir": shown}), &text);
    Ok(Exit::Done)
}
