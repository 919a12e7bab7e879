//! What a running daemon tells of itself.

use std::path::Path;

use qkd_proto::control::reply::{LinkReply, SCHEMA, StatusReply};
use serde_json::{Value, json};

use crate::client::{ask, ask_daemon, from_json};
use crate::exit::{Exit, Failure};
use crate::output::{Output, print, table};

pub(crate) async fn status(socket: &Path, output: Output) -> Result<Exit, Failure> {
    let value: Value = ask(socket, "/v1/status").await?;
    let status: StatusReply = from_json(value.to_string().as_bytes())?;
    let mut text = format!(
        "node     {} of {}, up {} s, qkdd {}, run {}\nnodes    {}\nSAEs     {}\nkeys     {} wait\n\n",
        status.node,
        status.network,
        status.uptime_s,
        status.version,
        status.incarnation,
        status.nodes_known.join(" "),
        status.saes.join(" "),
        status.keys_waiting,
    );
    if status.locked {
        text.push_str("LOCKED   no key is handed out until qkdctl unlock\n\n");
    }
    text.push_str(&link_table(&status.links));
    for alarm in &status.alarms {
        text.push_str(&format!("\nALARM    {} {}: {}", alarm.code, alarm.about, alarm.text));
    }
    print(output, &value, &text);
    Ok(if status.alarms.is_empty() { Exit::Done } else { Exit::Degraded })
}

pub(crate) async fn links(socket: &Path, output: Output) -> Result<Exit, Failure> {
    let value: Value = ask(socket, "/v1/links").await?;
    let links: Vec<LinkReply> = from_json(value.get("links").unwrap_or(&Value::Null).to_string().as_bytes())?;
    print(output, &value, &link_table(&links));
    Ok(Exit::Done)
}

pub(crate) async fn health(socket: &Path, output: Output) -> Result<Exit, Failure> {
    let (_, body) = ask_daemon(socket, "/v1/health").await?;
    let value: Value = from_json(&body)?;
    let healthy = value.get("healthy") == Some(&Value::Bool(true));
    let text = if healthy { "healthy" } else { "degraded: run qkdctl status" };
    print(output, &json!({"schema": SCHEMA, "healthy": healthy}), text);
    Ok(if healthy { Exit::Done } else { Exit::Degraded })
}

fn link_table(links: &[LinkReply]) -> String {
    let mut header =
        vec!["LINK", "PEER", "STATE", "DEVICE", "DILUTION", "QBER", "SKR (link time)", "STORE", "LAST ABORT"];
    let passes = links.iter().any(|link| link.next_pass_s.is_some());
    if passes {
        header.push("NEXT PASS");
    }
    let rows = links.iter().map(|link| {
        let mut row = vec![
            link.name.clone(),
            link.peer.clone(),
            link.state.clone(),
            link.device.clone(),
            link.dilution.to_string(),
            link.qber.map_or("-".into(), |qber| format!("{:.2} %", qber * 100.0)),
            link.skr_bps.map_or("-".into(), |rate| format!("{rate:.0} bit/s")),
            format!("{} of {} B", link.store_bytes, link.capacity_bytes),
            link.last_abort.clone().unwrap_or_else(|| "-".into()),
        ];
        if passes {
            row.push(next_pass(link.next_pass_s));
        }
        row
    });
    table(&header, rows)
}

fn next_pass(seconds: Option<u64>) -> String {
    match seconds {
        None => "-".into(),
        Some(0) => "now".into(),
        Some(seconds) => format!("in {seconds} s"),
    }
}
