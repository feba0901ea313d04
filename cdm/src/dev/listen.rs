//! Where the dev server listens: addresses and host names, IPv4 and IPv6.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use crate::ui::Failure;

/// Reads `--listen`: an address or a host name. An IPv6 address may have brackets, as in a URL.
pub(crate) fn host(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(text);
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(named)) {
        Ok(host.to_owned())
    } else {
        Err("must be an address or a host name without a port, such as 127.0.0.1, ::1 or localhost")
    }
}

/// Listens on a host. `option` is the name of the option that sets the port.
///
/// # Errors
/// The port is in use or forbidden, or the host is not this machine.
pub(crate) async fn bind(host: &str, port: u16, option: &str) -> Result<TcpListener, Failure> {
    let shown = host.parse().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string());
    let bound = async { first_of(tokio::net::lookup_host((host, port)).await?.collect()).await };
    bound.await.map_err(|error: io::Error| {
        Failure(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("another program listens on {shown}: stop it, or choose another port with {option}")
            }
            ErrorKind::PermissionDenied => {
                format!("you may not listen on {shown}: choose a port above 1023 with {option}")
            }
            ErrorKind::AddrNotAvailable => {
                format!("this machine does not have the address of {shown}: choose another with --listen")
            }
            _ => format!("{shown} cannot be listened on ({error}): choose other values for --listen and {option}"),
        })
    })
}

/// Listens on the first of the host's addresses that this machine has, IPv4 before IPv6: clients of `localhost` try
/// both, and clients of 127.0.0.1 try only that one. An address that is in use is an error, even if another address
/// follows.
async fn first_of(mut addresses: Vec<SocketAddr>) -> io::Result<TcpListener> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut none = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => none = error,
            ended => return ended,
        }
    }
    Err(none)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn the_first_address_of_the_host_that_this_machine_has_is_used() {
        let (v4, v6) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "[::1]:0".parse().unwrap());
        // An address that is reserved for documentation. No machine has it.
        let absent = "192.0.2.1:0".parse().unwrap();
        assert!(first_of(vec![v6, v4]).await.unwrap().local_addr().unwrap().is_ipv4());
        assert!(first_of(vec![absent, v4]).await.unwrap().local_addr().unwrap().ip().is_loopback());
        assert_eq!(first_of(vec![absent]).await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let taken = TcpListener::bind(v4).await.unwrap();
        let addresses = vec![taken.local_addr().unwrap(), v4];
        assert_eq!(first_of(addresses).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_host_has_no_port_and_no_scheme() {
        for good in ["127.0.0.1", "::1", "[::1]", "localhost", "my-machine.example"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost:3000", "http://localhost", "[::1]:3000", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
