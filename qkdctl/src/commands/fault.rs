//! Faults on emulated links, for tests and lessons.

use std::path::Path;

use clap::{Args, Subcommand};
use qkd_proto::control::reply::SCHEMA;
use qkd_proto::control::request::{FaultRequest, InjectedFault};
use serde_json::json;

use crate::client;
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// An eavesdropper intercepts and resends (order it at the receiver)
    Eve {
        #[command(flatten)]
        on: OnLink,
        /// Share of the pulses, 0 to 1
        #[arg(long)]
        fraction: f64,
        /// How often she measures in the key basis, 0 to 1
        #[arg(long, default_value_t = 0.5)]
        basis: f64,
        /// She is there in the first of so many stretches of 0.1 ms of link time
        #[arg(long, value_name = "EVERY")]
        burst: Option<u64>,
    },
    /// An eavesdropper splits photon numbers (order it at the transmitter)
    Pns {
        #[command(flatten)]
        on: OnLink,
    },
    /// More dark clicks (order it at the receiver)
    Dark {
        #[command(flatten)]
        on: OnLink,
        /// Further probability per gate and detector
        #[arg(long)]
        probability: f64,
    },
    /// More loss (order it at the transmitter)
    Loss {
        #[command(flatten)]
        on: OnLink,
        /// Further loss, in dB
        #[arg(long)]
        db: f64,
    },
    /// Optics out of line (order it at the receiver)
    Misalign {
        #[command(flatten)]
        on: OnLink,
        /// Further error probability
        #[arg(long)]
        probability: f64,
    },
    /// Optics that drift out of line and back; every block starts in line (order it at the receiver)
    Drift {
        #[command(flatten)]
        on: OnLink,
        /// Further error probability at the worst moment
        #[arg(long)]
        peak: f64,
        /// Link time from one best moment to the next, as 20ms
        #[arg(long, value_name = "TIME", value_parser = period)]
        period: f64,
    },
    /// The quantum channel is cut: only dark clicks are left (order it at either end)
    Cut {
        #[command(flatten)]
        on: OnLink,
    },
    /// Take the fault off a link
    Clear {
        /// The link
        link: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OnLink {
    /// The link
    link: String,
    /// Seconds until the fault ends by itself, as 30s
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: Option<u32>,
}

fn seconds(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('s').and_then(|number| number.parse().ok());
    number.ok_or_else(|| "give whole seconds, as 30s".to_owned())
}

fn period(text: &str) -> Result<f64, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let found = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let number = found.and_then(|(digits, factor)| Some(digits.parse::<f64>().ok()? * factor));
    number.filter(|period| *period > 0.0).ok_or_else(|| "give a time in us, ms or s, as 20ms".to_owned())
}

impl FaultCommand {
    fn order(self) -> FaultRequest {
        let (on, fault) = match self {
            Self::Eve { on, fraction, basis, burst } => (on, InjectedFault::InterceptResend { fraction, basis, burst }),
            Self::Pns { on } => (on, InjectedFault::PhotonNumberSplitting),
            Self::Dark { on, probability } => (on, InjectedFault::DarkClicks { probability }),
            Self::Loss { on, db } => (on, InjectedFault::Loss { db }),
            Self::Misalign { on, probability } => (on, InjectedFault::Misalignment { probability }),
            Self::Drift { on, peak, period } => (on, InjectedFault::Drift { peak, period_s: period }),
            Self::Cut { on } => (on, InjectedFault::Cut),
            Self::Clear { link } => return FaultRequest { link, fault: None, seconds: None },
        };
        FaultRequest { link: on.link, fault: Some(fault), seconds: on.seconds }
    }
}

pub(crate) async fn run(socket: &Path, command: FaultCommand, output: Output) -> Result<Exit, Failure> {
    let order = command.order();
    client::order(socket, "/v1/faults", &order).await?;
    let text = match &order.fault {
        Some(fault) => format!("From the next block of {} on: {fault}. Status and alarms say so.", order.link),
        None => format!("{} has no ordered fault any more.", order.link),
    };
    print(output, &json!({"schema": SCHEMA, "order": order}), &text);
    Ok(Exit::Done)
}
