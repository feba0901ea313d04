//! What people use beside the deployed function: the dev server and the operator's command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`dev`] | `cdm dev`: the real handler behind HTTP on this machine |
//! | [`docs_page`] | its `/docs`: the API, to read and to try |
//! | [`gateway`] | HTTP to a gateway event and back, as API Gateway does it |
//! | [`embedded`] | a DynamoDB API inside this process |
//! | [`table`] | the table's definition, for wherever CloudFormation does not make it |
//! | [`demo`] | the data that the dev server starts with and that `events/` speak of |

pub mod demo;
pub mod dev;
pub mod docs_page;
pub mod embedded;
pub mod gateway;
pub mod table;

/// Why a command ended without doing its work: one line that says what happened and what to do about it.
#[derive(Debug)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
