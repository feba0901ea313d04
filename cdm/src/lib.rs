//! What people use beside the deployed function: the dev server and the operator's command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`dev`], `dev_database`, `listen` | `cdm dev`: the real handler behind HTTP on this machine; on which database, and where |
//! | [`docs_page`] | its `/docs`: the API, to read and to try |
//! | [`gateway`] | HTTP to a gateway event and back, as API Gateway does it |
//! | [`embedded`], `data_file` | a DynamoDB API inside this process; the file that keeps its data |
//! | [`connection`] | where the operator's commands find the table |
//! | `credentials`, `profile`, `assumed_role` | region and credentials; what a profile says; MFA codes |
//! | [`network`], `proxies`, [`network_failure`] | the HTTP client of every call; why there is no connection |
//! | [`output`], [`explain`] | tables, JSON and questions; what a failure means, in one line |
//! | [`key`], [`customer`], [`phone`], [`client`], [`check`] | the commands of these names |
//! | [`import`], `lines`, `entry`, `rejects`, `progress` | `cdm customer import`: its lines, what they say, which were refused, how far it is |
//! | [`scan`], `damage`, `counter`, `erase` | the whole table, in parallel; what is wrong with an item; mending and deleting |
//! | `interrupts` | Ctrl-C and SIGTERM |
//! | [`stdin`] | values that are read from standard input |
//! | [`table`] | the table's definition, for wherever CloudFormation does not make it |
//! | [`demo`] | the data that the dev server starts with and that `events/` speak of |

mod assumed_role;
pub mod check;
pub mod client;
pub mod connection;
mod counter;
mod credentials;
pub mod customer;
mod damage;
mod data_file;
pub mod demo;
pub mod dev;
mod dev_database;
pub mod docs_page;
pub mod embedded;
mod entry;
mod erase;
pub mod explain;
pub mod gateway;
pub mod import;
mod interrupts;
pub mod key;
mod lines;
mod listen;
pub mod network;
pub mod network_failure;
pub mod output;
pub mod phone;
mod profile;
mod progress;
mod proxies;
mod rejects;
pub mod scan;
pub mod stdin;
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
