//! The repeaterless bound (Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043 (2017),
//! "PLOB"): no protocol without a repeater passes it. In: the transmittance of the fibre alone. Out:
//! secret bits per pulse. Always: a rate above it is a fault of whoever computed it.

use std::f64::consts::LN_2;

use crate::optics::model::LinkModel;

/// Most secret bits per channel use, `-log2(1 - eta)`; without bound at a transmittance of 1.
pub fn plob(eta_channel: f64) -> f64 {
    -(-eta_channel).ln_1p() / LN_2
}

/// Most secret bits per second over the model's fibre; `None` if the fibre loses nothing, where the
/// bound is infinite. Connectors and detectors are the receiver's own and do not lower it.
pub fn plob_bps(model: &LinkModel) -> Option<f64> {
    let eta_channel = 10f64.powf(-model.alpha_db_km * model.length_km / 10.0);
    Some(model.rate_hz * plob(eta_channel)).filter(|bound| bound.is_finite())
}
