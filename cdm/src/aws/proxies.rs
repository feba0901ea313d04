//! Which URLs go through a proxy: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, read as the AWS CLI reads them.

use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::aws::environment::non_empty;

/// If both spellings of a variable are set, the AWS CLI uses the one in lower case.
const HTTPS_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const HTTP_PROXY: [&str; 2] = ["http_proxy", "HTTP_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy settings of the environment.
pub(crate) struct Proxies {
    https: Setting,
    http: Setting,
    /// The same settings, as rules that tell which proxy a URL goes through.
    rules: Matcher,
}

/// The proxy for the URLs of one scheme.
struct Setting {
    /// The variable that names the proxy.
    variable: &'static str,
    /// Its value, which may hold a password.
    url: String,
    /// `None` if the value is not the URL of a proxy.
    config: Option<ProxyConfig>,
}

/// The proxy that a URL goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) variable: &'static str,
    /// Host and port, without the user name and password that the variable may hold.
    pub(crate) address: String,
    /// Whether the variable's value is a URL that the HTTP client can use.
    pub(crate) is_usable: bool,
}

impl Proxies {
    pub(crate) fn from_environment() -> Self {
        let no = NO_PROXY.into_iter().find_map(non_empty).unwrap_or_default();
        let https = Setting::read(HTTPS_PROXY, ProxyConfig::https, &no);
        let http = Setting::read(HTTP_PROXY, ProxyConfig::http, &no);
        let rules = Matcher::builder().https(https.url.as_str()).http(http.url.as_str()).no(no).build();
        Self { https, http, rules }
    }

    /// The settings for an HTTP client that calls URLs of this scheme.
    pub(crate) fn config(&self, is_http: bool) -> ProxyConfig {
        self.setting(is_http).config.clone().unwrap_or_else(ProxyConfig::disabled)
    }

    /// The proxy that the URL goes through.
    pub(crate) fn for_url(&self, url: &Uri) -> Option<Proxy> {
        let proxy = self.rules.intercept(url)?;
        let Setting { variable, config, .. } = self.setting(url.scheme_str() == Some("http"));
        Some(Proxy { variable, address: proxy.uri().authority()?.to_string(), is_usable: config.is_some() })
    }

    fn setting(&self, is_http: bool) -> &Setting {
        if is_http { &self.http } else { &self.https }
    }
}

impl Setting {
    /// Reads the first variable that is set. If none is set, there is no proxy.
    fn read(
        variables: [&'static str; 2],
        config: impl Fn(String) -> Result<ProxyConfig, ProxyError>,
        no: &str,
    ) -> Self {
        let first = variables.into_iter().find_map(|variable| Some((variable, non_empty(variable)?)));
        let Some((variable, value)) = first else {
            return Self { variable: "", url: String::new(), config: None };
        };
        let url = if value.contains("://") { value } else { format!("http://{value}") };
        match config(url.clone()) {
            Ok(config) => Self { variable, url, config: Some(config.no_proxy(no)) },
            // Represents the unusable proxy in the rules. A URL that goes through it is an error; a URL
            // that does not is fine.
            Err(_) => Self { variable, url: "http://unusable.invalid".to_owned(), config: None },
        }
    }
}
