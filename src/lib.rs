//! Adding a phone number to a customer's record, as an AWS Lambda function behind API Gateway.
//!
//! A request passes through the modules in this order:
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads and checks the environment, once, at start |
//! | [`dynamodb`] | builds the DynamoDB client, decides whom to trust, opens the connection |
//! | [`function`] | the handler: event in, answer out, one log line a request |
//! | [`event`] | reads a gateway event (HTTP API, REST API) without judging it |
//! | [`route`] | finds the operation and its path values, decoded exactly once |
//! | [`auth`] | checks the API key: its shape, its record, its client |
//! | [`request`] | turns path, headers and body into a domain value, or every reason why not |
//! | [`domain`] | the values themselves: each can only be had by parsing |
//! | [`store`] | DynamoDB's words: keys, expressions, transactions, what a failure means |
//! | [`answer`] | the one table from outcome to status, code and message |
//! | [`error`], [`log`], [`time`] | what can go wrong; one JSON line a time; milliseconds since 1970 |
//!
//! Nothing below [`request`] knows HTTP, and nothing but [`store`] and [`dynamodb`] knows DynamoDB.

pub mod auth;
pub mod config;
pub mod domain;
pub mod error;
pub mod handler;
pub mod http;
pub mod store;
pub mod telemetry;
pub mod time;
