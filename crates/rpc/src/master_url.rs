//! The address of a cluster: `spark://host:port`, or several masters of one cluster, `spark://h1:7077,h2:7077`.

use std::{fmt, str::FromStr};

use crate::bind::host_port;

/// The port that a master listens on unless told otherwise.
pub const DEFAULT_MASTER_PORT: u16 = 7077;

/// A parsed `spark://` URL: one host and port for each master, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterUrl {
    /// In the order given; IPv6 addresses without their brackets.
    pub hosts: Vec<(String, u16)>,
}

/// Not a URL of a master.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{url:?} is not the URL of a master: {reason}; it looks like spark://host:7077 or spark://host1:7077,host2:7077"
)]
pub struct MasterUrlError {
    /// As given.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl MasterUrl {
    /// The address of each master as `host:port`.
    pub fn addresses(&self) -> Vec<String> {
        self.hosts.iter().map(|(host, port)| host_port(host, *port)).collect()
    }
}

impl fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spark://{}", self.addresses().join(","))
    }
}

impl FromStr for MasterUrl {
    type Err = MasterUrlError;

    fn from_str(url: &str) -> Result<Self, MasterUrlError> {
        let wrong = |reason: String| MasterUrlError { url: url.to_owned(), reason };
        let list =
            url.trim().strip_prefix("spark://").ok_or_else(|| wrong("it does not begin with spark://".into()))?;
        let mut hosts = Vec::new();
        for part in list.split(',') {
            let (host, port) = part.rsplit_once(':').ok_or_else(|| wrong(format!("{part:?} has no port")))?;
            let port = port.parse().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| wrong(format!("{part:?} does not end in a port from 1 to 65535")))?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            if bare.is_none() && host.contains(':') {
                return Err(wrong(format!("{part:?} has more than one colon; write an IPv6 address as [::1]:{port}")));
            }
            let host = bare.unwrap_or(host);
            if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@?#[]".contains(c)) {
                return Err(wrong(format!("{part:?} has no valid host name")));
            }
            let place = (host.to_owned(), port);
            if !hosts.contains(&place) {
                hosts.push(place);
            }
        }
        Ok(MasterUrl { hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_several_masters_are_read() {
        let url: MasterUrl = "spark://h1:7077,h2:7078".parse().unwrap();
        assert_eq!(url.hosts, [("h1".to_owned(), 7077), ("h2".to_owned(), 7078)]);
        assert_eq!(url.to_string(), "spark://h1:7077,h2:7078");
        let url: MasterUrl = "spark://[::1]:7077".parse().unwrap();
        assert_eq!(url.addresses(), ["[::1]:7077"]);
        assert_eq!(url.to_string(), "spark://[::1]:7077");
    }

    #[test]
    fn what_is_no_url_says_what_is_wrong_and_how_it_looks() {
        for (url, says) in [
            ("h1:7077", "begin with spark://"),
            ("spark://h1", "no port"),
            ("spark://h1:x", "port from 1"),
            ("spark://h1:0", "port from 1"),
            ("spark://:7077", "host name"),
            ("spark://h1:7077,", "no port"),
            ("spark://::1:7077", "IPv6"),
            ("spark://h/1:7077", "host name"),
        ] {
            let e = url.parse::<MasterUrl>().unwrap_err().to_string();
            assert!(e.contains(says) && e.contains("spark://host:7077"), "{url}: {e}");
        }
    }
}
