//! Environment variables, and host names of this machine.

/// An environment variable. As in the SDK, an empty variable counts as not set.
pub(crate) fn non_empty(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the URL's host is this machine, where a local database listens that does not check credentials.
pub(crate) fn is_this_machine(url: &str) -> bool {
    url.parse::<axum::http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).is_some_and(|host| {
        is_loopback_name(&host)
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Whether the host name always means this machine.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}
