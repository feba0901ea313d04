//! The SDK's own chain of sources.

use aws_config::{BehaviorVersion, ConfigLoader};

use crate::aws::network::Network;
use crate::ui::Failure;

/// The SDK's loader of region and credentials, with this HTTP client.
pub(crate) fn loader(network: &Network) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest()).http_client(network.client())
}

/// No source has credentials.
pub(crate) fn nothing_found() -> Failure {
    Failure(
        "no AWS credentials are found: set AWS_PROFILE and run `aws login` or `aws sso login`, or set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            .to_owned(),
    )
}
