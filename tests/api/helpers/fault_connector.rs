//! The connector between the handler and its database. It records every call and injects the faults that a test scripts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What happens to a call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing: the database receives it and its response arrives.
    Pass,
    /// The database receives it. The response is lost.
    LoseResponse,
    /// The connection closes before the database receives it.
    LoseRequest,
    /// No connection can be opened.
    Unreachable,
    /// The database does not receive it. This is the response.
    Response(u16, Value),
    /// The database does not receive it. This text is the response.
    Garbage(u16, &'static str),
    /// It is cancelled with these reasons. The database does not receive it.
    Cancelled(Vec<Value>),
    /// The database receives it without its last keys. They come back as unprocessed.
    Unprocessed(usize),
    /// No response ever arrives.
    Hang,
    /// It waits at the gate, and passes when the gate opens.
    Wait(Arc<Gate>),
}

/// Where a call waits while a test changes the table.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    reached: Notify,
    opened: Notify,
}

impl Gate {
    /// Runs `change` when a call has reached the gate, then lets the call pass.
    pub(crate) async fn meanwhile(&self, change: impl Future<Output = ()>) {
        self.reached.notified().await;
        change.await;
        self.opened.notify_one();
    }
}

impl Fault {
    /// An error of DynamoDB with this name.
    pub(crate) fn error(status: u16, name: &str) -> Self {
        Self::Response(status, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "m" }))
    }

    /// A cancelled transaction with these two reasons.
    pub(crate) fn cancelled(record: &Value, counter: &Value) -> Self {
        Self::cancelled_for(&[record.clone(), counter.clone()])
    }

    /// A cancelled transaction with these reasons. If there are fewer reasons than items, the remaining items get the
    /// reason `None`.
    pub(crate) fn cancelled_for(reasons: &[Value]) -> Self {
        Self::Cancelled(reasons.to_vec())
    }

    fn cancellation(reasons: &[Value], items: usize) -> Self {
        let passed = std::iter::repeat_n(json!({ "Code": "None" }), items.saturating_sub(reasons.len()));
        let reasons: Vec<_> = reasons.iter().cloned().chain(passed).collect();
        Self::Response(
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": reasons,
            }),
        )
    }
}

/// A recorded call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `GetItem`, `TransactWriteItems`, …
    pub(crate) operation: String,
    /// The body of the request.
    pub(crate) request: Value,
    /// The request's headers, without its length.
    pub(crate) headers: Vec<(String, String)>,
    /// The capacity units that it consumed.
    pub(crate) units: f64,
}

/// The scripted faults and the recorded calls. A test shares them with its connector.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: Mutex<Vec<Call>>,
    /// The faults of the next writes. Later writes have none.
    writes: Mutex<VecDeque<Fault>>,
    /// The faults of the next reads. Later reads have none.
    reads: Mutex<VecDeque<Fault>>,
}

impl Faults {
    /// Scripts the faults of the next writes.
    pub(crate) fn writes(&self, faults: impl IntoIterator<Item = Fault>) {
        self.writes.lock().unwrap().extend(faults);
    }

    /// Scripts the faults of the next reads.
    pub(crate) fn reads(&self, faults: impl IntoIterator<Item = Fault>) {
        self.reads.lock().unwrap().extend(faults);
    }

    /// From now on everything passes.
    pub(crate) fn clear(&self) {
        self.writes.lock().unwrap().clear();
        self.reads.lock().unwrap().clear();
    }

    /// Returns and forgets the recorded calls.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn fault(&self, operation: &str) -> Fault {
        let script = if operation == "TransactWriteItems" { &self.writes } else { &self.reads };
        script.lock().unwrap().pop_front().unwrap_or(Fault::Pass)
    }
}

#[derive(Debug)]
pub(crate) struct FaultConnector {
    faults: Arc<Faults>,
    network: SharedHttpConnector,
}

impl FaultConnector {
    pub(crate) fn connector(faults: Arc<Faults>) -> SharedHttpConnector {
        SharedHttpConnector::new(Self { faults, network: SharedHttpConnector::new(Connector::builder().build_http()) })
    }
}

