//! Addresses, ours and as seen from outside.

use std::net::SocketAddr;

use url::Url;

/// Where the two doors listen, and what the outside calls the REST one.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Addresses")]
pub struct Listen {
    /// REST and pages listen here, health and metrics too without --health-addr
    #[arg(long, global = true, env = "CUSTOMERD_HTTP_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:8080",
          value_parser = address)]
    pub http_addr: SocketAddr,

    /// gRPC listens here
    #[arg(long, global = true, env = "CUSTOMERD_GRPC_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:50051",
          value_parser = address)]
    pub grpc_addr: SocketAddr,

    /// Scheme and authority that partners sign and that links carry; repeatable, the first is used in links. Needed with --only
    /// [default: http://127.0.0.1:PORT and http://localhost:PORT]
    #[arg(long, global = true, env = "CUSTOMERD_PUBLIC_URL", value_name = "URL", value_delimiter = ',', value_parser = public_url)]
    public_url: Vec<Url>,
}

/// Where an orchestrator and a scraper ask.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Addresses")]
pub struct Health {
    /// Answer /healthz, /readyz and /metrics here, in plain text, apart from callers' connections and from the start on
    /// [default: at the REST address, if there is one]
    #[arg(long, env = "CUSTOMERD_HEALTH_ADDR", value_name = "IP:PORT", value_parser = address)]
    pub health_addr: Option<SocketAddr>,
}

impl Listen {
    /// The URLs under which the REST door, bound to `http`, is known: as configured, else the local names for its port
    /// (both schemes of the listener's kind).
    pub fn public_urls(&self, http: SocketAddr, tls: bool) -> Vec<Url> {
        if !self.public_url.is_empty() {
            return self.public_url.clone();
        }
        let scheme = if tls { "https" } else { "http" };
        ["127.0.0.1", "localhost"]
            .iter()
            .filter_map(|host| Url::parse(&format!("{scheme}://{host}:{}", http.port())).ok())
            .collect()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "want an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}: want a URL such as https://api.example.com"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "http" | "https" if bare && url.username().is_empty() && url.password().is_none() => Ok(url),
        _ => Err("want only scheme and authority, such as https://api.example.com".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_are_origins() {
        assert_eq!(public_url("https://API.example.com").map(String::from).as_deref(), Ok("https://api.example.com/"));
        for text in
            ["api.example.com", "ftp://a", "https://a/b", "https://a/?q", "https://a#f", "https://u@a", "https://u:p@a"]
        {
            assert!(public_url(text).is_err(), "{text}");
        }
    }
}
