//! The environment variables, read and checked once at start.

use std::fmt;
use std::time::Duration;

use lambda_http::http::Uri;
use tracing::level_filters::LevelFilter;

/// The settings of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TABLE_NAME`.
    pub table: String,
    /// `KEY_CACHE_SECONDS`: how long a valid API key is cached. A revoked key may stay valid for that long.
    pub key_cache: Duration,
    /// `LOG_LEVEL`, or else `RUST_LOG`: the level of this function's lines. The SDK and the runtime log nothing below WARN.
    pub log_level: LevelFilter,
    /// How to reach DynamoDB.
    pub dynamodb: Endpoint,
}

/// How to reach DynamoDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, if not empty: an endpoint that replaces the region's own.
    pub url: Option<String>,
    /// `AWS_CA_BUNDLE`, if not empty: a PEM file with the only certificates to trust.
    pub ca_bundle: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`: whether to use the region's endpoint with FIPS 140 validated cryptography.
    pub use_fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`: whether to use the region's endpoint with IPv6 addresses.
    pub use_dual_stack: bool,
}

/// An environment variable that is missing or invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Its name.
    pub variable: &'static str,
    /// The rule that its value breaks.
    pub rule: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment variable {} {}", self.variable, self.rule)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the variables through `variable`, which returns `None` for a variable that is not set.
    ///
    /// # Errors
    /// The first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Ok(Self {
            table: table(&variable)?,
            key_cache: key_cache(&variable)?,
            log_level: log_level(&variable)?,
            dynamodb: Endpoint::read(variable)?,
        })
    }
}

impl Endpoint {
    /// Reads the SDK's variables. As in the SDK, an empty variable counts as not set.
    ///
    /// # Errors
    /// The first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")).ok_or(ConfigError {
            variable: "AWS_REGION",
            rule: "is not set: it must name the region of the table, such as us-east-1",
        })?;
        let url = set("AWS_ENDPOINT_URL_DYNAMODB");
        let is_url = |url: &String| {
            url.parse::<Uri>()
                .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        };
        if !url.as_ref().is_none_or(is_url) {
            return Err(ConfigError {
                variable: "AWS_ENDPOINT_URL_DYNAMODB",
                rule: "must be a URL such as http://127.0.0.1:8000, or empty for AWS's own",
            });
        }
        let [use_fips, use_dual_stack] = ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"].map(|variable| {
            match set(variable).map(|value| value.to_ascii_lowercase()).as_deref() {
                None | Some("false") => Ok(false),
                Some("true") => Ok(true),
                Some(_) => Err(ConfigError { variable, rule: "must be true or false" }),
            }
        });
        let (use_fips, use_dual_stack) = (use_fips?, use_dual_stack?);
        if url.is_some() && (use_fips || use_dual_stack) {
            return Err(ConfigError {
                variable: "AWS_ENDPOINT_URL_DYNAMODB",
                rule: "must be empty if AWS_USE_FIPS_ENDPOINT or AWS_USE_DUALSTACK_ENDPOINT is true",
            });
        }
        Ok(Self { region, url, ca_bundle: set("AWS_CA_BUNDLE"), use_fips, use_dual_stack })
    }
}

fn table(variable: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    variable("TABLE_NAME").filter(|name| (3..=255).contains(&name.len()) && name.bytes().all(named)).ok_or(
        ConfigError {
            variable: "TABLE_NAME",
            rule: "must name a DynamoDB table: 3 to 255 of the characters A-Z a-z 0-9 _ . -",
        },
    )
}

fn key_cache(variable: impl Fn(&str) -> Option<String>) -> Result<Duration, ConfigError> {
    let Some(text) = variable("KEY_CACHE_SECONDS") else {
        return Ok(Duration::from_secs(60));
    };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= 3600).ok_or(ConfigError {
        variable: "KEY_CACHE_SECONDS",
        rule: "must be a whole number of seconds from 0 to 3600",
    })?;
    Ok(Duration::from_secs(seconds))
}

