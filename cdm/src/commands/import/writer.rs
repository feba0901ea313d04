//! Writes one line of an import: the record, then each number, with retries.
//!
//! A throttled table or a lost connection is not the line's fault. Its writes are retried until they succeed or the
//! operator stops the import. Then the line is unfinished, and the next run imports it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use cdm_lambda::domain::{AddPhone, Channel, ClientId, ConsentType};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::throttling;
use cdm_lambda::store::{CallContext, Cause, StoreError};
use tokio::sync::watch;

use crate::commands::import::row::Row;
use crate::table::call_failure;
use crate::table::connection::Connection;
use crate::table::item_parts;
use crate::ui::Failure;
use crate::ui::output::note;

/// How long one attempt of a store operation may take, including contention.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Full jitter: each pause is a random part of a ceiling. The ceiling is `FIRST_PAUSE` before the first retry and doubles
/// with each retry, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the operator is reminded that lines are waiting.
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// What was written of a line.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) created: bool,
    pub(crate) added: u64,
    pub(crate) present: u64,
    /// How many of the numbers are stopped, although the line states another consent.
    pub(crate) stopped: u64,
    /// Why a part of the line could not be written. A repeat would fail again.
    pub(crate) rejected: Option<String>,
}

/// Why a line is unfinished.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The operator stopped the import while the line waited for the database.
    Stopped,
    /// The next line would fail the same way.
    Failed(Failure),
}

/// Why one write did not happen.
enum Problem {
    /// It may succeed later: throttled, or no response.
    Passing,
    /// The failure is this line's own.
    Rejected(Failure),
    /// Every write would fail.
    Fatal(Failure),
}

/// Writes lines for one client.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) client_id: ClientId,
    pub(crate) retry: Retry,
}

/// Retries writes until the operator stops the import.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// True once the import is being stopped.
    stopping: watch::Receiver<bool>,
    /// When the operator was last reminded that lines are waiting.
    reminded: Arc<Mutex<Option<Instant>>>,
}

impl Retry {
    pub(crate) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { stopping, reminded: Arc::default() }
    }

    /// Repeats a write until it is done, refused for good, or the import stops. An attempt may find what an
    /// earlier attempt wrote.
    async fn until_done<T, F>(&mut self, attempt: impl Fn() -> F) -> Result<Result<T, Failure>, Unfinished>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        for retry in 0_u32.. {
            match attempt().await {
                Ok(done) => return Ok(Ok(done)),
                Err(Problem::Rejected(failure)) => return Ok(Err(failure)),
                Err(Problem::Fatal(failure)) => return Err(Unfinished::Failed(failure)),
                Err(Problem::Passing) => self.remind(),
            }
            let ceiling = FIRST_PAUSE.saturating_mul(1 << retry.min(10)).min(LONGEST_PAUSE);
            tokio::select! {
                _ = self.stopping.wait_for(|stopping| *stopping) => break,
                () = tokio::time::sleep(ceiling.mul_f64(fastrand::f64())) => {}
            }
        }
        Err(Unfinished::Stopped)
    }

    fn remind(&self) {
        let mut last = self.reminded.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= REMIND_EVERY) {
            *last = Some(Instant::now());
            note("DynamoDB throttles the writes or does not respond: retrying until you stop the import (Ctrl-C)");
        }
    }
}

impl Writer {
    /// Creates the record if it does not exist, then adds each number that it lacks.
    pub(crate) async fn write(&mut self, row: Row) -> Result<Written, Unfinished> {
        let Self { connection, client_id, retry } = self;
        let mut written = Written::default();
        let record = items::empty_record(client_id, &row.ccid, row.created_at);
        let there = match retry.until_done(|| create(connection, &record)).await? {
            Ok(there) => there,
            Err(Failure(why)) => {
                written.rejected = Some(why);
                return Ok(written);
            }
        };
        written.created = there.is_none();
        let there: BTreeSet<_> = there.iter().flat_map(item_parts::channels).collect();
        let (mut reasons, count) = (Vec::new(), row.channels.len());
        for (place, channel) in row.channels.into_iter().enumerate() {
            if there.contains(channel.phone.e164()) {
                written.present += 1;
                written.stopped += u64::from(is_stopped_against(&channel, connection, client_id, retry).await?);
                continue;
            }
            let add = AddPhone { client_id: client_id.clone(), ccid: row.ccid.clone(), channel };
            match retry.until_done(|| add_number(connection, &add)).await? {
                Ok(true) => written.added += 1,
                Ok(false) => written.present += 1,
                Err(failure) => {
                    let of = if count == 1 { String::new() } else { format!("phone_numbers[{place}]: ") };
                    reasons.push(format!("{of}{failure}"));
                    continue;
                }
            }
            written.stopped += u64::from(is_stopped_against(&add.channel, connection, client_id, retry).await?);
        }
        written.rejected = (!reasons.is_empty()).then(|| reasons.join("; "));
        Ok(written)
    }
}

