//! Adds phone numbers to customer records: an AWS Lambda function behind API Gateway, on one DynamoDB table.
//!
//! A request passes through these modules from top to bottom. Each module uses only modules below it.
//!
//! | module | what it does |
//! |---|---|
//! | [`handler`] | takes an event, returns a response, writes one log line per request |
//! | [`telemetry`] | JSON log lines and the metrics in them |
//! | [`operations`] | the table of operations: route, name, request parser, store call, response |
//! | [`auth`] | checks the API key: its shape, its record, its client |
//! | [`error`] | every failure of a request, and the one table of status, code and message |
//! | [`http`] | reads gateway events, matches routes, reads fields, builds responses; does not know DynamoDB |
//! | [`store`] | keys, expressions, transactions and retries on DynamoDB; does not know HTTP |
//! | [`domain`] | the values of the contract, valid by construction |
//! | [`sources`] | the wall clock and the random numbers, which a simulation replaces |
//! | [`config`], [`time`] | the environment variables; milliseconds since 1970 |

pub mod auth;
pub mod config;
pub mod domain;
pub mod error;
pub mod handler;
pub mod http;
pub mod operations;
pub mod sources;
pub mod store;
pub mod telemetry;
pub mod time;
