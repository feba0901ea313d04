//! How the operator's commands find the table: in AWS with the usual credentials and region, or at any endpoint.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, SharedCredentialsProvider};
use cdm_lambda::config::Endpoint;
use cdm_lambda::domain::Limits;
use cdm_lambda::store::Store;
use cdm_lambda::store::client::{DynamoDb, environment_credentials};
use cdm_lambda::store::items::Item;
use cdm_lambda::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::aws::credentials::{self, Aws};
use crate::aws::environment::{is_this_machine, non_empty};
use crate::aws::network::Network;
use crate::table::call_failure;
use crate::ui::Failure;

/// How long one operation of the store may take, over all its attempts.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);

/// The SDK's own retries, for calls that are safe to repeat, and the longest pause between two of them. Together
/// they take about ten seconds: a wrong endpoint is reported soon, and a throttled table gets some time.
const ATTEMPTS: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How long one attempt of such a call may take. A page of a scan over a slow connection takes time.
const ATTEMPT: Duration = Duration::from_secs(15);

/// The table, and two clients of it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The function's own operations, which decide about their retries.
    pub store: Store,
    /// The client for everything else. It repeats calls that failed temporarily, so use it only for calls that
    /// are safe to repeat.
    pub client: Client,
    /// The table's name.
    pub table: String,
    /// The endpoint's URL, or the region if there is none.
    pub endpoint: String,
}

/// The table that a file belongs to. Several endpoints can have tables of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableAddress {
    pub(crate) table: String,
    /// The URL, or the region if there is none.
    pub(crate) endpoint: String,
}

impl fmt::Display for TableAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the table {} at {}", self.table, self.endpoint)
    }
}

impl Connection {
    /// Finds region, endpoint and credentials, and opens the connection. An endpoint on this machine needs no
    /// AWS credentials.
    ///
    /// # Errors
    /// What is missing, refused or unreachable, and what to do.
    pub(crate) async fn open(table: String) -> Result<Self, Failure> {
        let url = non_empty("AWS_ENDPOINT_URL_DYNAMODB");
        let Aws { region, credentials, network } = if url.as_deref().is_some_and(is_this_machine) {
            let own = non_empty("AWS_ACCESS_KEY_ID").is_some();
            Aws {
                region: non_empty("AWS_REGION").unwrap_or_else(|| testkit::embedded::REGION.to_owned()),
                credentials: if own { environment_credentials() } else { testkit::embedded::any_credentials() },
                network: Network::new(non_empty("AWS_CA_BUNDLE"))?,
            }
        } else {
            credentials::find_aws().await?
        };
        // Read the endpoint as the function does.
        let variable = |name: &str| if name == "AWS_REGION" { Some(region.clone()) } else { std::env::var(name).ok() };
        let endpoint = Endpoint::read(variable).map_err(|error| Failure(error.to_string()))?;
        let url = match &endpoint.url {
            Some(url) => url.clone(),
            None => regional_url(&endpoint.region).await?,
        };
        network.reach(&url).await.map_err(|failure| Failure(call_failure::unreachable(&failure)))?;
        Self::through(&network, &endpoint, credentials, table).await
    }

    /// Connects to a known endpoint, without proxies.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub async fn to(
        endpoint: &Endpoint,
        credentials: SharedCredentialsProvider,
        table: String,
    ) -> Result<Self, Failure> {
        Self::through(&Network::new(endpoint.ca_bundle.clone())?, endpoint, credentials, table).await
    }

    async fn through(
        network: &Network,
        endpoint: &Endpoint,
        credentials: SharedCredentialsProvider,
        table: String,
    ) -> Result<Self, Failure> {
        // The network already knows the certificates to trust.
        let endpoint = Endpoint { ca_bundle: None, ..endpoint.clone() };
        let at = endpoint.url.clone().unwrap_or_else(|| endpoint.region.clone());
        let dynamodb = DynamoDb::new(&endpoint, credentials).await.map_err(|error| Failure(error.to_string()))?;
        let config = dynamodb.client.config().to_builder().http_client(network.client());
        let store = Store::new(Client::from_conf(config.clone().build()), table.clone(), Limits::CONTRACT);
        Ok(Self::new(store, config, table, at))
    }

    /// A connection with this store. Calls that are safe to repeat go through a client of the same configuration that
    /// repeats them.
    pub fn new(store: Store, config: config::Builder, table: String, endpoint: String) -> Self {
        let retrying = config
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(LONGEST_PAUSE))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build());
        Self { store, client: Client::from_conf(retrying.build()), table, endpoint }
    }

    /// The time of the wall clock.
    pub(crate) fn now(&self) -> UnixMillis {
        self.store.sources().now()
    }

    /// Identifies the table, for a file that must not be used with another one.
    pub(crate) fn address(&self) -> TableAddress {
        TableAddress { table: self.table.clone(), endpoint: self.endpoint.clone() }
    }

    /// Reads one item, strongly consistent.
    ///
    /// # Errors
    /// The failure of the call, in one line.
    pub async fn item(&self, key: Item) -> Result<Option<Item>, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        let output = get.send().await.map_err(|error| self.failed("the item cannot be read", &error))?;
        Ok(output.item)
    }

    /// Writes an item if its key does not exist. Never overwrites an existing item, but returns it instead.
    ///
    /// # Errors
    /// The failure of the call, in one line.
    pub(crate) async fn create(&self, item: Item) -> Result<Option<Item>, Failure> {
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
                // The existing item is ours: the response to an earlier attempt was lost.
                Ok(if there == item { None } else { Some(there) })
            }
            _ => Err(self.failed("the item cannot be written", &error)),
        }
    }

    /// Describes a failed call in one line.
    pub(crate) fn failed<E, R>(&self, what: &str, error: &aws_sdk_dynamodb::error::SdkError<E, R>) -> Failure
    where
        E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug + 'static,
    {
        call_failure::call(what, error, &self.table)
    }
}

/// AWS's endpoint in the region.
async fn regional_url(region: &str) -> Result<String, Failure> {
    let unknown = || Failure(format!("{region} is not an AWS region: set AWS_REGION to one, such as us-east-1"));
    let parameters = Params::builder().region(region).build().map_err(|_| unknown())?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await.map_err(|_| unknown())?;
    Ok(endpoint.url().to_owned())
}
