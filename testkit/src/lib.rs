//! Parts for development that do not ship with the function.
//!
//! | module | what it offers |
//! |---|---|
//! | [`embedded`] | a DynamoDB in this process |
//! | [`demo`] | the data that `cdm dev` starts with and that `events/` and the tests use |
//! | [`gateway`] | an API Gateway: an HTTP request becomes an event, and the handler's response becomes an HTTP response |
//!
//! With the feature `tests`:
//!
//! | module | what it offers |
//! |---|---|
//! | [`database`] | a DynamoDB for one test: embedded, or DynamoDB Local |
//! | [`runtime_api`] | the Lambda Runtime API, and the built `bootstrap` as its client |
//! | [`http1`] | HTTP/1.1 messages, read and written one at a time |
//! | [`tls`] | a certificate authority, and TLS in front of a server |

#[cfg(feature = "tests")]
pub mod database;
pub mod demo;
pub mod embedded;
pub mod gateway;
#[cfg(feature = "tests")]
pub mod http1;
#[cfg(feature = "tests")]
pub mod runtime_api;
#[cfg(feature = "tests")]
pub mod tls;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use cdm_lambda::store::schema;

/// The function's timeout in `template.yaml`.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Why a part could not do its work, in one line.
#[derive(Debug)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Creates the table.
///
/// # Errors
/// DynamoDB refused, or the table exists already.
pub async fn create_table(client: &Client, table: &str) -> Result<(), Error> {
    let request = schema::create_table(client, table).map_err(|error| Error(error.to_string()))?;
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let code = error.code().unwrap_or("DynamoDB cannot be reached");
            Err(Error(format!("the table {table} cannot be created: {code}")))
        }
    }
}
