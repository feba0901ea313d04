//! What the add and the removal share: two updates in one transaction, under one token, until it is settled.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::attempts::{Attempt, Call, failed};
use super::items::Item;
use super::reasons::{Reason, Verdict};
use super::{Budget, Store, Tally};
use crate::error::{Error, Trouble};

/// How a transaction fails, to the SDK.
pub(super) type Failure = SdkError<TransactWriteItemsError, HttpResponse>;

impl Store {
    /// An update of one item, whose old state comes back where its condition fails: it says which part of the condition
    /// failed, without a second read.
    pub(super) fn update(&self, key: Item) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(key))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// A transaction of a record's update and a counter's, in this order, under a token of its own.
pub(super) struct Transaction<'a> {
    call: TransactWriteItemsFluentBuilder,
    /// The number that it is about.
    e164: &'a str,
    /// How a cancellation of it is read.
    read: fn(&[Reason<'_>], &str) -> Verdict,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        client: &Client,
        updates: [UpdateBuilder; 2],
        e164: &'a str,
        read: fn(&[Reason<'_>], &str) -> Verdict,
    ) -> Result<Self, Error> {
        let unmade = |_| Error::Internal(Trouble::new("the call could not be made"));
        let mut call = client.transact_write_items().client_request_token(client_token()?);
        for update in updates {
            let update = update.build().map_err(unmade)?;
            call = call.transact_items(TransactWriteItem::builder().update(update).build());
        }
        Ok(Self { call, e164, read })
    }

    /// Sends it until it is settled, each time the same values under the same token, so that DynamoDB answers an
    /// attempt of ours that was committed with success again, whatever has happened since. `committed` is the answer to
    /// success; what follows from a cancellation, `decide` says.
    pub(super) async fn settle<T: Copy>(
        &self,
        budget: Budget,
        tally: &mut Tally,
        committed: T,
        decide: impl Fn(Verdict, &Failure) -> Attempt<T>,
    ) -> Result<T, Error> {
        let attempt = || async {
            match self.call.clone().send().await {
                Ok(_) => Attempt::Settled(Ok(committed)),
                Err(error) => match reasons(&error) {
                    Some(reasons) => decide((self.read)(&reasons, self.e164), &error),
                    None => failed(&error),
                },
            }
        };
        budget.settle(Call::Write, tally, attempt).await
    }
}

/// What follows from a verdict that is not an answer of the operation's own.
pub(super) fn judge<T>(verdict: Verdict, error: &Failure) -> Attempt<T> {
    let damaged = |what| Attempt::Settled(Err(Error::Internal(trouble(what, error))));
    match verdict {
        Verdict::Again => Attempt::Contended(trouble("other requests were changing the same items", error)),
        Verdict::CounterUnclear => Attempt::Unclear(trouble("the number's counter is damaged", error)),
        Verdict::DamagedRecord => damaged("the customer's record is damaged"),
        _ => damaged("the transaction was cancelled for reasons unknown"),
    }
}

fn trouble(what: &'static str, error: &Failure) -> Trouble {
    Trouble { what, aws_code: error.code().map(str::to_owned), aws_request_id: error.request_id().map(str::to_owned) }
}

fn reasons(error: &Failure) -> Option<Vec<Reason<'_>>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons().iter();
    Some(reasons.map(|reason| Reason { code: reason.code().unwrap_or_default(), item: reason.item() }).collect())
}

/// 128 random bits in hex: the 32 characters fit DynamoDB's 36.
fn client_token() -> Result<String, Error> {
    let mut token = [0; 16];
    getrandom::getrandom(&mut token).map_err(|_| Error::Internal(Trouble::new("the system has no random numbers")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(token)))
}
