//! Gateways and HTTP: from an event to a route, to parsed fields, and to a response. This layer does not know DynamoDB.

pub mod event;
mod failure;
mod json_body;
pub mod query;
pub mod request;
pub mod response;
pub mod route;

pub use failure::{FieldError, RequestError};
