//! Where the operator's commands find the table: in AWS by the usual credentials and region, or at any endpoint.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::dynamodb::{DynamoDb, environment_credentials};
use cdm_lambda::error::Rule;
use cdm_lambda::store::Store;
use cdm_lambda::store::items::Item;
use clap::Args;

use crate::{Failure, embedded, explain};

/// How long a command tries, over all its attempts, before it says that it could not.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// The SDK's own retries, for calls that may be repeated without harm, and its longest pause between two: in all about
/// ten seconds, so that a wrong endpoint is known soon and a busy table is waited for.
const ATTEMPTS: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One attempt of such a call: a page of a scan over a slow line takes its time.
const ATTEMPT: Duration = Duration::from_secs(15);

/// Which client's customer.
#[derive(Debug, Clone, Args)]
pub struct Customer {
    /// The client's name.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    pub client: ClientId,
    /// The customer's id within the client.
    #[arg(long, value_parser = ccid)]
    pub ccid: Ccid,
}

/// Reads a client's name from the command line.
///
/// # Errors
/// The rule that it breaks.
pub fn client_id(text: &str) -> Result<ClientId, String> {
    ClientId::parse(text).map_err(|Rule(rule)| rule.to_owned())
}

/// Reads a ccid from the command line.
///
/// # Errors
/// The rule that it breaks.
pub fn ccid(text: &str) -> Result<Ccid, String> {
    Ccid::parse(text).map_err(|Rule(rule)| rule.to_owned())
}

/// Reads a table's name from the command line.
///
/// # Errors
/// The rule that it breaks.
pub fn table_name(text: &str) -> Result<String, String> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (3..=255).contains(&text.len()) && text.bytes().all(named) {
        Ok(text.to_owned())
    } else {
        Err("must name a DynamoDB table: 3 to 255 of the characters A-Z a-z 0-9 _ . -".to_owned())
    }
}

/// The table, and two ways to it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The function's own operations, which count their attempts themselves.
    pub store: Store,
    /// Everything else. It repeats a call that failed in passing, so use it only for what may be repeated.
    pub client: Client,
    /// The table's name.
    pub table: String,
}

