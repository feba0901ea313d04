//! What a request must be: gateway events, paths, the API key, the fields of the body, and repeats.

mod authorization;
mod events;
mod fields;
mod idempotency;
mod paths;
