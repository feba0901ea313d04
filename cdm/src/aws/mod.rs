//! How a command reaches AWS: region, credentials and the HTTP client of every call.

mod assumed_role;
pub(crate) mod credentials;
pub(crate) mod environment;
pub(crate) mod network;
pub(crate) mod network_failure;
mod profile;
mod proxies;
mod sdk;
