//! Finds the region and the credentials as every AWS tool does. The SDK's chain does the work. This module explains
//! which part of the chain failed, and what to do about it.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::profile::{self, ProfileSet};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sso::operation::get_role_credentials::GetRoleCredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::sync::Mutex;

use crate::aws::assumed_role::with_mfa;
use crate::aws::environment::non_empty;
use crate::aws::network::Network;
use crate::aws::network_failure::{NetworkFailure, find};
use crate::aws::profile::{Base, CredentialChain};
use crate::aws::sdk::{loader, nothing_found};
use crate::ui::Failure;
use crate::ui::plain;

/// Credentials are renewed this long before they expire.
const MARGIN: Duration = Duration::from_secs(300);

/// What a command needs to call AWS.
pub(crate) struct Aws {
    pub(crate) region: String,
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) network: Network,
}

/// Finds the region and the credentials. It asks the source of the credentials once, so that this step fails and
/// not the command's first call.
///
/// # Errors
/// What is missing or refused, and what to do.
pub(crate) async fn find_aws() -> Result<Aws, Failure> {
    #[expect(
        clippy::default_trait_access,
        reason = "aws-config does not export the types: the real files and variables"
    )]
    let profiles = profile::load(&Default::default(), &Default::default(), &Default::default(), None).await;
    let profiles = profiles.map_err(|error| {
        let place = error.source().map(ToString::to_string).unwrap_or_default();
        let place = place.lines().next().unwrap_or_default().trim_end_matches(':').to_owned();
        Failure(format!("the AWS profiles cannot be read ({place})"))
    })?;
    let selected = profiles.get_profile(profiles.selected_profile());
    if let Some(name) = non_empty("AWS_PROFILE")
        && selected.is_none()
    {
        return Err(Failure(format!(
            "the AWS profile {name} does not exist: `aws configure list-profiles` lists those that do"
        )));
    }
    let ca_bundle = non_empty("AWS_CA_BUNDLE").or_else(|| Some(selected?.get("ca_bundle")?.to_owned()));
    let network = Network::new(ca_bundle)?;
    let config = loader(&network).load().await;
    let region = config.region().ok_or_else(|| {
        Failure("no region is set: set AWS_REGION, or AWS_PROFILE to a profile that names one".to_owned())
    })?;
    Ok(Aws { region: region.to_string(), credentials: credentials(&profiles, &config, &network).await?, network })
}

async fn credentials(
    profiles: &ProfileSet,
    config: &SdkConfig,
    network: &Network,
) -> Result<SharedCredentialsProvider, Failure> {
    let origin = Origin::find(profiles)?;
    if let Origin::Profile(chain) = &origin
        && chain.needs_mfa()
    {
        return with_mfa(chain, config, network).await;
    }
    let provider = config.credentials_provider().ok_or_else(nothing_found)?;
    let provider = CachedCredentials { provider, last: Mutex::new(None) };
    provider.provide_credentials().await.map_err(|error| origin.explain(&error))?;
    Ok(SharedCredentialsProvider::new(provider))
}

/// Where the SDK's chain finds the credentials: the first of these that is configured.
enum Origin {
    Environment,
    Profile(CredentialChain),
    WebIdentity,
    Container,
    Machine,
}

