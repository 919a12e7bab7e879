//! Link keys carry end-to-end bits, hop by hop, from an origin to a target. In: bits, a route, link
//! keys. Out: the same masked keys at both ends, or none at either. Always: a relay keeps nothing;
//! the origin alone decides a transfer's outcome; what a relay altered is never handed out.

pub mod adverts;
pub mod directory;
pub mod hop;
pub mod letter;
pub mod message;
pub mod record;
pub mod route;
pub mod session;
pub mod transfer;
