//! Who shares one set of limits.

use http::HeaderName;
use ipnet::IpNet;

use super::Share;
use crate::serve::Clients;

/// How clients are told apart, and how much one of them may take.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientArgs {
    /// Addresses of proxies and REST fronts, such as 10.0.0.0/8,192.0.2.7: what they say of the client is believed, and
    /// they are not limited as clients themselves: what one caller behind them does not read ends that stream alone
    #[arg(long, env = "CUSTOMERD_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,

    /// The one header in which trusted proxies report the client: X-Forwarded-For, X-Real-IP or the like, or Forwarded
    /// (RFC 7239); its right-most hop that is no trusted proxy is the client [default: none, the socket's address]
    #[arg(long, env = "CUSTOMERD_CLIENT_ADDRESS_HEADER", value_name = "NAME", requires = "trusted_proxies",
          value_parser = header)]
    client_address_header: Option<HeaderName>,

    /// Part of each listener's connections, request slots and body memory that one client (an IPv4 address or an IPv6 /64)
    /// may take; loopback and trusted proxies may take all
    #[arg(long, env = "CUSTOMERD_CLIENT_SHARE", value_name = "PERCENT", default_value = "25%")]
    pub client_share: Share,
}

impl ClientArgs {
    /// As the listeners take them.
    pub fn clients(&self) -> Clients {
        Clients::new(self.trusted_proxies.clone(), self.client_address_header.clone())
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    net.ok_or_else(|| "want networks or addresses, such as 10.0.0.0/8 or 2001:db8::7".to_owned())
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "want the name of a header, such as X-Forwarded-For".to_owned())
}