impl Connection {
    /// Finds region, endpoint and credentials. An endpoint on this machine needs none of AWS's.
    ///
    /// # Errors
    /// What is missing, and how to give it.
    pub async fn open(table: String) -> Result<Self, Failure> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = set("AWS_ENDPOINT_URL_DYNAMODB");
        let (region, credentials) = if url.as_deref().is_some_and(is_this_machine) {
            let region = set("AWS_REGION").unwrap_or_else(|| embedded::REGION.to_owned());
            let own = set("AWS_ACCESS_KEY_ID").is_some();
            (region, if own { environment_credentials() } else { embedded::any_credentials() })
        } else {
            from_aws_config().await?
        };
        // The endpoint's other settings are read as the function reads them.
        let variable = |name: &str| if name == "AWS_REGION" { Some(region.clone()) } else { std::env::var(name).ok() };
        let endpoint = Endpoint::read(variable).map_err(|error| Failure(error.to_string()))?;
        Self::to(&endpoint, credentials, table).await
    }

    /// A connection to a known endpoint.
    ///
    /// # Errors
    /// What is bad about the endpoint.
    pub async fn to(
        endpoint: &Endpoint,
        credentials: SharedCredentialsProvider,
        table: String,
    ) -> Result<Self, Failure> {
        let dynamodb = DynamoDb::new(endpoint, credentials).await.map_err(|error| Failure(error.to_string()))?;
        let patient = dynamodb
            .client
            .config()
            .to_builder()
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(LONGEST_PAUSE))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
            .build();
        Ok(Self { store: Store::new(dynamodb.client, table.clone()), client: Client::from_conf(patient), table })
    }

    /// One item as it stands, strongly consistent.
    ///
    /// # Errors
    /// What DynamoDB said, in one line.
    pub async fn item(&self, key: Item) -> Result<Option<Item>, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        let output = get.send().await.map_err(|error| self.failed("the item cannot be read", &error))?;
        Ok(output.item)
    }

    /// Writes an item if there is none under its key. What is there is never overwritten; it comes back instead.
    ///
    /// # Errors
    /// What DynamoDB said, in one line.
    pub async fn create(&self, item: Item) -> Result<Option<Item>, Failure> {
        use aws_sdk_dynamodb::operation::put_item::PutItemError;
        use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;

        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(AllOld);
        let Err(error) = put.send().await else { return Ok(None) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                let there = refused.item().cloned().unwrap_or_default();
                // What we find is what we brought: an earlier attempt's answer was lost on its way.
                Ok(if there == item { None } else { Some(there) })
            }
            _ => Err(self.failed("the item cannot be written", &error)),
        }
    }

    /// Sets attributes of an item and removes others (`None`), on a condition. `false` where the condition does not hold.
    ///
    /// # Errors
    /// What DynamoDB said, in one line.
    pub async fn set(
        &self,
        key: Item,
        attributes: Vec<(&str, Option<AttributeValue>)>,
        mut condition: Condition,
    ) -> Result<bool, Failure> {
        use aws_sdk_dynamodb::operation::update_item::UpdateItemError;

        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        for (name, value) in attributes {
            condition.names.insert(format!("#{name}"), name.to_owned());
            match value {
                Some(value) => {
                    sets.push(format!("#{name} = :new_{name}"));
                    condition.values.insert(format!(":new_{name}"), value);
                }
                None => removes.push(format!("#{name}")),
            }
        }
        let clause = |word, parts: &[String]| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression(format!("{}{}", clause("SET", &sets), clause("REMOVE", &removes)).trim_end())
            .condition_expression(condition.expression)
            .set_expression_attribute_names(some(condition.names))
            .set_expression_attribute_values(some(condition.values));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(error.as_service_error(), Some(UpdateItemError::ConditionalCheckFailedException(_))) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.failed("the item cannot be changed", &error)),
        }
    }

    /// What a failed call means, in one line.
    pub fn failed<E, R>(&self, what: &str, error: &aws_sdk_dynamodb::error::SdkError<E, R>) -> Failure
    where
        E: aws_sdk_dynamodb::error::ProvideErrorMetadata,
    {
        explain::call(what, error, &self.table)
    }
}

/// On what a write depends.
#[derive(Debug, Clone)]
pub struct Condition {
    expression: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Condition {
    /// The item is as it was read: there, and each of these attributes with the same value, or still missing.
    pub fn unchanged(read: &Item, attributes: &[&str]) -> Self {
        let mut terms = vec!["attribute_exists(pk)".to_owned()];
        let (mut names, mut values) = (HashMap::new(), HashMap::new());
        for name in attributes {
            names.insert(format!("#{name}"), (*name).to_owned());
            terms.push(match read.get(*name) {
                Some(value) => {
                    values.insert(format!(":old_{name}"), value.clone());
                    format!("#{name} = :old_{name}")
                }
                None => format!("attribute_not_exists(#{name})"),
            });
        }
        Self { expression: terms.join(" AND "), names, values }
    }
}

/// DynamoDB refuses a map that is given and empty.
fn some<V>(map: HashMap<String, V>) -> Option<HashMap<String, V>> {
    (!map.is_empty()).then_some(map)
}

/// Whether the URL's host is this machine, where a local database listens that checks no credentials.
fn is_this_machine(url: &str) -> bool {
    url.parse::<axum::http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Region and credentials as every AWS tool finds them: environment, profile, SSO, the machine's role.
async fn from_aws_config() -> Result<(String, SharedCredentialsProvider), Failure> {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let region = config.region().ok_or_else(|| {
        Failure("no region is set: set AWS_REGION, or AWS_PROFILE to a profile that names one".to_owned())
    })?;
    let nobody = || {
        Failure(
            "no AWS credentials are found: set AWS_PROFILE and run `aws sso login`, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        )
    };
    let credentials = config.credentials_provider().ok_or_else(nobody)?;
    // Asked once now, so that it is this that fails and not the first call.
    credentials.provide_credentials().await.map_err(|_| nobody())?;
    Ok((region.to_string(), credentials))
}
