//! Assumes the roles of a profile that needs an MFA code. The SDK does not ask for the code, so this module does.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::aws::network::Network;
use crate::aws::network_failure::NetworkFailure;
use crate::aws::profile::{Base, CredentialChain, Role};
use crate::aws::sdk::{loader, nothing_found};
use crate::ui::Failure;
use crate::ui::plain;

/// Assumes the roles of a profile once, with the codes that the operator types. The command can call AWS until
/// the last role's session ends: `duration_seconds` of the profile sets its length.
pub(crate) async fn with_mfa(
    chain: &CredentialChain,
    config: &SdkConfig,
    network: &Network,
) -> Result<SharedCredentialsProvider, Failure> {
    let mut credentials = if let Base::Keys(keys) = &chain.base {
        keys.clone()
    } else {
        if let Some(role) = chain.roles.first().filter(|role| role.profile == chain.base_profile) {
            return Err(Failure(format!(
                "the AWS profile {} needs an MFA code, and contains both a role and credentials: move the \
                 credentials to their own profile, and name that profile in source_profile",
                role.profile
            )));
        }
        let region = config.region().cloned();
        let base = loader(network).region(region).profile_name(&chain.base_profile).load().await;
        let provider = base.credentials_provider().ok_or_else(nothing_found)?;
        provider.provide_credentials().await.map_err(|error| chain.explain(&error))?
    };
    for role in &chain.roles {
        credentials = role.assume(credentials, config).await?;
    }
    Ok(SharedCredentialsProvider::new(credentials))
}

impl Role {
    async fn assume(&self, credentials: Credentials, config: &SdkConfig) -> Result<Credentials, Failure> {
        let code = match &self.mfa_serial {
            Some(device) => Some(self.ask(device).await?),
            None => None,
        };
        let provider = SharedCredentialsProvider::new(credentials);
        let config = config.to_builder().credentials_provider(provider).build();
        let session = self.session_name.clone().unwrap_or_else(|| "cdm".to_owned());
        let assumed = aws_sdk_sts::Client::new(&config)
            .assume_role()
            .role_arn(&self.arn)
            .role_session_name(session)
            .set_external_id(self.external_id.clone())
            .set_duration_seconds(self.seconds)
            .set_serial_number(self.mfa_serial.clone())
            .set_token_code(code)
            .send()
            .await
            .map_err(|error| self.explain(&error))?;
        let assumed =
            assumed.credentials.ok_or_else(|| Failure(format!("STS returned no credentials for {}", self.arn)))?;
        let expiry = SystemTime::try_from(assumed.expiration).ok();
        let (id, secret) = (assumed.access_key_id, assumed.secret_access_key);
        Ok(Credentials::new(id, secret, Some(assumed.session_token), expiry, "role"))
    }

    /// Asks for the code on the terminal.
    async fn ask(&self, device: &str) -> Result<String, Failure> {
        let Self { profile, .. } = self;
        if !std::io::stdin().is_terminal() {
            return Err(Failure(format!(
                "the profile {profile} needs an MFA code, and there is no terminal to type it in: run `eval \"$(aws \
                 configure export-credentials --profile {profile} --format env)\"` first"
            )));
        }
        let question = format!("MFA code of {device} for the profile {profile}: ");
        let typed = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let _ = write!(anstream::stderr(), "{question}");
            // A read error counts as an empty code.
            let _ = std::io::stdin().lock().read_line(&mut line);
            line
        });
        let code = typed.await.unwrap_or_default().trim().to_owned();
        if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(code)
        } else {
            Err(Failure("an MFA code has 6 digits: run the command again".to_owned()))
        }
    }

    /// Describes why AWS refused to assume the role.
    pub(crate) fn explain(&self, error: &SdkError<AssumeRoleError, HttpResponse>) -> Failure {
        let Self { profile, arn, mfa_serial, .. } = self;
        if let Some(failure) = NetworkFailure::within(error) {
            return Failure(format!("STS cannot be reached for the role of the profile {profile}: {failure}"));
        }
        let code = error.code().map_or("no readable response", plain);
        let check = match (code, mfa_serial) {
            ("AccessDenied", Some(_)) => {
                "the MFA code is wrong or was used already, or you may not assume the role: run the command again with \
                 the next code"
            }
            ("AccessDenied", None) => "check the trust policy of the role, and whether the profile needs mfa_serial",
            ("ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "SignatureDoesNotMatch", _) => {
                "the credentials that assume the role are not accepted: log in again, or check their keys"
            }
            ("ValidationError", _) => "check role_arn, mfa_serial and duration_seconds of the profile",
            _ => "run the command again",
        };
        Failure(format!("STS refused the role {arn} of the profile {profile} ({code}): {check}"))
    }
}
