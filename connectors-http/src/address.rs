//! How far an address reaches into the machine and the networks around it (IANA's special-purpose registries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// What is given away by a request to an address, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Anybody can reach it as well.
    Public,
    /// The networks that this machine is in.
    Private,
    /// This machine.
    Loopback,
    /// Nothing that a server's metadata has business with: link-local and metadata addresses, groups, reserved ones.
    Never,
}

use Reach::{Loopback, Never, Private, Public};

/// Special blocks of IPv4, the first that matches counting; all others are public.
const V4: [([u8; 4], u32, Reach); 17] = [
    // Metadata services of clouds that hide among other addresses.
    ([100, 100, 100, 200], 32, Never),
    ([168, 63, 129, 16], 32, Never),
    ([0, 0, 0, 0], 8, Never),
    ([10, 0, 0, 0], 8, Private),
    // Shared between a provider and its customers (RFC 6598); overlay networks use it too.
    ([100, 64, 0, 0], 10, Private),
    ([127, 0, 0, 0], 8, Loopback),
    ([169, 254, 0, 0], 16, Never),
    ([172, 16, 0, 0], 12, Private),
    ([192, 0, 0, 0], 24, Never),
    ([192, 0, 2, 0], 24, Never),
    ([192, 88, 99, 0], 24, Never),
    ([192, 168, 0, 0], 16, Private),
    // For benchmarks (RFC 2544); tools that tunnel a machine's traffic answer every name with one.
    ([198, 18, 0, 0], 15, Private),
    ([198, 51, 100, 0], 24, Never),
    ([203, 0, 113, 0], 24, Never),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 4, Never),
    ([240, 0, 0, 0], 4, Never),
];

/// Special blocks of IPv6, the first that matches counting; outside `2000::/3`, what is not listed is reserved.
const V6: [([u16; 8], u32, Reach); 9] = [
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback),
    // Metadata services of clouds, among the private addresses.
    ([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254], 128, Never),
    ([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254], 128, Never),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Private),
    // Protocol assignments, Teredo among them.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Never),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32, Never),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Never),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Public),
    ([0, 0, 0, 0, 0, 0, 0, 0], 0, Never),
];

/// IPv6 blocks whose addresses stand for the IPv4 address at a bit offset: mapped, compatible, NAT64, 6to4.
///
/// Those of `64:ff9b:1::/48` hide theirs in a place that only their network knows, so they remain reserved.
const EMBEDDING: [([u16; 8], u32, u32); 4] = [
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 96),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, 96),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, 96),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 16),
];

impl Reach {
    /// The reach of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let is_in = |block: [u8; 4], prefix: u32| {
            (address.to_bits() ^ u32::from_be_bytes(block)).leading_zeros() >= prefix
        };
        V4.iter().find(|(block, prefix, _)| is_in(*block, *prefix)).map_or(Public, |(.., reach)| *reach)
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        let is_in =
            |block: [u16; 8], prefix: u32| (bits ^ Ipv6Addr::from(block).to_bits()).leading_zeros() >= prefix;
        let embedded = EMBEDDING.iter().find(|(block, prefix, _)| is_in(*block, *prefix));
        if let Some((.., offset)) = embedded
            && !address.is_loopback()
        {
            // Of what is left of the shift, the last 32 bits are the address.
            return Self::of_v4(Ipv4Addr::from_bits((bits >> (96 - offset)) as u32));
        }
        V6.iter().find(|(block, prefix, _)| is_in(*block, *prefix)).map_or(Never, |(.., reach)| *reach)
    }

    /// The reach that the spelling of a URL tells: of an address, of `localhost` and names under it. `None` for a name.
    pub(crate) fn spelled(url: &Url) -> Option<Self> {
        match url.host()? {
            Host::Ipv4(address) => Some(Self::of_v4(address)),
            Host::Ipv6(address) => Some(Self::of_v6(address)),
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                let last = name.rsplit('.').next().unwrap_or_default();
                last.eq_ignore_ascii_case("localhost").then_some(Loopback)
            }
        }
    }
}

/// True for a host that is this machine, as far as its spelling tells. A proxy would take it for itself.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    Reach::spelled(url) == Some(Loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        Reach::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_that_anybody_can_reach_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2400::",
        ] {
            assert_eq!(reach(address), Public, "{address}");
        }
    }

    #[test]
    fn addresses_of_the_networks_around_are_private() {
        for address in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "fc00::",
            "fd12:3456::1",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(reach(address), Private, "{address}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_loopback() {
        for address in ["127.0.0.1", "127.0.0.0", "127.255.255.255", "::1"] {
            assert_eq!(reach(address), Loopback, "{address}");
        }
    }

    #[test]
    fn addresses_that_nothing_has_business_with_are_never_reached() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "100::1",
            "64:ff9b:1::1",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert_eq!(reach(address), Never, "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_one_counts_as_what_it_is() {
        let forms = |v4: &str| {
            let [a, b, c, d] = v4.parse::<Ipv4Addr>().unwrap().octets();
            [
                format!("::ffff:{v4}"),
                format!("::{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            ]
        };
        for (v4, expected) in [
            ("169.254.169.254", Never),
            ("255.255.255.255", Never),
            ("0.0.0.0", Never),
            ("127.0.0.1", Loopback),
            ("10.1.2.3", Private),
            ("100.64.0.1", Private),
            ("8.8.8.8", Public),
        ] {
            for form in forms(v4) {
                assert_eq!(reach(&form), expected, "{form}");
            }
        }
    }

    #[test]
    fn a_url_tells_its_reach_by_its_spelling_alone() {
        let spelled = |url: &str| Reach::spelled(&url.parse().unwrap());
        for url in [
            "http://localhost:3000/mcp",
            "https://LOCALHOST./",
            "http://app.localhost/",
            "http://127.0.0.1/",
            "http://127.9.8.7:1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]:9/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(spelled(url), Some(Loopback), "{url}");
            assert!(is_this_machine(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://localhost.example/", "https://h.example/", "http://notlocalhost/"] {
            assert_eq!(spelled(url), None, "{url}");
        }
        assert_eq!(spelled("http://10.0.0.1/"), Some(Private));
        assert_eq!(spelled("http://0xa9fea9fe/latest"), Some(Never));
        assert_eq!(spelled("http://[fe80::1]/"), Some(Never));
        assert_eq!(spelled("http://128.0.0.1/"), Some(Public));
    }
}
