//! One deployment of the function: a table, a proxy in front of it, and execution environments that reach the table
//! through the proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::domain::{Ccid, Channel, ClientId, CountryCode, Digits, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::read_customer;
use cdm_lambda::time::UnixMillis;
use serde_json::json;
use testkit::TIMEOUT;
use testkit::database::Database;
use testkit::runtime_api::{Environment, Invocation};

use crate::proxy::Proxy;
use crate::request::{Action, Outcome, Request};

const TABLE: &str = "phones";
const CLIENT: &str = "clinic";

/// A table with one client and its API key, behind a proxy.
pub(crate) struct Deployment {
    pub(crate) proxy: Proxy,
    /// A client of the table that bypasses the proxy.
    direct: Client,
    key: String,
    database: Database,
}

impl Deployment {
    pub(crate) async fn start() -> Self {
        let database = Database::start().await;
        let direct = database.client().await;
        testkit::create_table(&direct, TABLE).await.unwrap();
        let key = ApiKey::from_secret(&[7; 32]);
        let deployment =
            Self { proxy: Proxy::start(database.address()).await, direct, key: key.reveal().to_owned(), database };
        let mut item = items::api_key_key(&key.sha256_hex());
        item.insert(items::CLIENT_ID.to_owned(), AttributeValue::S(CLIENT.to_owned()));
        item.insert(items::CREATED_AT.to_owned(), items::from_unix_millis(UnixMillis::now()));
        deployment.put(item).await;
        deployment
    }

    /// Starts an execution environment of the function.
    pub(crate) async fn environment(&self) -> Environment {
        let url = self.proxy.url();
        let variables = [
            ("TABLE_NAME", TABLE),
            ("AWS_ENDPOINT_URL_DYNAMODB", &url),
            ("AWS_ACCESS_KEY_ID", self.database.access_key()),
            ("LOG_LEVEL", "error"),
        ];
        // BOOTSTRAP names another build, such as the one that ships.
        let bootstrap = std::env::var("BOOTSTRAP");
        let bootstrap = bootstrap.as_deref().unwrap_or(env!("CARGO_BIN_EXE_bootstrap"));
        Environment::start(bootstrap, &variables).await
    }

