//! The commands about one client, customer, phone number or API key.

mod client;
mod consent;
mod customer;
mod key;
mod phone;