impl Origin {
    fn find(profiles: &ProfileSet) -> Result<Self, Failure> {
        match (non_empty("AWS_ACCESS_KEY_ID"), non_empty("AWS_SECRET_ACCESS_KEY")) {
            (Some(_), Some(_)) => return Ok(Self::Environment),
            (Some(_), None) => return Err(half_a_key("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
            (None, Some(_)) => return Err(half_a_key("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            (None, None) => {}
        }
        if profiles.get_profile(profiles.selected_profile()).is_some()
            && let Some(chain) = CredentialChain::from_profiles(profiles)?
        {
            return Ok(Self::Profile(chain));
        }
        let container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        Ok(match non_empty("AWS_WEB_IDENTITY_TOKEN_FILE") {
            Some(_) => Self::WebIdentity,
            None if container.into_iter().any(|name| non_empty(name).is_some()) => Self::Container,
            None => Self::Machine,
        })
    }

    /// Describes a failure to get credentials.
    fn explain(&self, error: &CredentialsError) -> Failure {
        let network = NetworkFailure::within(error);
        match self {
            Self::Profile(chain) => chain.explain(error),
            Self::WebIdentity => Failure(web_identity(error, "AWS_WEB_IDENTITY_TOKEN_FILE")),
            Self::Container => Failure(match network {
                Some(failure) => format!("the container's credentials cannot be fetched: {failure}"),
                None => "the container's credentials cannot be fetched: check AWS_CONTAINER_CREDENTIALS_FULL_URI or \
                         AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, and the role of the task"
                    .to_owned(),
            }),
            Self::Environment | Self::Machine => nothing_found(),
        }
    }
}

fn half_a_key(missing: &str, there: &str) -> Failure {
    Failure(format!("{missing} is not set, and {there} is: set both or neither"))
}

impl CredentialChain {
    /// Describes a failure to get credentials from this source.
    pub(crate) fn explain(&self, error: &CredentialsError) -> Failure {
        if let Some(error) = find::<SdkError<AssumeRoleError, HttpResponse>>(error) {
            match self.roles.as_slice() {
                [role] => return role.explain(error),
                // The SDK does not say which role failed.
                [.., last] if NetworkFailure::within(error).is_none() => {
                    let code = error.code().map_or("no readable response", plain);
                    return Failure(format!(
                        "STS refused one of the {} roles of the profile {} ({code}): check the trust policy of each",
                        self.roles.len(),
                        last.profile
                    ));
                }
                _ => {}
            }
        }
        let name = &self.base_profile;
        let network = NetworkFailure::within(error);
        Failure(match (&self.base, network) {
            (Base::Sso, Some(failure)) => format!("the SSO session of the profile {name} cannot be used: {failure}"),
            (Base::Login, Some(failure)) => format!("the login of the profile {name} cannot be renewed: {failure}"),
            (Base::WebIdentity, _) => web_identity(error, &format!("web_identity_token_file of the profile {name}")),
            (_, Some(failure)) => format!("the credentials of the profile {name} cannot be fetched: {failure}"),
            (Base::Sso, None) => sso(error, name),
            (Base::Login, None) => format!(
                "the login of the profile {name} has expired, or there was none: run `aws login --profile {name}`"
            ),
            (Base::Process, None) => {
                format!("the credential_process of the profile {name} failed: run its command by itself to see why")
            }
            (Base::Named, None) => format!(
                "the credential_source of the profile {name} has no credentials: check its value and this machine's role"
            ),
            (Base::Keys(_), None) => format!("the keys of the profile {name} cannot be used: check the profile"),
        })
    }
}

fn sso(error: &CredentialsError, name: &str) -> String {
    let login = format!("run `aws sso login --profile {name}`");
    let answer = find::<SdkError<GetRoleCredentialsError, HttpResponse>>(error);
    match answer.and_then(SdkError::as_service_error) {
        Some(refused) if !refused.is_unauthorized_exception() => match refused.code().map(plain) {
            Some("ForbiddenException" | "ResourceNotFoundException") => format!(
                "SSO does not give you the role of the profile {name}: check its sso_account_id and sso_role_name"
            ),
            Some(code) => format!("SSO refused the credentials of the profile {name} ({code}): run the command again"),
            None => format!("the response for the profile {name} did not come from SSO: check the proxy"),
        },
        _ => format!("the SSO session of the profile {name} has expired, or there was none: {login}"),
    }
}

fn web_identity(error: &CredentialsError, file: &str) -> String {
    if let Some(failure) = NetworkFailure::within(error) {
        return format!("STS cannot be reached: {failure}");
    }
    match find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error) {
        Some(error) => {
            let code = error.code().map_or("no readable response", plain);
            format!("STS refused the web identity token ({code}): check AWS_ROLE_ARN and {file}")
        }
        None => format!("there is no web identity token: check {file}"),
    }
}

/// Asks the source again only when its credentials are about to expire. The SDK caches credentials for each client,
/// there are two clients, and a `credential_process` may ask the operator something each time.
#[derive(Debug)]
struct CachedCredentials {
    provider: SharedCredentialsProvider,
    last: Mutex<Option<Credentials>>,
}

impl ProvideCredentials for CachedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let mut last = self.last.lock().await;
            let lasts = |credentials: &Credentials| {
                credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + MARGIN)
            };
            if let Some(credentials) = last.as_ref().filter(|credentials| lasts(credentials)) {
                return Ok(credentials.clone());
            }
            let credentials = self.provider.provide_credentials().await?;
            *last = Some(credentials.clone());
            Ok(credentials)
        })
    }
}
