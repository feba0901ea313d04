//! Gateways and HTTP: from an event to a route, a parsed request and a response. This layer does not know DynamoDB.

pub mod event;
pub mod request;
pub mod response;
pub mod route;
