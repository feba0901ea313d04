//! The minimum cost of a Rust function on Lambda: the loop of the runtime with a constant response.

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;

const RESPONSE: &str = r#"{"statusCode":200,"headers":{},"body":"{}","isBase64Encoded":false}"#;

async fn respond(_: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, Error> {
    Ok(RawValue::from_string(RESPONSE.to_owned())?)
}

fn main() -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(Runtime::new(service_fn(respond)).run()))
}