/// Adds a number by the function's own write. Returns `false` if the record already has it.
async fn add_number(connection: &Connection, add: &AddPhone) -> Result<bool, Problem> {
    match connection.store.add_phone(add, &mut CallContext::within(ATTEMPT)).await {
        Ok(_) => Ok(true),
        Err(StoreError::PhoneAlreadyAdded) => Ok(false),
        Err(error) => Err(problem(error, &connection.table)),
    }
}

/// Whether the number is stopped, although the line states another consent. An import never lifts a stop.
async fn is_stopped_against(
    channel: &Channel,
    connection: &Connection,
    client_id: &ClientId,
    retry: &mut Retry,
) -> Result<bool, Unfinished> {
    if matches!(channel.consent_type, None | Some(ConsentType::Stop)) {
        return Ok(false);
    }
    let read = || async {
        match connection.store.phone(client_id, &channel.phone, &mut CallContext::within(ATTEMPT)).await {
            Ok(record) => Ok(record.consent.is_some_and(|consent| consent.consent_type == ConsentType::Stop)),
            Err(StoreError::PhoneNotFound) => Ok(false),
            Err(error) => Err(problem(error, &connection.table)),
        }
    };
    // A corrupt item of the number is a finding of `cdm check`, not of this line.
    Ok(retry.until_done(read).await?.unwrap_or(false))
}

fn problem(error: StoreError, table: &str) -> Problem {
    let cause = match &error {
        StoreError::TryAgain(_) => return Problem::Passing,
        StoreError::Internal(detail) => detail.cause,
        _ => return Problem::Rejected(call_failure::refusal(error, table)),
    };
    match cause {
        // These two items are corrupt; other lines are not affected.
        cause if cause.is_corruption() => Problem::Rejected(call_failure::refusal(error, table)),
        Cause::UnknownCancellation => Problem::Rejected(call_failure::refusal(error, table)),
        Cause::Refused | Cause::NoCredentials | Cause::NotBuilt | Cause::NoRandomness | Cause::Panicked => {
            Problem::Fatal(call_failure::refusal(error, table))
        }
        // Without a response the outcome of the write is unknown; a repeat finds out.
        _ => Problem::Passing,
    }
}

/// Writes the record if there is none. Returns the existing record otherwise.
async fn create(connection: &Connection, record: &Item) -> Result<Option<Item>, Problem> {
    let once = aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled());
    let put = connection
        .client
        .put_item()
        .table_name(&connection.table)
        .set_item(Some(record.clone()))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .customize()
        .config_override(once);
    let Err(error) = put.send().await else { return Ok(None) };
    let fatal = || Problem::Fatal(connection.failed("the item cannot be written", &error));
    match &error {
        SdkError::ServiceError(context) => match context.err() {
            PutItemError::ConditionalCheckFailedException(refused) => {
                let there = refused.item().cloned().unwrap_or_default();
                // The existing record is the one that this line brought: the response to an earlier
                // attempt was lost.
                Ok(if there == *record { None } else { Some(there) })
            }
            _ if context.raw().status().is_server_error() || error.code().is_some_and(is_passing) => {
                Err(Problem::Passing)
            }
            _ => Err(fatal()),
        },
        SdkError::ConstructionFailure(_) => Err(fatal()),
        // Credentials of a role or a login expire, and waiting does not renew them.
        _ if call_failure::is_of_credentials(&error) => Err(fatal()),
        _ => Err(Problem::Passing),
    }
}

/// Whether a refusal with this DynamoDB code passes without a change.
fn is_passing(code: &str) -> bool {
    throttling::is_throttled_call(code)
        || matches!(
            code,
            "TransactionConflictException"
                | "TransactionInProgressException"
                | "InternalServerError"
                | "ServiceUnavailable"
        )
}
