//! What the operations that write share: one transaction over one or more items, repeated until it is settled.
//!
//! Each attempt has a new client token until one attempt is in doubt. From then on every attempt has the token of that
//! attempt. AWS does not document whether a cancelled transaction keeps its token. If it does, a repeat under the same
//! token is refused again, whatever has changed. So a certain refusal must not be repeated under the same token.
//!
//! DynamoDB remembers the token of a committed transaction for ten minutes. It may forget the token of a cancelled one. So
//! a success under a token is final, but a cancellation is not while an earlier attempt may still be on its way: that
//! attempt would run when it arrives, and may then succeed. Before such a cancellation becomes a response, the store takes
//! the token: see [`Transaction::take_token`].

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::cancellation::{Cancellation, Reason, read_contention};
use super::failure::{detail, failed};
use super::items::{self, Item};
use super::retry::{Attempt, CallKind, retry};
use super::{CallContext, Cause, FailureDetail, Store, StoreError};
use crate::sources::Sources;

/// The SDK's error of a transaction.
pub(super) type TransactionError = SdkError<TransactWriteItemsError, HttpResponse>;

impl Store {
    /// An update of one item. If its condition fails, DynamoDB returns the old item. The old item shows which part of the
    /// condition failed, without a second read.
    pub(super) fn update(&self, key: Item) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(key))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// The deletion of one item.
    pub(super) fn delete(&self, key: Item) -> DeleteBuilder {
        Delete::builder().table_name(&self.table).set_key(Some(key))
    }

    /// A transaction of these updates. DynamoDB returns the reasons for a cancellation in this order.
    pub(super) fn transaction(
        &self,
        updates: impl IntoIterator<Item = UpdateBuilder>,
    ) -> Result<Transaction<'_>, StoreError> {
        Transaction { call: self.client.transact_write_items(), sources: self.sources() }.with(updates)
    }

    /// A transaction of a deletion and of updates, in this order.
    pub(super) fn transaction_with_delete(
        &self,
        delete: DeleteBuilder,
        updates: impl IntoIterator<Item = UpdateBuilder>,
    ) -> Result<Transaction<'_>, StoreError> {
        let delete = TransactWriteItem::builder().delete(delete.build().map_err(|_| not_built())?).build();
        Transaction { call: self.client.transact_write_items().transact_items(delete), sources: self.sources() }
            .with(updates)
    }
}

fn not_built() -> StoreError {
    StoreError::Internal(FailureDetail::new(Cause::NotBuilt))
}

/// A transaction, ready to be sent.
pub(super) struct Transaction<'a> {
    call: TransactWriteItemsFluentBuilder,
    sources: &'a dyn Sources,
}

/// What became of a transaction.
enum TransactionOutcome<T> {
    /// It was written, by this attempt or by an earlier one.
    Committed,
    /// DynamoDB cancelled it, and its reasons decided this result.
    Cancelled(Result<T, StoreError>),
}

/// Whose transaction holds the token.
enum TokenHolder {
    /// The transaction that writes nothing. No attempt was committed, and none will be.
    TakeToken,
    /// A transaction that was committed earlier.
    Earlier,
}

