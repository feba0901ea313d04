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
    /// No response ever arrives.
    Hang,
}

impl Fault {
    /// An error of DynamoDB with this name.
    pub(crate) fn error(status: u16, name: &str) -> Self {
        Self::Response(status, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "m" }))
    }

    /// A cancelled transaction with these two reasons.
    pub(crate) fn cancelled(record: &Value, counter: &Value) -> Self {
        Self::Response(
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": [record, counter],
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
            let fault = faults.fault(&operation);
            let index = {
                let mut calls = faults.calls.lock().unwrap();
                calls.push(Call { operation, request: sent.clone(), units: 0.0 });
                calls.len() - 1
            };
            // The database does not check signatures, so the connector can add a field to the request.
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
                Fault::Hang => std::future::pending().await,
            }
        })
    }
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