fn log_level(variable: impl Fn(&str) -> Option<String>) -> Result<LevelFilter, ConfigError> {
    let (name, text) = match (variable("LOG_LEVEL"), variable("RUST_LOG")) {
        (Some(text), _) => ("LOG_LEVEL", text),
        (None, Some(text)) => ("RUST_LOG", text),
        (None, None) => return Ok(LevelFilter::INFO),
    };
    text.parse()
        .ok()
        .filter(|_| !text.is_empty())
        .ok_or(ConfigError { variable: name, rule: "must be one of off, error, warn, info, debug, trace" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [("TABLE_NAME", "phones"), ("AWS_REGION", "us-east-1")];
        Config::read(|name| {
            extra.iter().chain(&base).find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults() -> Result<(), ConfigError> {
        let config = read(&[])?;
        assert_eq!(config.table, "phones");
        assert_eq!(config.key_cache, Duration::from_secs(60));
        assert_eq!(config.log_level, LevelFilter::INFO);
        let endpoint = Endpoint {
            region: "us-east-1".to_owned(),
            url: None,
            ca_bundle: None,
            use_fips: false,
            use_dual_stack: false,
        };
        assert_eq!(config.dynamodb, endpoint);
        assert_eq!(read(&[("AWS_ENDPOINT_URL_DYNAMODB", ""), ("AWS_CA_BUNDLE", "")])?, config, "empty means not set");
        Ok(())
    }

    #[test]
    fn values_are_taken() -> Result<(), ConfigError> {
        assert_eq!(read(&[("KEY_CACHE_SECONDS", "0")])?.key_cache, Duration::ZERO);
        assert_eq!(read(&[("RUST_LOG", "warn")])?.log_level, LevelFilter::WARN);
        assert_eq!(read(&[("RUST_LOG", "warn"), ("LOG_LEVEL", "DEBUG")])?.log_level, LevelFilter::DEBUG);
        for (text, value) in [("true", true), ("TRUE", true), ("false", false), ("", false)] {
            assert_eq!(read(&[("AWS_USE_FIPS_ENDPOINT", text)])?.dynamodb.use_fips, value);
            assert_eq!(read(&[("AWS_USE_DUALSTACK_ENDPOINT", text)])?.dynamodb.use_dual_stack, value);
        }
        let url = "http://127.0.0.1:8000";
        for flag in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let both = read(&[("AWS_ENDPOINT_URL_DYNAMODB", url), (flag, "true")]);
            assert_eq!(both.map_err(|error| error.variable), Err("AWS_ENDPOINT_URL_DYNAMODB"), "{flag}");
        }
        assert_eq!(read(&[("AWS_ENDPOINT_URL_DYNAMODB", url)])?.dynamodb.url.as_deref(), Some(url));
        Ok(())
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        let bad = [
            ("TABLE_NAME", ""),
            ("TABLE_NAME", "ab"),
            ("TABLE_NAME", "a table"),
            ("KEY_CACHE_SECONDS", ""),
            ("KEY_CACHE_SECONDS", "-1"),
            ("KEY_CACHE_SECONDS", "3601"),
            ("AWS_USE_FIPS_ENDPOINT", "1"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "yes"),
            ("KEY_CACHE_SECONDS", "1m"),
            ("LOG_LEVEL", ""),
            ("LOG_LEVEL", "loud"),
            ("RUST_LOG", "cdm=info,hyper=debug"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:8000"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://127.0.0.1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://"),
            ("AWS_REGION", ""),
        ];
        for (variable, value) in bad {
            let error = read(&[(variable, value)]).unwrap_err();
            assert_eq!(error.variable, variable, "{value:?}");
            assert!(error.to_string().contains(variable));
        }
        assert_eq!(Config::read(|_| None).unwrap_err().variable, "TABLE_NAME");
    }
}
