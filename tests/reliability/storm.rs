//! Many adds to one record at once, in virtual time, with the function's own retries over a model of how DynamoDB refuses
//! overlapping transactions. A caller that receives `try_again` waits as long as `Retry-After` says and repeats the request.
//!
//! AWS publishes neither how long a transaction locks its items nor which of two is refused. So the test runs with fast and
//! slow transactions, and with both refusals. `docs/reliability.md` compares the function's retries with other ways to retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use cdm_lambda::domain::{AddPhone, Ccid, ClientId, Limits};
use cdm_lambda::store::{CallContext, Store, StoreError};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::embedded::{REGION, any_credentials};
use tokio::time::{Instant, sleep};

use crate::deployment::channel;
use crate::is_full;

const LIMIT: usize = 50;
/// The function's timeout, less its margin for the response.
const DEADLINE: Duration = Duration::from_millis(14_500);
/// How long the function retries after conflicts.
const CONTENTION: Duration = Duration::from_millis(3_000);
/// The longest `Retry-After`, in seconds. The shortest is 1.
const LONGEST_RETRY_AFTER: u64 = 5;
/// The most requests of one caller.
const MOST_REQUESTS: u32 = 10;
/// The requests begin within this time.
const START: Duration = Duration::from_millis(50);
/// The longest that an attempt of the model takes.
const SLOWEST_ATTEMPT: Duration = Duration::from_millis(40);

/// Which transaction is refused when two overlap on an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Later,
    Both,
}

/// A model of DynamoDB with one record.
#[derive(Debug)]
struct Model {
    refused: Refused,
    /// How long a transaction locks its items.
    lock_time: Duration,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    phones: BTreeSet<String>,
    /// The transaction that has locked the record, unless another one has broken the lock.
    locked_by: Option<u64>,
    transactions: u64,
    wasted_units: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Committed,
    Full,
    Conflict,
}

impl Record {
    /// The write units of an attempt, refused or not: two for each kilobyte of the record, two for the counter.
    fn units_of_an_attempt(&self) -> u64 {
        2 * (200 + 110 * self.phones.len() as u64).div_ceil(1024) + 2
    }

    /// Locks the record for a new transaction and returns its number, or refuses the transaction.
    fn lock(&mut self, refused: Refused) -> Result<u64, Reply> {
        self.transactions += 1;
        if self.locked_by.is_some() {
            self.wasted_units += self.units_of_an_attempt();
            if refused == Refused::Both {
                self.locked_by = None;
            }
            return Err(Reply::Conflict);
        }
        if self.phones.len() >= LIMIT {
            self.wasted_units += self.units_of_an_attempt();
            return Err(Reply::Full);
        }
        self.locked_by = Some(self.transactions);
        Ok(self.transactions)
    }

    fn commit(&mut self, transaction: u64, phone: &str) -> Reply {
        if self.locked_by != Some(transaction) {
            self.wasted_units += self.units_of_an_attempt();
            return Reply::Conflict;
        }
        self.locked_by = None;
        self.phones.insert(phone.to_owned());
        Reply::Committed
    }
}

