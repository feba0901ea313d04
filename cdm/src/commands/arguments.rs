//! Arguments that several commands take.

use cdm_lambda::domain::{Ccid, ClientId, Rule};
use clap::Args;

use crate::ui::stdin;

/// A customer of a client.
#[derive(Debug, Clone, Args)]
pub(crate) struct Customer {
    /// The client.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    pub client: ClientId,
    /// The customer's id within the client, or - to read it from standard input.
    #[arg(long, value_parser = ccid)]
    pub(crate) ccid: Ccid,
}

/// Reads a client's name from an argument.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn client_id(text: &str) -> Result<ClientId, String> {
    ClientId::parse(text).map_err(|Rule(rule)| rule.to_owned())
}

/// Reads a ccid from an argument, or from standard input if the argument is `-`.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn ccid(text: &str) -> Result<Ccid, String> {
    Ccid::parse(&stdin::value(text, "ccid")?).map_err(|Rule(rule)| rule.to_owned())
}

/// Reads a table's name from an argument.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn table_name(text: &str) -> Result<String, String> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (3..=255).contains(&text.len()) && text.bytes().all(named) {
        Ok(text.to_owned())
    } else {
        Err("must name a DynamoDB table: 3 to 255 of the characters A-Z a-z 0-9 _ . -".to_owned())
    }
}
