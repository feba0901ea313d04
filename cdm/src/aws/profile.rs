//! What an AWS profile says about its credentials. The SDK reads the same. This module reads it for what the SDK
//! does not do: asking for an MFA code, and explaining in one line what is wrong with a profile.

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::Credentials;

use crate::ui::Failure;

/// How a profile gets its credentials: the first credentials, then the roles to assume, each with the credentials
/// of the previous one.
#[derive(Debug)]
pub(crate) struct CredentialChain {
    pub(crate) base: Base,
    /// The profile with the first credentials.
    pub(crate) base_profile: String,
    pub(crate) roles: Vec<Role>,
}

/// Where the first credentials come from.
#[derive(Debug)]
pub(crate) enum Base {
    /// `aws_access_key_id` and `aws_secret_access_key`.
    Keys(Credentials),
    /// `sso_session`, or `sso_start_url` alone.
    Sso,
    /// `login_session`, of `aws login`.
    Login,
    /// `credential_process`.
    Process,
    /// `web_identity_token_file`.
    WebIdentity,
    /// `credential_source`: the environment, or the role of the machine or the container.
    Named,
}

/// A role to assume.
#[derive(Debug)]
pub(crate) struct Role {
    /// The profile that names the role.
    pub(crate) profile: String,
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
    pub(crate) session_name: Option<String>,
    /// `duration_seconds`.
    pub(crate) seconds: Option<i32>,
    /// The MFA device whose code is required.
    pub(crate) mfa_serial: Option<String>,
}

impl CredentialChain {
    /// Whether a role requires an MFA code.
    pub(crate) fn needs_mfa(&self) -> bool {
        self.roles.iter().any(|role| role.mfa_serial.is_some())
    }

    /// Reads the selected profile. `None` if the profile has no settings for credentials.
    ///
    /// # Errors
    /// What is wrong with the profile, or with a profile that it refers to.
    pub(crate) fn from_profiles(profiles: &ProfileSet) -> Result<Option<Self>, Failure> {
        let mut name = profiles.selected_profile();
        let (mut roles, mut seen) = (Vec::new(), Vec::new());
        let base = loop {
            let Some(profile) = profiles.get_profile(name) else {
                return Err(match seen.last() {
                    Some(before) => {
                        Failure(format!("the AWS profile {name}, the source_profile of {before}, does not exist"))
                    }
                    None => Failure(format!(
                        "the AWS profile {name} does not exist: `aws configure list-profiles` lists those that do"
                    )),
                });
            };
            if seen.contains(&name) {
                return Err(Failure(format!("the AWS profile {name} leads back to itself through source_profile")));
            }
            seen.push(name);
            // As in the SDK: in every profile but the first, keys take precedence over a role.
            if seen.len() > 1
                && let Some(keys) = keys(profile)?
            {
                break Some(keys);
            }
            let Some(role) = role(profile)? else { break base(profiles, profile)? };
            let source = (profile.get("source_profile"), profile.get("credential_source"));
            roles.push(role);
            match source {
                (Some(source), None) if source == name => break base(profiles, profile)?,
                (Some(source), None) => name = source,
                (None, Some(_)) => break Some(Base::Named),
                _ => {
                    return Err(Failure(format!(
                        "the AWS profile {name} has a role_arn and needs one of source_profile and credential_source"
                    )));
                }
            }
        };
        roles.reverse();
        match base {
            Some(base) => Ok(Some(Self { base, base_profile: name.to_owned(), roles })),
            None if roles.is_empty() => Ok(None),
            None => Err(Failure(format!("the AWS profile {name} has no credentials to assume a role with"))),
        }
    }
}

fn role(profile: &Profile) -> Result<Option<Role>, Failure> {
    let text = |name| profile.get(name).map(str::to_owned);
    let (Some(arn), None) = (text("role_arn"), profile.get("web_identity_token_file")) else { return Ok(None) };
    let seconds = profile.get("duration_seconds").map(|seconds| {
        seconds.parse().map_err(|_| {
            Failure(format!("duration_seconds of the AWS profile {} must be a whole number", profile.name()))
        })
    });
    Ok(Some(Role {
        profile: profile.name().to_owned(),
        arn,
        external_id: text("external_id"),
        session_name: text("role_session_name"),
        seconds: seconds.transpose()?,
        mfa_serial: text("mfa_serial"),
    }))
}

fn base(profiles: &ProfileSet, profile: &Profile) -> Result<Option<Base>, Failure> {
    const SSO: [&str; 5] = ["sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name"];
    let (name, has) = (profile.name(), |property| profile.get(property).is_some());
    if has("credential_source") {
        return Ok(Some(Base::Named));
    }
    if has("web_identity_token_file") {
        return Ok(Some(Base::WebIdentity));
    }
    if SSO.into_iter().any(has) {
        if let Some(session) = profile.get("sso_session")
            && profiles.sso_session(session).is_none()
        {
            return Err(Failure(format!(
                "the AWS profile {name} names the sso-session {session}, which does not exist"
            )));
        }
        let session = ["sso_start_url", "sso_region"];
        let lacking = ["sso_account_id", "sso_role_name"]
            .into_iter()
            .chain(if has("sso_session") { [].as_slice() } else { &session }.iter().copied())
            .find(|property| !has(property));
        return match lacking {
            Some(property) => Err(Failure(format!(
                "the AWS profile {name} lacks {property}: `aws configure sso --profile {name}` sets it"
            ))),
            None => Ok(Some(Base::Sso)),
        };
    }
    if has("login_session") {
        return Ok(Some(Base::Login));
    }
    if has("credential_process") {
        return Ok(Some(Base::Process));
    }
    keys(profile)
}

fn keys(profile: &Profile) -> Result<Option<Base>, Failure> {
    let text = |name| profile.get(name).filter(|value| !value.is_empty());
    match (text("aws_access_key_id"), text("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            let token = text("aws_session_token").map(str::to_owned);
            Ok(Some(Base::Keys(Credentials::new(id, secret, token, None, "profile"))))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(Failure(format!("the AWS profile {} has no aws_secret_access_key", profile.name()))),
        (None, Some(_)) => Err(Failure(format!("the AWS profile {} has no aws_access_key_id", profile.name()))),
    }
}
