//! What the add and the removal share: two updates in one transaction, repeated until it is settled.
//!
//! Each attempt has a token of its own, until one is in doubt; from then on every attempt has that one's token. AWS does not
//! say whether a cancelled transaction keeps its token. If it does, a repeat under the same token is refused again
//! whatever has changed, so a refusal for contention must not be repeated under it.
//!
//! DynamoDB remembers a token for ten minutes once a transaction under it was committed, and may forget it when one was
//! cancelled. So success under our token is final, and a cancellation is not while an earlier attempt may still be on
//! its way: it would be executed when it arrives, by then perhaps with success. Before such a cancellation becomes an
//! answer the token is taken (see [`Transaction::confirm`]).

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::failure::{detail, failed};
use super::items::{self, Item};
use super::{CallStats, Deadline, Store};
use crate::error::{Cause, Error, FailureDetail};
use crate::store::cancellation::{Cancellation, Reason};
use crate::store::retry::{Attempt, Call};

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

/// A transaction of a record's update and a counter's, in this order.
pub(super) struct Transaction<'a> {
    call: TransactWriteItemsFluentBuilder,
    /// The number that it is about.
    e164: &'a str,
    /// How a cancellation of it is read.
    read: fn(&[Reason<'_>], &str) -> Cancellation,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        client: &Client,
        updates: [UpdateBuilder; 2],
        e164: &'a str,
        read: fn(&[Reason<'_>], &str) -> Cancellation,
    ) -> Result<Self, Error> {
        let not_built = |_| Error::Internal(FailureDetail::new(Cause::NotBuilt));
        let mut call = client.transact_write_items();
        for update in updates {
            let update = update.build().map_err(not_built)?;
            call = call.transact_items(TransactWriteItem::builder().update(update).build());
        }
        Ok(Self { call, e164, read })
    }

    /// Sends it until it is settled. Once an attempt is in doubt, every later one sends the same values under the same
    /// token, so that DynamoDB answers an attempt of ours that was committed with success again, whatever has happened
    /// since. `committed` is the answer to success; what follows from a cancellation, `decide` says.
    pub(super) async fn settle<T: Copy>(
        &self,
        deadline: Deadline,
        stats: &mut CallStats,
        committed: T,
        decide: impl Fn(Cancellation, &Failure) -> Attempt<T>,
    ) -> Result<T, Error> {
        let mut token = None;
        let attempt = |in_doubt: bool| {
            if !in_doubt {
                token = client_token();
            }
            self.attempt(token.clone(), &decide)
        };
        let ended = deadline.settle(Call::Write, stats, attempt).await;
        match ended.answer? {
            Fate::Committed => Ok(committed),
            // In a box: the rare way must not make every request's future larger.
            Fate::Cancelled(answer) if ended.in_doubt => {
                Box::pin(self.confirm(token, deadline, stats, committed, answer)).await
            }
            Fate::Cancelled(answer) => answer,
        }
    }

    async fn attempt<T>(
        &self,
        token: Option<String>,
        decide: impl Fn(Cancellation, &Failure) -> Attempt<T>,
    ) -> Attempt<Fate<T>> {
        if token.is_none() {
            return Attempt::Settled(Err(Error::Internal(FailureDetail::new(Cause::NoRandomness))));
        }
        match self.call.clone().set_client_request_token(token).send().await {
            Ok(_) => Attempt::Settled(Ok(Fate::Committed)),
            Err(error) => match reasons(&error) {
                Some(reasons) => {
                    decide((self.read)(&reasons, self.e164), &error).map(|answer| Ok(Fate::Cancelled(answer)))
                }
                // Our expressions do not change, so what they do not fit is an item. AWS documents it as a reason; DynamoDB
                // Local refuses the whole call.
                None if error.code() == Some("ValidationException") => {
                    Attempt::Settled(Err(Error::Internal(detail(Cause::CorruptItem, &error))))
                }
                None => failed(&error),
            },
        }
    }

    /// Makes a cancellation final, where an attempt before it may still be on its way, by committing a transaction that
    /// writes nothing under the same token: whatever arrives under it later is refused for its other content.
    ///
    /// If it is this one that is refused so, the attempt in doubt was committed after all. That is a conclusion, and
    /// DynamoDB is asked for its word: our transaction, sent once more, succeeds again without writing.
    async fn confirm<T>(
        &self,
        token: Option<String>,
        deadline: Deadline,
        stats: &mut CallStats,
        committed: T,
        cancelled: Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(nothing) = token.as_deref().and_then(|token| self.nothing(token)) else {
            return Err(Error::Internal(FailureDetail::new(Cause::NotBuilt)));
        };
        let take_token = |_| async {
            match nothing.clone().send().await {
                Ok(_) => Attempt::Settled(Ok(Token::Ours)),
                Err(error) if error.code() == Some("IdempotentParameterMismatchException") => {
                    Attempt::Settled(Ok(Token::TakenBefore))
                }
                Err(error) => failed(&error),
            }
        };
        match deadline.settle(Call::Settlement, stats, take_token).await.answer.map_err(still_in_doubt)? {
            Token::Ours => cancelled,
            Token::TakenBefore => {
                let contradicted =
                    |_, error: &Failure| Attempt::Settled(Err(Error::Internal(detail(Cause::TokenTaken, error))));
                let again = |_| self.attempt(token.clone(), contradicted);
                let ended = deadline.settle(Call::Settlement, stats, again).await;
                match ended.answer.map_err(still_in_doubt)? {
                    Fate::Committed => Ok(committed),
                    Fate::Cancelled(answer) => answer,
                }
            }
        }
    }

    /// A transaction under the same token that always succeeds and writes nothing. It looks beside the record, where no
    /// item ever is, so that no other transaction is in its way.
    fn nothing(&self, token: &str) -> Option<TransactWriteItemsFluentBuilder> {
        let record = self.call.get_transact_items().as_ref()?.first()?.update()?;
        let absent = ConditionCheck::builder()
            .table_name(record.table_name())
            .set_key(Some(record.key().clone()))
            .key(items::SK, AttributeValue::S(token.to_owned()))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let check = TransactWriteItem::builder().condition_check(absent.ok()?).build();
        Some(self.call.clone().client_request_token(token).set_transact_items(Some(vec![check])))
    }
}

/// What became of a transaction.
enum Fate<T> {
    /// Written, by the attempt that was answered or by one before it.
    Committed,
    /// Refused by its reasons, which decided this answer.
    Cancelled(Result<T, Error>),
}

/// Who has taken the token.
enum Token {
    /// The transaction that writes nothing: no attempt was committed, and none will be.
    Ours,
    /// Another before it.
    TakenBefore,
}

/// The last call was refused; the attempt in doubt was not.
fn still_in_doubt(error: Error) -> Error {
    match error {
        Error::TryAgain(detail) => Error::Internal(detail),
        other => other,
    }
}

/// What follows from a cancellation that is not an answer of the operation's own.
pub(super) fn judge<T>(cancellation: Cancellation, error: &Failure) -> Attempt<T> {
    let settled = |cause| Attempt::Settled(Err(Error::Internal(detail(cause, error))));
    match cancellation {
        Cancellation::Conflict => Attempt::Contended(detail(Cause::Conflict, error)),
        Cancellation::Throttled => Attempt::Contended(detail(Cause::Throttled, error)),
        Cancellation::CounterUnclear => Attempt::Unclear(detail(Cause::CorruptCounter, error)),
        Cancellation::CorruptRecord => settled(Cause::CorruptRecord),
        _ => settled(Cause::UnknownCancellation),
    }
}

fn reasons(error: &Failure) -> Option<Vec<Reason<'_>>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons().iter();
    Some(reasons.map(|reason| Reason { code: reason.code().unwrap_or_default(), item: reason.item() }).collect())
}

/// 128 random bits in hex: the 32 characters fit DynamoDB's 36. `None` where the system has no random numbers.
fn client_token() -> Option<String> {
    let mut token = [0; 16];
    getrandom::getrandom(&mut token).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(token)))
}