impl Model {
    /// One attempt, from the request to the reply.
    async fn add(&self, phone: &str) -> Reply {
        let network = || sleep(Duration::from_millis(fastrand::u64(1..=3)));
        network().await;
        let locked = self.record.lock().unwrap().lock(self.refused);
        let reply = match locked {
            Err(reply) => reply,
            Ok(transaction) => {
                sleep(self.lock_time).await;
                self.record.lock().unwrap().commit(transaction, phone)
            }
        };
        network().await;
        reply
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Response {
    Added,
    Full,
    TryAgain,
}

/// The results of all callers.
struct Storm {
    /// The responses to the callers' first requests.
    first_responses: BTreeMap<Response, u64>,
    /// The mean and the maximum number of attempts of a first request.
    attempts: (f64, u32),
    /// The number of callers whose last response was `try_again`.
    unserved: usize,
    requests: u64,
    /// The time for which all requests together used an execution environment.
    environment_time: Duration,
    wasted_units: u64,
    is_filled: bool,
}

/// The results of one caller.
struct Caller {
    first_response: Response,
    first_attempts: u32,
    last_response: Response,
    requests: u64,
    environment_time: Duration,
}

async fn caller(store: &Store, number: usize) -> Caller {
    sleep(START.mul_f64(fastrand::f64())).await;
    let phone = format!("{:010}", 2_000_000_000 + number);
    let (mut first, mut environment_time) = (None, Duration::ZERO);
    for requests in 1..=MOST_REQUESTS {
        let began = Instant::now();
        let (response, attempts) = add(store, &phone).await;
        let took = began.elapsed();
        assert!(took <= CONTENTION + SLOWEST_ATTEMPT, "a response after {took:?}");
        environment_time += took;
        let (first_response, first_attempts) = *first.get_or_insert((response, attempts));
        if response != Response::TryAgain || requests == MOST_REQUESTS {
            let (last_response, requests) = (response, requests.into());
            return Caller { first_response, first_attempts, last_response, requests, environment_time };
        }
        sleep(Duration::from_secs(fastrand::u64(1..=LONGEST_RETRY_AFTER))).await;
    }
    unreachable!("the last request returns")
}

/// The response to an add, and how many attempts it took.
async fn add(store: &Store, phone: &str) -> (Response, u32) {
    let add = AddPhone {
        client_id: ClientId::parse("clinic").unwrap(),
        ccid: Ccid::parse("BAK-1").unwrap(),
        channel: channel(phone),
    };
    let mut context = CallContext::within(DEADLINE);
    let response = match store.add_phone(&add, &mut context).await {
        Ok(_) => Response::Added,
        Err(StoreError::CustomerPhoneLimitReached) => Response::Full,
        Err(StoreError::TryAgain(_)) => Response::TryAgain,
        Err(error) => panic!("{error:?}"),
    };
    (response, context.stats.round_trips)
}

async fn storm(callers: usize, refused: Refused, lock_time: Duration) -> Storm {
    let model = Arc::new(Model { refused, lock_time, record: Mutex::default() });
    let store = Store::new(client(&model), "phones".to_owned(), Limits::CONTRACT);
    let callers = join_all((0..callers).map(|number| caller(&store, number))).await;
    let record = model.record.lock().unwrap();
    let ended_with = |response| callers.iter().filter(|caller| caller.last_response == response).count();
    assert_eq!(ended_with(Response::Added), record.phones.len(), "each 200 must be in the record");
    assert!(record.phones.len() <= LIMIT);
    let mut first_responses = BTreeMap::new();
    for caller in &callers {
        *first_responses.entry(caller.first_response).or_default() += 1;
    }
    let attempts = callers.iter().map(|caller| caller.first_attempts);
    let mean = f64::from(attempts.clone().sum::<u32>()) / f64::from(u32::try_from(callers.len()).unwrap());
    Storm {
        first_responses,
        attempts: (mean, attempts.max().unwrap()),
        unserved: ended_with(Response::TryAgain),
        requests: callers.iter().map(|caller| caller.requests).sum(),
        environment_time: callers.iter().map(|caller| caller.environment_time).sum(),
        wasted_units: record.wasted_units,
        is_filled: record.phones.len() == LIMIT,
    }
}

/// The SDK's client, with the model instead of the network.
fn client(model: &Arc<Model>) -> Client {
    #[derive(Debug, Clone)]
    struct ModelConnector(Arc<Model>);

    impl HttpConnector for ModelConnector {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let model = Arc::clone(&self.0);
            HttpConnectorFuture::new(async move {
                let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
                let e164 = body["TransactItems"][0]["Update"]["ExpressionAttributeNames"]["#e164"].as_str().unwrap();
                let (status, body) = match model.add(e164).await {
                    Reply::Committed => (200, json!({})),
                    Reply::Conflict => cancelled(&json!({ "Code": "TransactionConflict" })),
                    Reply::Full => cancelled(&json!({
                        "Code": "ConditionalCheckFailed",
                        "Item": { "phone_count": { "N": "50" }, "notification_channels": { "M": {} } },
                    })),
                };
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string())))
            })
        }
    }

    fn cancelled(record: &Value) -> (u16, Value) {
        let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        (400, json!({ "__type": code, "CancellationReasons": [record, { "Code": "None" }] }))
    }

    let connector = SharedHttpConnector::new(ModelConnector(Arc::clone(model)));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(any_credentials())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Runs in virtual time, on one thread and from one seed, so that each run has the same result.
fn run(callers: usize, refused: Refused, lock_millis: u64) -> Storm {
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(storm(callers, refused, Duration::from_millis(lock_millis)))
}

#[test]
fn concurrent_adds_to_one_record_fill_it_and_each_caller_is_served() {
    let callers = if is_full() { 1_000 } else { 100 };
    for (refused, lock_millis) in [(Refused::Later, 8), (Refused::Later, 30), (Refused::Both, 8), (Refused::Both, 30)] {
        let storm = run(callers, refused, lock_millis);
        println!(
            "{callers} adds, {refused:?} refused, items locked for {lock_millis} ms: first responses {:?}, attempts mean and \
             most {:.1?}, unserved {}, requests {}, environment-seconds {:.0?}, write units wasted {}",
            storm.first_responses,
            storm.attempts,
            storm.unserved,
            storm.requests,
            storm.environment_time,
            storm.wasted_units
        );
        if refused == Refused::Later {
            let first = |response| storm.first_responses.get(&response).copied().unwrap_or(0);
            let responses = (first(Response::Added), first(Response::TryAgain));
            assert_eq!(responses, (50, 0), "each first request must have a final response");
        }
        // A thousand callers that are both refused keep refusing each other. docs/reliability.md has the figures.
        if !is_full() {
            assert!(storm.is_filled, "repeated requests must fill the record");
            assert_eq!(storm.unserved, 0, "each caller must be served in the end");
        }
    }
}