impl HttpConnector for FaultConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (faults, network) = (Arc::clone(&self.faults), self.network.clone());
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.split('.').next_back().unwrap_or_default().to_owned();
            let mut sent: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let mut fault = faults.fault(&operation);
            if let Fault::Cancelled(reasons) = &fault {
                let items = sent["TransactItems"].as_array().map_or(0, Vec::len);
                fault = Fault::cancellation(reasons, items);
            }
            let index = {
                let mut calls = faults.calls.lock().unwrap();
                let headers = request.headers().iter().filter(|(name, _)| *name != "content-length");
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                calls.push(Call { operation, request: sent.clone(), headers, units: 0.0 });
                calls.len() - 1
            };
            let unprocessed = match fault {
                Fault::Unprocessed(count) => without_last_keys(&mut sent, count),
                _ => Value::Null,
            };
            // The database does not check signatures, so the connector can add a field to the request.
            sent["ReturnConsumedCapacity"] = "TOTAL".into();
            let mut request = request;
            *request.body_mut() = SdkBody::from(sent.to_string());
            request.headers_mut().remove("content-length");
            if let Fault::Wait(gate) = &fault {
                gate.reached.notify_one();
                gate.opened.notified().await;
            }
            match fault {
                Fault::Pass | Fault::Wait(_) | Fault::Unprocessed(_) => {
                    let response = network.call(request).await?;
                    let status = response.status();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    let mut answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let units = units(&answer);
                    if let Some(call) = faults.calls.lock().unwrap().get_mut(index) {
                        call.units = units;
                    }
                    if unprocessed.is_null() {
                        return Ok(HttpResponse::new(status, SdkBody::from(body.to_vec())));
                    }
                    answer["UnprocessedKeys"] = unprocessed;
                    Ok(HttpResponse::new(status, SdkBody::from(answer.to_string())))
                }
                Fault::LoseResponse => {
                    let response = network.call(request).await?;
                    response.into_body().collect().await.unwrap();
                    Err(lost())
                }
                Fault::LoseRequest => Err(lost()),
                Fault::Unreachable => {
                    // No process listens on port 1.
                    request.set_uri("http://127.0.0.1:1/").unwrap();
                    network.call(request).await
                }
                Fault::Response(status, body) => response(status, &body.to_string()),
                Fault::Garbage(status, body) => response(status, body),
                Fault::Cancelled(_) => unreachable!("it became a response"),
                Fault::Hang => std::future::pending().await,
            }
        })
    }
}

/// Takes the last keys out of a batch, and returns them as DynamoDB does.
fn without_last_keys(batch: &mut Value, count: usize) -> Value {
    let tables = batch["RequestItems"].as_object_mut().unwrap();
    let (table, request) = tables.iter_mut().next().unwrap();
    let keys = request["Keys"].as_array_mut().unwrap();
    let unprocessed = keys.split_off(keys.len() - count.min(keys.len() - 1));
    json!({ table: { "Keys": unprocessed } })
}

fn lost() -> ConnectorError {
    ConnectorError::io("connection reset".into())
}

/// DynamoDB's request id in every scripted response.
pub(crate) const AWS_REQUEST_ID: &str = "ID-OF-A-SCRIPTED-RESPONSE";

fn response(status: u16, body: &str) -> Result<HttpResponse, ConnectorError> {
    let status = status.try_into().map_err(|_| lost())?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("x-amzn-requestid", AWS_REQUEST_ID);
    Ok(response)
}

/// The units of a call on one item, or the sum over the tables of a transaction.
fn units(response: &Value) -> f64 {
    let capacity = &response["ConsumedCapacity"];
    let one = |capacity: &Value| capacity["CapacityUnits"].as_f64().unwrap_or_default();
    capacity.as_array().map_or_else(|| one(capacity), |tables| tables.iter().map(one).sum())
}

/// Faults of the first attempts of a write of one item. The next attempt succeeds.
pub(crate) fn temporary_faults() -> [Vec<Fault>; 6] {
    [
        vec![Fault::LoseResponse],
        vec![Fault::LoseRequest],
        vec![Fault::LoseResponse, Fault::error(400, "TransactionInProgressException"), Fault::LoseResponse],
        vec![Fault::Garbage(200, "<html>"), Fault::LoseResponse],
        vec![Fault::error(500, "InternalServerError"), Fault::Unreachable],
        vec![
            Fault::cancelled_for(&[json!({ "Code": "TransactionConflict" })]),
            Fault::error(400, "ThrottlingException"),
        ],
    ]
}
