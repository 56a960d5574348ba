//! Origins (RFC 6454) and hosts, as browsers write them.

use axum::http::{Uri, uri::Authority};

/// Whether a text is an origin as browsers send it: `https://shop.example` or `http://127.0.0.1:8080`, in lower case,
/// with no path, no user and no port that the scheme means anyway.
pub fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let usual_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let host = authority.host();
    let written = match authority.port_u16() {
        Some(port) if port != usual_port => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !host.is_empty() && host.chars().all(is_name) && written == text && text.to_ascii_lowercase() == text
}

/// `host:port` of an origin.
pub fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// Whether `host:port` has `localhost` or an address, which no name server can point elsewhere.
pub fn is_address(host: &str) -> bool {
    let Ok(parsed) = host.parse::<Authority>() else { return false };
    let (name, port) = (parsed.host(), parsed.port_u16());
    let is_plain = host == name || port.is_some_and(|port| host == format!("{name}:{port}"));
    is_plain && (name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_browsers_send_is_an_origin() {
        for good in [
            "https://shop.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://a:80",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "shop.example",
            "https://shop.example/",
            "https://shop.example/pay",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:",
            "https://user@shop.example",
            "https://*.example",
            "https://",
            "ftp://shop.example",
            "https://shop.example ",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn only_addresses_and_localhost_cannot_be_pointed_elsewhere() {
        for fixed in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]", "10.0.0.7"] {
            assert!(is_address(fixed), "{fixed}");
        }
        for other in [
            "",
            "null",
            "evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1.evil.example",
            "127.0.0.1:99999",
            "localhost.evil.example:80",
            "127.0.0.1:",
            "2130706433",
        ] {
            assert!(!is_address(other), "{other}");
        }
    }
}
