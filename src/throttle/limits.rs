//! The limits of failed attempts and of requests, and the keys for which they count.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use uuid::Uuid;

use super::{Bucket, Limit};

const MINUTE: u32 = 60;

/// Failures for one account from one address.
pub const PAIR: Limit = Limit { name: "account_and_address", free: 10, forget_secs: 15 * MINUTE };
/// Failures on one device on which the user has logged in before.
pub const DEVICE: Limit = Limit { name: "device", free: 10, forget_secs: 15 * MINUTE };
/// Failures from one address, or from one /64 network of IPv6. Limits attacks that try one password for many
/// accounts.
pub const ADDRESS: Limit = Limit { name: "address", free: 50, forget_secs: MINUTE };
/// Failures from one /48 network of IPv6.
pub const NETWORK: Limit = Limit { name: "network", free: 200, forget_secs: 15 };
/// Failures for one account from all addresses. When 100 failures are counted, the owner of the account is
/// alerted.
pub const ACCOUNT: Limit = Limit { name: "account", free: 100, forget_secs: 15 * MINUTE };
/// Wrong passwords and codes of one logged-in user.
pub const USER: Limit = Limit { name: "user", free: 10, forget_secs: 15 * MINUTE };
/// Sign-ups from one address with a taken identifier or a wrong invitation code.
pub const SIGN_UP: Limit = Limit { name: "sign_up", free: 300, forget_secs: 20 };

/// Requests for an email from one address, or from one /64 network of IPv6.
pub const MAIL: Limit = Limit { name: "mail", free: 100, forget_secs: 30 };
/// Requests for the options of a login with a passkey from one address, or from one /64 network of IPv6. Each
/// request stores a challenge for 5 minutes.
pub const PASSKEY_OPTIONS: Limit = Limit { name: "passkey_options", free: 60, forget_secs: 1 };
/// Mails that report an attack to one user: at most one a day.
pub const ATTACK_REPORT: Limit = Limit { name: "attack_report", free: 1, forget_secs: 24 * 60 * MINUTE };

/// Returns the text by which an address is counted. An IPv6 address is counted by its /64 network, because a
/// client can choose the other 64 bits.
fn counted(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => network(address, 64),
    }
}

fn network(address: Ipv6Addr, prefix: u8) -> String {
    Ipv6Net::new(address, prefix).map_or_else(|_| address.to_string(), |network| network.trunc().to_string())
}

/// Returns the buckets of an address: the bucket of the address and, for IPv6, also the bucket of its /48
/// network.
pub fn of_address(address: IpAddr) -> Vec<Bucket> {
    let counted = counted(address);
    let mut buckets = vec![Bucket::new(ADDRESS, counted.as_bytes()).at(&counted)];
    if let IpAddr::V6(address) = address.to_canonical() {
        let wide = network(address, 48);
        buckets.push(Bucket::new(NETWORK, wide.as_bytes()).at(&wide));
    }
    buckets
}

/// Returns the buckets of an attempt to log in to the account with this name, on an unknown device. The name
/// is in canonical form and need not belong to an account.
pub fn of_login(name: &str, address: IpAddr) -> Vec<Bucket> {
    let counted = counted(address);
    let pair = [name.as_bytes(), b"\0", counted.as_bytes()].concat();
    let mut buckets = vec![Bucket::new(PAIR, &pair).of_account(name).at(&counted)];
    buckets.extend(of_address(address));
    buckets.push(Bucket::new(ACCOUNT, name.as_bytes()).of_account(name));
    buckets
}

/// Returns the bucket of an attempt on a device on which the user has logged in before.
pub fn of_device(name: &str, device: Uuid) -> Vec<Bucket> {
    vec![Bucket::new(DEVICE, device.as_bytes()).of_account(name)]
}

/// Returns the bucket of a logged-in user who authenticates again.
pub fn of_user(user: Uuid) -> Vec<Bucket> {
    vec![Bucket::new(USER, user.as_bytes())]
}

/// Returns the bucket that limits how many emails the clients at an IP address can request.
pub fn of_mail(address: IpAddr) -> Bucket {
    let counted = counted(address);
    Bucket::new(MAIL, counted.as_bytes()).at(&counted)
}

/// Returns the bucket that limits the requests for the options of a login with a passkey from an address.
pub fn of_passkey_options(address: IpAddr) -> Bucket {
    let counted = counted(address);
    Bucket::new(PASSKEY_OPTIONS, counted.as_bytes()).at(&counted)
}

/// Returns the bucket that limits the reports of attacks to a user.
pub fn of_attack_report(user: Uuid) -> Bucket {
    Bucket::new(ATTACK_REPORT, user.as_bytes())
}

/// Returns the bucket that limits the failed sign-ups from an address.
pub fn of_sign_up(address: IpAddr) -> Vec<Bucket> {
    let counted = counted(address);
    vec![Bucket::new(SIGN_UP, counted.as_bytes()).at(&counted)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    /// Every limit that can refuse an attempt or a request of a client. [`ATTACK_REPORT`] refuses only mails
    /// of the server itself.
    const COUNTED: [Limit; 9] =
        [PAIR, DEVICE, ADDRESS, NETWORK, ACCOUNT, USER, SIGN_UP, MAIL, PASSKEY_OPTIONS];

    fn names(address: &str) -> Vec<(&'static str, String)> {
        let buckets = of_login("ada", address.parse().unwrap());
        buckets.into_iter().map(|bucket| (bucket.limit.name, bucket.address)).collect()
    }

    #[test]
    fn every_limit_has_a_series_in_the_metrics_before_its_first_refusal() {
        // S-97
        let text = metrics::render();
        let series = text.lines().filter(|line| line.starts_with("tripgate_throttled_total{")).count();
        assert_eq!(series, COUNTED.len(), "{text}");
        for limit in COUNTED {
            let start = format!("tripgate_throttled_total{{scope=\"{}\"}} ", limit.name);
            assert!(text.contains(&start), "{start}\n{text}");
        }
    }

    #[test]
    fn ipv6_addresses_are_counted_by_their_64_and_48_bit_prefixes() {
        // S-14, S-84
        let expected = |list: &[(&'static str, &str)]| -> Vec<_> {
            list.iter().map(|(name, address)| (*name, (*address).to_owned())).collect()
        };
        let net = "2001:db8:1:2::/64";
        let wide = "2001:db8:1::/48";
        let all = [("account_and_address", net), ("address", net), ("network", wide), ("account", "")];
        assert_eq!(names("2001:db8:1:2:3:4:5:6"), expected(&all));
        let four = "192.0.2.1";
        let all = [("account_and_address", four), ("address", four), ("account", "")];
        assert_eq!(names(four), expected(&all));
        assert_eq!(names("::ffff:192.0.2.1"), expected(&all));
    }
}
