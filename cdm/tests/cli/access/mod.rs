//! How a command reaches the table: credentials, proxies and certificates.

mod aws;
mod credentials;
mod network;
