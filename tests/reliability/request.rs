//! Requests to the function, and their outcomes.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::runtime_api::Invocation;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Add,
    Remove,
    Read,
}

/// A request to the function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) ccid: String,
    pub(crate) phone: String,
    pub(crate) idempotency_key: Option<&'static str>,
    /// The `client_source` of an add, so that two adds can differ.
    pub(crate) source: &'static str,
}

impl Request {
    pub(crate) fn add(ccid: &str, phone: &str) -> Self {
        Self {
            action: Action::Add,
            ccid: ccid.to_owned(),
            phone: phone.to_owned(),
            idempotency_key: None,
            source: "web",
        }
    }

    pub(crate) fn remove(ccid: &str, phone: &str) -> Self {
        Self { action: Action::Remove, ..Self::add(ccid, phone) }
    }

    pub(crate) fn read(ccid: &str) -> Self {
        Self { action: Action::Read, ..Self::add(ccid, "") }
    }

    pub(crate) fn idempotency_key(self, key: &'static str) -> Self {
        Self { idempotency_key: Some(key), ..self }
    }
}

/// The function's response to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// 200 to an add or a removal.
    Done,
    /// 200 to an add, with `Idempotency-Replayed: true`.
    Replayed,
    /// 200 to a read: the record's numbers. Parsing checks the count against them.
    Record(BTreeSet<String>),
    /// 4xx with this code.
    Refused(String),
    /// 500 `try_again`.
    TryAgain,
    /// 500 `internal_error`, or no response because the process was killed.
    Unknown,
}

impl Outcome {
    pub(crate) fn refused(code: &str) -> Self {
        Self::Refused(code.to_owned())
    }

    /// `None` if the invocation did not end in a response of the contract.
    pub(crate) fn parse(invocation: &Invocation) -> Option<Self> {
        let Invocation::Responded(response) = invocation else { return None };
        let body: Value = serde_json::from_str(response["body"].as_str()?).ok()?;
        let code = body["code"].as_str();
        Some(match (response["statusCode"].as_u64()?, code) {
            (200, None) => match body["notification_channels"].as_array() {
                Some(channels) => {
                    let phones: BTreeSet<_> =
                        channels.iter().map(|channel| channel["channel_addr"].as_str().unwrap().to_owned()).collect();
                    assert_eq!(phones.len(), channels.len(), "a number must appear at most once: {body}");
                    assert_eq!(body["phone_count"].as_u64(), Some(channels.len() as u64), "{body}");
                    assert!(channels.len() <= 50, "{body}");
                    Self::Record(phones)
                }
                None if response["headers"]["idempotency-replayed"] == "true" => Self::Replayed,
                None => Self::Done,
            },
            (400..500, Some(code)) => Self::refused(code),
            (500, Some("try_again")) => Self::TryAgain,
            (500, Some("internal_error")) => Self::Unknown,
            _ => return None,
        })
    }
}