impl Transaction<'_> {
    fn with(mut self, updates: impl IntoIterator<Item = UpdateBuilder>) -> Result<Self, StoreError> {
        for update in updates {
            let update = update.build().map_err(|_| not_built())?;
            self.call = self.call.transact_items(TransactWriteItem::builder().update(update).build());
        }
        Ok(self)
    }

    /// Sends the transaction until it is settled. `committed` is the result of a success; `decide` derives the result of a
    /// cancellation from its reasons.
    ///
    /// Once an attempt is in doubt, every later attempt sends the same values under the same token. If the attempt in doubt
    /// was committed, DynamoDB then reports success again, whatever has happened since.
    pub(super) async fn settle<T: Copy>(
        &self,
        context: &mut CallContext,
        committed: T,
        decide: impl Fn(&[Reason<'_>], &TransactionError) -> Attempt<T>,
    ) -> Result<T, StoreError> {
        let mut token = None;
        let attempt = |in_doubt: bool| {
            if !in_doubt {
                token = self.client_token();
            }
            self.attempt(token.clone(), &decide)
        };
        let ended = retry(CallKind::Write, self.sources, context, attempt).await;
        match ended.result? {
            TransactionOutcome::Committed => Ok(committed),
            // Boxed, because this rare path must not make the future of every request larger.
            TransactionOutcome::Cancelled(result) if ended.in_doubt => {
                Box::pin(self.confirm_cancellation(token, context, committed, result)).await
            }
            TransactionOutcome::Cancelled(result) => result,
        }
    }

    async fn attempt<T>(
        &self,
        token: Option<String>,
        decide: impl Fn(&[Reason<'_>], &TransactionError) -> Attempt<T>,
    ) -> Attempt<TransactionOutcome<T>> {
        if token.is_none() {
            return Attempt::Settled(Err(StoreError::Internal(FailureDetail::new(Cause::NoRandomness))));
        }
        match self.call.clone().set_client_request_token(token).send().await {
            Ok(_) => Attempt::Settled(Ok(TransactionOutcome::Committed)),
            Err(error) => match reasons(&error) {
                Some(reasons) => decide(&reasons, &error).map(|result| Ok(TransactionOutcome::Cancelled(result))),
                // DynamoDB rejected the whole call. The expressions are always valid, so an item does not fit them. AWS
                // documents a cancellation reason for this case; DynamoDB Local rejects the call.
                None if error.code() == Some("ValidationException") => {
                    Attempt::Settled(Err(StoreError::Internal(detail(Cause::CorruptItem, &error))))
                }
                None => failed(&error),
            },
        }
    }

    /// Makes a cancellation final while an earlier attempt may still be on its way. It commits a transaction that writes
    /// nothing under the same token. DynamoDB then refuses every later arrival under this token, because its content
    /// differs.
    ///
    /// If DynamoDB refuses this transaction for that reason, the attempt in doubt was apparently committed. A success must
    /// not rest on this conclusion. So the store sends the original transaction once more; if it was committed, DynamoDB
    /// reports success without writing.
    async fn confirm_cancellation<T>(
        &self,
        token: Option<String>,
        context: &mut CallContext,
        committed: T,
        cancelled: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let take_token = token.as_deref().and_then(|token| self.take_token(token)).ok_or_else(not_built)?;
        let attempt = |_| async {
            match take_token.clone().send().await {
                Ok(_) => Attempt::Settled(Ok(TokenHolder::TakeToken)),
                Err(error) if error.code() == Some("IdempotentParameterMismatchException") => {
                    Attempt::Settled(Ok(TokenHolder::Earlier))
                }
                Err(error) => match reasons(&error) {
                    Some(reasons) => not_decided(read_contention(&reasons), &error),
                    None => failed(&error),
                },
            }
        };
        match retry(CallKind::Settlement, self.sources, context, attempt).await.result.map_err(still_in_doubt)? {
            TokenHolder::TakeToken => cancelled,
            TokenHolder::Earlier => {
                let contradicted = |reasons: &[Reason<'_>], error: &TransactionError| match read_contention(reasons) {
                    contention @ (Cancellation::Conflict | Cancellation::Throttled) => not_decided(contention, error),
                    _ => Attempt::Settled(Err(StoreError::Internal(detail(Cause::TokenTaken, error)))),
                };
                let attempt = |_| self.attempt(token.clone(), contradicted);
                match retry(CallKind::Settlement, self.sources, context, attempt)
                    .await
                    .result
                    .map_err(still_in_doubt)?
                {
                    TransactionOutcome::Committed => Ok(committed),
                    TransactionOutcome::Cancelled(result) => result,
                }
            }
        }
    }

    /// 128 random bits in hex. The 32 characters fit DynamoDB's limit of 36. `None` if the system has no random numbers.
    fn client_token(&self) -> Option<String> {
        self.sources.token().map(|token| format!("{token:032x}"))
    }

    /// A transaction under the same token that writes nothing and whose condition always holds. It checks that an item is
    /// absent whose sort key never exists, so it should meet no other transaction. It can be throttled.
    fn take_token(&self, token: &str) -> Option<TransactWriteItemsFluentBuilder> {
        let first = self.call.get_transact_items().as_ref()?.first()?;
        let (table, key) = match (first.update(), first.delete()) {
            (Some(update), _) => (update.table_name(), update.key()),
            (_, delete) => delete.map(|delete| (delete.table_name(), delete.key()))?,
        };
        let absent = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key.clone()))
            .key(items::SK, AttributeValue::S(token.to_owned()))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let check = TransactWriteItem::builder().condition_check(absent.ok()?).build();
        Some(self.call.clone().client_request_token(token).set_transact_items(Some(vec![check])))
    }
}

/// A refusal of the last call does not clear the attempt in doubt.
fn still_in_doubt(error: StoreError) -> StoreError {
    match error {
        StoreError::TryAgain(detail) => StoreError::Internal(detail),
        other => other,
    }
}

/// What follows from a cancellation that is not a result of the operation.
pub(super) fn not_decided<T>(cancellation: Cancellation, error: &TransactionError) -> Attempt<T> {
    let internal = |cause| Attempt::Settled(Err(StoreError::Internal(detail(cause, error))));
    match cancellation {
        Cancellation::Conflict => Attempt::Contended(detail(Cause::Conflict, error)),
        Cancellation::Throttled => Attempt::Contended(detail(Cause::Throttled, error)),
        Cancellation::CounterUnclear => Attempt::Unclear(detail(Cause::CorruptCounter, error)),
        Cancellation::CorruptRecord => internal(Cause::CorruptRecord),
        _ => internal(Cause::UnknownCancellation),
    }
}

fn reasons(error: &TransactionError) -> Option<Vec<Reason<'_>>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons().iter();
    Some(reasons.map(|reason| Reason { code: reason.code().unwrap_or_default(), item: reason.item() }).collect())
}