    /// Creates a record with these numbers, and counts it on the counter of each number.
    pub(crate) async fn customer(&self, ccid: &str, phones: &[&str]) {
        let (client, name) = (client(), Ccid::parse(ccid).unwrap());
        let mut record = items::empty_record(&client, &name, UnixMillis::now());
        let channels = phones.iter().map(|digits| (format!("+1{digits}"), items::from_channel(&channel(digits))));
        record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels.collect()));
        record.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N(phones.len().to_string()));
        self.put(record).await;
        for digits in phones {
            self.direct
                .update_item()
                .table_name(TABLE)
                .set_key(Some(items::phone_key(&client, &channel(digits).phone)))
                .update_expression("ADD ccid_count :one, ccids :ccid")
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .expression_attribute_values(":ccid", AttributeValue::Ss(vec![ccid.to_owned()]))
                .send()
                .await
                .unwrap();
        }
    }

    /// Revokes the client's key.
    pub(crate) async fn revoke_key(&self) {
        let mut item = items::api_key_key(&ApiKey::parse(&self.key).unwrap().sha256_hex());
        item.insert(items::CLIENT_ID.to_owned(), AttributeValue::S(CLIENT.to_owned()));
        item.insert(items::REVOKED_AT.to_owned(), items::from_unix_millis(UnixMillis::now()));
        self.put(item).await;
    }

    async fn put(&self, item: Item) {
        self.direct.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    }

    /// Sends a request, with the timeout of the template.
    pub(crate) async fn send(&self, environment: &Environment, request: &Request) -> Outcome {
        self.send_within(environment, request, TIMEOUT).await
    }

    /// Sends a request. The test fails if there is no response: the function must respond under every fault.
    pub(crate) async fn send_within(&self, environment: &Environment, request: &Request, time: Duration) -> Outcome {
        let invocation = environment.invoke(self.event(request), time).await;
        Outcome::parse(&invocation)
            .unwrap_or_else(|| panic!("{request:?} ended in {invocation:?}: {}", environment.output()))
    }

    /// Sends a request, and kills the process after `calls` more calls to DynamoDB have ended, unless the function has
    /// responded by then. The outcome of a killed request is unknown. Another environment replaces the killed one.
    pub(crate) async fn send_and_kill(
        &self,
        environment: &mut Environment,
        request: &Request,
        time: Duration,
        calls: u64,
    ) -> Outcome {
        let (invocation, is_killed) = {
            let mut invoked = pin!(environment.invoke(self.event(request), time));
            tokio::select! {
                biased;
                invocation = &mut invoked => (invocation, false),
                () = self.proxy.wait_for_calls(calls) => {
                    environment.signal("KILL");
                    // A response may already have been sent.
                    (invoked.await, true)
                }
            }
        };
        if is_killed {
            *environment = self.environment().await;
        }
        match invocation {
            Invocation::Exited if is_killed => Outcome::Unknown,
            ended => Outcome::parse(&ended).unwrap_or_else(|| panic!("{request:?} ended in {ended:?}")),
        }
    }

    /// Freezes an environment, closes every connection to DynamoDB, and thaws the environment. The connections of the other
    /// environments close in the middle of their requests.
    pub(crate) async fn freeze_and_disconnect(&self, environment: &Environment) {
        environment.freeze();
        self.proxy.disconnect().await;
        environment.thaw();
    }

    /// The event of an HTTP API, with the members that the function reads.
    pub(crate) fn event(&self, request: &Request) -> String {
        let Request { action, ccid, phone, idempotency_key, source } = request;
        let (method, route, tail) = match action {
            Action::Add => ("PUT", "/add_phone/{phone_number}", format!("/add_phone/{phone}")),
            Action::Remove => ("PUT", "/remove_phone/{phone_number}", format!("/remove_phone/{phone}")),
            Action::Read => ("GET", "", String::new()),
        };
        let mut headers = json!({ "x-relay-api-key": self.key });
        if let Some(key) = idempotency_key {
            headers["idempotency-key"] = (*key).into();
        }
        let body = (*action == Action::Add).then(|| json!({ "client_source": source }).to_string());
        let path = format!("/cdm/client/{CLIENT}/customer/{ccid}{tail}");
        json!({
            "version": "2.0",
            "routeKey": format!("ANY /cdm/client/{{client_id}}/customer/{{ccid}}{route}"),
            "rawPath": path,
            "headers": headers,
            "pathParameters": { "client_id": CLIENT, "ccid": ccid, "phone_number": phone },
            "requestContext": { "requestId": "a-request", "http": { "method": method, "path": path } },
            "body": body,
            "isBase64Encoded": false,
        })
        .to_string()
    }

    /// Each record's numbers, after checking that every record and counter agrees with the others.
    pub(crate) async fn contents(&self) -> Contents {
        let (mut records, mut counters) = (Contents::new(), Contents::new());
        let mut pages = self.direct.scan().table_name(TABLE).consistent_read(true).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            let pk = item[items::PK].as_s().unwrap();
            if let Some(ccid) = pk.strip_prefix(&format!("CLIENT#{CLIENT}#CUSTOMER#")) {
                // Reading a record checks its count.
                let record = read_customer(&item).unwrap_or_else(|| panic!("{pk} is corrupt"));
                let phones: BTreeSet<_> =
                    record.channels.iter().map(|channel| channel.phone.e164().to_owned()).collect();
                assert!(phones.len() <= 50, "{pk} has {} numbers", phones.len());
                records.insert(ccid.to_owned(), phones);
            } else if let Some(e164) = pk.strip_prefix(&format!("CLIENT#{CLIENT}#PHONE#")) {
                let ccids = item.get(items::CCIDS).map(|ccids| ccids.as_ss().unwrap().as_slice()).unwrap_or_default();
                let count = items::whole_number(item.get(items::CCID_COUNT)).unwrap();
                assert_eq!(count, ccids.len() as u64, "{pk}");
                assert!(count <= 50, "{pk} has {count} customers");
                for ccid in ccids {
                    counters.entry(ccid.clone()).or_default().insert(e164.to_owned());
                }
            } else {
                assert!(pk.starts_with("KEY#"), "unexpected item {pk}");
            }
        }
        let with_numbers: Contents =
            records.clone().into_iter().filter(|(_, phones): &(_, BTreeSet<_>)| !phones.is_empty()).collect();
        assert_eq!(with_numbers, counters, "records and counters must agree");
        records
    }

    /// The numbers of one record.
    pub(crate) async fn phones_of(&self, ccid: &str) -> BTreeSet<String> {
        self.contents().await.remove(ccid).unwrap_or_default()
    }
}

/// Each customer's numbers.
pub(crate) type Contents = BTreeMap<String, BTreeSet<String>>;

fn client() -> ClientId {
    ClientId::parse(CLIENT).unwrap()
}

/// A channel with this number and defaults.
pub(crate) fn channel(digits: &str) -> Channel {
    Channel::new(Phone::new(Digits::parse(digits).unwrap(), CountryCode::default()).unwrap(), UnixMillis::now())
}
