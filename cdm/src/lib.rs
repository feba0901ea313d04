//! What people use beside the deployed function: the dev server and the operator's command line.
//!
//! Each module uses only modules below it.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the commands and options |
//! | [`dev`] | `cdm dev`: the real handler behind HTTP on this machine |
//! | [`commands`] | a module for each command |
//! | [`table`] | the connection to the table; reading, changing and repairing what is in it |
//! | `aws` | region, credentials and the HTTP client of every call |
//! | [`ui`] | what commands print and ask |

mod aws;
pub mod cli;
pub mod commands;
mod dev;
pub mod table;
pub mod ui;
