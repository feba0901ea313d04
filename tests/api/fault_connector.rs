//! The faults between the handler and its database: counts what passes, and does to it what a test has scripted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// What happens to one call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It passes.
    Pass,
    /// It is carried out, then this happens (to a test's own task), and the answer is lost.
    LoseAnswer,
    /// It is not carried out, and the connection is lost.
    LoseRequest,
    /// It is not carried out: no connection can be made.
    Unreachable,
    /// It is not carried out; this is the answer.
    Answer(u16, Value),
    /// It is not carried out; this is the answer's text.
    Garbage(u16, &'static str),
    /// It is never answered.
    Hang,
}

impl Fault {
    /// A refusal by DynamoDB, by the name of its error.
    pub(crate) fn error(status: u16, name: &str) -> Self {
        Self::Answer(status, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "m" }))
    }

    /// A cancelled transaction with these two reasons.
    pub(crate) fn cancelled(record: &Value, counter: &Value) -> Self {
        Self::Answer(
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": [record, counter],
            }),
        )
    }
}

/// One call that was made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `GetItem`, `TransactWriteItems`, …
    pub(crate) operation: String,
    /// What was sent.
    pub(crate) request: Value,
    /// What DynamoDB says that it cost, in units.
    pub(crate) units: f64,
}

/// Shared by a test and the connector under its client.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: Mutex<Vec<Call>>,
    /// Of the handler's next writes. When it is empty, everything passes.
    writes: Mutex<VecDeque<Fault>>,
    /// The same for its reads.
    reads: Mutex<VecDeque<Fault>>,
}

impl Faults {
    /// Scripts the next writes.
    pub(crate) fn writes(&self, faults: impl IntoIterator<Item = Fault>) {
        self.writes.lock().unwrap().extend(faults);
    }

    /// Scripts the next reads.
    pub(crate) fn reads(&self, faults: impl IntoIterator<Item = Fault>) {
        self.reads.lock().unwrap().extend(faults);
    }

    /// The calls since this was last asked.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn fault(&self, operation: &str) -> Fault {
        let script = if operation == "TransactWriteItems" { &self.writes } else { &self.reads };
        script.lock().unwrap().pop_front().unwrap_or(Fault::Pass)
    }
}

/// The connector under the handler's client.
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
            let fault = faults.fault(&operation);
            let index = {
                let mut calls = faults.calls.lock().unwrap();
                calls.push(Call { operation, request: sent.clone(), units: 0.0 });
                calls.len() - 1
            };
            // The emulator checks no signature, so the faults may ask what a call costs.
            sent["ReturnConsumedCapacity"] = "TOTAL".into();
            let mut request = request;
            *request.body_mut() = SdkBody::from(sent.to_string());
            request.headers_mut().remove("content-length");
            match fault {
                Fault::Pass => {
                    let response = network.call(request).await?;
                    let status = response.status();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    let units = units(&serde_json::from_slice(&body).unwrap_or_default());
                    if let Some(call) = faults.calls.lock().unwrap().get_mut(index) {
                        call.units = units;
                    }
                    Ok(HttpResponse::new(status, SdkBody::from(body.to_vec())))
                }
                Fault::LoseAnswer => {
                    let response = network.call(request).await?;
                    response.into_body().collect().await.unwrap();
                    Err(lost())
                }
                Fault::LoseRequest => Err(lost()),
                Fault::Unreachable => {
                    // Port 1 is nobody's.
                    request.set_uri("http://127.0.0.1:1/").unwrap();
                    network.call(request).await
                }
                Fault::Answer(status, body) => answer(status, &body.to_string()),
                Fault::Garbage(status, body) => answer(status, body),
                Fault::Hang => std::future::pending().await,
            }
        })
    }
}

fn lost() -> ConnectorError {
    ConnectorError::io("connection reset".into())
}

/// DynamoDB's id of every call that is answered from a script.
pub(crate) const AWS_REQUEST_ID: &str = "ID-OF-A-SCRIPTED-ANSWER";

fn answer(status: u16, body: &str) -> Result<HttpResponse, ConnectorError> {
    let status = status.try_into().map_err(|_| lost())?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("x-amzn-requestid", AWS_REQUEST_ID);
    Ok(response)
}

/// Of a call on one item, or of each table of a transaction.
fn units(response: &Value) -> f64 {
    let capacity = &response["ConsumedCapacity"];
    let one = |capacity: &Value| capacity["CapacityUnits"].as_f64().unwrap_or_default();
    capacity.as_array().map_or_else(|| one(capacity), |tables| tables.iter().map(one).sum())
}
