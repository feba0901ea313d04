//! What people use beside the deployed function: the dev server and the operator's command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`dev`], `dev_database`, `listen` | `cdm dev`: the real handler behind HTTP on this machine; on which database, and where |
//! | [`docs_page`] | its `/docs`: the API, to read and to try |
//! | `data_file` | the file that keeps the data of `cdm dev` |
//! | [`connection`] | where the operator's commands find the table |
//! | `credentials`, `profile`, `assumed_role` | region and credentials; what a profile says; MFA codes |
//! | [`network`], `proxies`, [`network_failure`] | the HTTP client of every call; why there is no connection |
//! | [`output`], [`explain`] | tables, JSON and questions; what a failure means, in one line |
//! | [`key`], [`customer`], [`phone`], [`client`], [`check`], [`undo`], [`item`] | the commands of these names |
//! | [`import`], `lines`, `entry`, `rejects`, `progress` | `cdm customer import`: its lines, what they say, which were refused, how far it is |
//! | [`scan`], [`pace`], `sums`, `resume` | the whole table, in parallel; no faster than asked for; which pairs are on one side only; going on after a stop |
//! | `damage`, `counter`, `repair`, `findings` | what an item is; what is wrong with it, and which repairs are certain; how it is reported |
//! | `corruption` | for tests: a small table, and the ways in which it can become corrupt |
//! | `change`, `erase` | changing several items at once, while they are as they were read; removing and deleting |
//! | [`saved`], `dynamo_json` | the file of the old items; an item as JSON |
//! | `interrupts` | Ctrl-C and SIGTERM |
//! | [`stdin`] | values that are read from standard input |
//! | [`table`] | creates the table where the template does not |

mod assumed_role;
mod change;
pub mod check;
pub mod client;
pub mod connection;
#[cfg(test)]
mod corruption;
mod counter;
mod credentials;
pub mod customer;
mod damage;
mod data_file;
pub mod dev;
mod dev_database;
pub mod docs_page;
mod dynamo_json;
mod entry;
mod erase;
pub mod explain;
mod findings;
pub mod import;
mod interrupts;
pub mod item;
pub mod key;
mod lines;
mod listen;
pub mod network;
pub mod network_failure;
pub mod output;
pub mod pace;
pub mod phone;
mod profile;
mod progress;
mod proxies;
mod rejects;
mod repair;
mod resume;
pub mod saved;
pub mod scan;
pub mod stdin;
mod sums;
pub mod table;
pub mod undo;

/// Why a command ended without doing its work: one line that says what happened and what to do about it.
#[derive(Debug)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<testkit::Error> for Failure {
    fn from(error: testkit::Error) -> Self {
        Self(error.0)
    }
}
