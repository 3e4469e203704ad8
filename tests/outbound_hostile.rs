//! Hostile URLs make no connection: neither the listener on the loopback nor the client's own counter sees one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod outbound_network;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use customerd::domain::reach::Reach;
use customerd::outbound::{Client, Error};
use outbound_network::{TestNetwork, options, post};

/// Addresses that nobody may be sent to, whatever they are written like.
const FORBIDDEN_V4: [Ipv4Addr; 14] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 255, 255, 254),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(172, 16, 0, 1),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(0, 0, 0, 0),
    Ipv4Addr::new(198, 18, 0, 1),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(240, 0, 0, 1),
    Ipv4Addr::new(255, 255, 255, 255),
];

const FORBIDDEN_V6: [&str; 20] = [
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "100:0:0:1::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "2001:20::1",
];

/// Names and what they resolve to: a public address alone is never among them.
const NAMES: [(&str, &[&[&str]]); 16] = [
    ("loopback.example", &[&["127.0.0.1"]]),
    ("loopback6.example", &[&["::1"]]),
    ("private.example", &[&["10.0.0.7"]]),
    ("metadata.example", &[&["169.254.169.254"]]),
    ("mixed-first.example", &[&["127.0.0.1", "93.184.216.34"]]),
    ("mixed-last.example", &[&["93.184.216.34", "127.0.0.1"]]),
    ("mixed-many.example", &[&["93.184.216.34", "1.1.1.1", "8.8.8.8", "9.9.9.9", "1.0.0.1", "192.168.0.1"]]),
    ("mixed-families.example", &[&["2606:4700::1111", "10.0.0.1"]]),
    ("mixed-v6.example", &[&["93.184.216.34", "fd00::1"]]),
    ("mapped.example", &[&["::ffff:127.0.0.1"]]),
    ("mapped-public.example", &[&["::ffff:93.184.216.34"]]),
    ("compatible.example", &[&["::127.0.0.1"]]),
    ("nat64.example", &[&["64:ff9b::7f00:1"]]),
    ("6to4.example", &[&["2002:7f00:1::"]]),
    ("teredo.example", &[&["2001:0:7f00:1::"]]),
    ("nothing.example", &[&[]]),
];

/// The spellings of an IPv4 address that some parser or other accepts.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let ([a, b, c, d], bits) = (address.octets(), address.to_bits());
    let (low24, low16) = (bits & 0xff_ffff, bits & 0xffff);
    let dotted = address.to_string();
    let wide = |zero: u32| -> String {
        dotted.chars().map(|c| c.to_digit(10).map_or(c, |digit| char::from_u32(zero + digit).unwrap())).collect()
    };
    let percent: String = dotted.bytes().map(|byte| format!("%{byte:02x}")).collect();
    vec![
        dotted.clone(),
        format!("{dotted}."),
        format!("{bits}"),
        format!("{bits}."),
        format!("{bits:#x}"),
        format!("0X{bits:X}"),
        format!("0{bits:o}"),
        format!("0x00000000{bits:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("{a:#x}.{b}.0{c:o}.{d}"),
        format!("{a}.{low24}"),
        format!("{a}.{low24:#x}"),
        format!("{a}.{b}.{low16}"),
        format!("0{a:o}.{b:#x}.{low16}"),
        wide(0xff10),
        wide(0x1d7ce),
        dotted.replace('.', "。"),
        dotted.replace('.', "．"),
        dotted.replace('.', "%2e"),
        percent,
        format!("{dotted}\u{ad}"),
        format!("{}.{dotted}", dotted),
        format!("{dotted}.nip.example"),
        format!("[::ffff:{dotted}]"),
        format!("[::ffff:{:x}:{:x}]", bits >> 16, low16),
        format!("[0:0:0:0:0:ffff:{dotted}]"),
        format!("[::ffff:0:{dotted}]"),
        format!("[::{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2002:{:x}:{:x}::]", bits >> 16, low16),
        format!("[2001:0:5db8:d822:0:0:{:x}:{:x}]", !bits >> 16, !bits & 0xffff),
        format!("[fe80::5efe:{dotted}]"),
    ]
}

/// User information, schemes, ports and broken parts; PORT is the listener's.
#[rustfmt::skip]
const HANDWRITTEN: &[&str] = &[
    "https://user@127.0.0.1:PORT/", "https://user:password@127.0.0.1:PORT/", "https://example.com@127.0.0.1:PORT/",
    "https://example.com:443@127.0.0.1:PORT/", "https://example.com%40127.0.0.1:PORT/",
    "https://127.0.0.1:PORT@example.com/", "https://@127.0.0.1:PORT/", "https://:@127.0.0.1:PORT/",
    "https://a@b@127.0.0.1:PORT/", "https://example.com\\@127.0.0.1:PORT/", "https://127.0.0.1:PORT\\@example.com/",
    "https://example.com#@127.0.0.1:PORT/", "https://127.0.0.1:PORT#@example.com/",
    "https://127.0.0.1:PORT?@example.com/", "https:\\\\127.0.0.1:PORT\\", "https:127.0.0.1:PORT",
    "https:/127.0.0.1:PORT/", "https:///127.0.0.1:PORT/", "https:////127.0.0.1:PORT/", "//127.0.0.1:PORT/",
    "127.0.0.1:PORT", "https://127.0.0.1\t:PORT/", "https://127.0.\n0.1:PORT/", " https://127.0.0.1:PORT/",
    "https://127.0.0.1 :PORT/", "\u{feff}https://127.0.0.1:PORT/", "http://127.0.0.1:PORT/",
    "http://loopback.example:PORT/", "http://example.com/", "ftp://127.0.0.1:PORT/", "gopher://127.0.0.1:PORT/_x",
    "file:///etc/passwd", "file://127.0.0.1:PORT/", "dict://127.0.0.1:PORT/", "ws://127.0.0.1:PORT/",
    "wss://127.0.0.1:PORT/", "unix:///run/x.sock", "data:,x", "javascript:alert(1)", "jar:https://127.0.0.1:PORT!/",
    "about:blank", "https://localhost:PORT/", "https://LOCALHOST:PORT/", "https://localhost.:PORT/",
    "https://a.localhost:PORT/", "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/", "https://localhost.localdomain:PORT/",
    "https://localhost6:PORT/", "https://ip6-localhost:PORT/", "https://metadata.google.internal:PORT/",
    "https://metadata:PORT/", "https://kubernetes.default.svc:PORT/", "https://host.docker.internal:PORT/",
    "https://loopback.example.:PORT/", "https://LOOPBACK.example:PORT/", "https://xn--:PORT/", "https://xn--a:PORT/",
    "https://a..b:PORT/", "https://.:PORT/", "https://..:PORT/", "https://*:PORT/", "https://%:PORT/",
    "https://%00127.0.0.1:PORT/", "https://127.0.0.1%00.example.com:PORT/", "https://127.0.0.1%2f.example:PORT/",
    "https://127.0.0.1%09:PORT/", "https://[::1]:PORT/", "https://[::1%25lo]:PORT/", "https://[::1%lo]:PORT/",
    "https://[::1:PORT/", "https://[[::1]]:PORT/", "https://[]:PORT/", "https://[127.0.0.1]:PORT/",
    "https://::1:PORT/", "https://0:PORT/", "https://00:PORT/", "https://0x:PORT/", "https://0x0:PORT/",
    "https://127.1:PORT/", "https://127.0.1:PORT/", "https://256.256.256.256:PORT/", "https://1.2.3.4.5:PORT/",
    "https://127.0.0.0x1:PORT/", "https://4294967296:PORT/", "https://4294967297:PORT/", "https://-1:PORT/",
    "https://127.0.0.1:0PORT/", "https://127.0.0.1:+PORT/", "https://example.com:0/", "https://example.com:1/",
    "https://example.com:22/", "https://example.com:25/", "https://example.com:53/", "https://example.com:80/",
    "https://example.com:110/", "https://example.com:444/", "https://example.com:1023/", "https://example.com:65536/",
    "https://example.com:99999999999/", "https://example.com:-1/", "https://example.com:443x/", "https://",
    "https://:PORT/", "",
];

fn handwritten(port: u16) -> Vec<String> {
    let mut urls: Vec<String> = HANDWRITTEN.iter().map(|url| url.replace("PORT", &port.to_string())).collect();
    urls.extend(NAMES.iter().flat_map(|(name, _)| {
        [
            format!("https://{name}/"),
            format!("https://{name}:{port}/"),
            format!("https://{}.:{port}/", name.to_uppercase()),
        ]
    }));
    urls.extend(FORBIDDEN_V6.iter().map(|address| format!("https://[{address}]:{port}/")));
    urls.push(format!("https://{}.example/", "a".repeat(64)));
    urls.push(format!("https://127.0.0.1:{port}/{}", "a".repeat(2048)));
    urls
}

fn network() -> TestNetwork {
    NAMES.iter().fold(TestNetwork::new(), |network, (name, answers)| {
        network.name(name, answers).name(&format!("{name}."), answers)
    })
}

/// A listener whose backlog shows, at the end, whether anybody came.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn callers(listener: &TcpListener) -> usize {
    std::iter::from_fn(|| listener.accept().ok()).count()
}

#[tokio::test]
async fn hostile_urls_make_no_connection() {
    let (listener, port) = listener();
    let network = Arc::new(network());
    let client = Client::new(options(&network)).unwrap();
    let generated = FORBIDDEN_V4.iter().flat_map(|address| spellings(*address));
    let generated = generated.map(|host| format!("https://{host}:{port}/hook"));
    let urls: BTreeSet<String> = generated.chain(handwritten(port)).collect();
    assert!(urls.len() >= 300, "{} hostile URLs", urls.len());

    for url in &urls {
        let answer = post(&client, url, Reach::Global).await;
        assert_eq!(answer.status, None, "{url}");
        let error = answer.error.unwrap_or_else(|| panic!("no error for {url}"));
        assert!(matches!(error, Error::Url(_) | Error::AddressForbidden | Error::Resolve), "{url}: {error:?}");
    }
    assert_eq!((client.connections(), network.dialled(), callers(&listener)), (0, vec![], 0));
}

/// The control: the same listener, client and counters do see a connection that is allowed.
#[tokio::test]
async fn an_allowed_url_is_seen_by_every_counter() {
    let (listener, port) = listener();
    let network = Arc::new(network());
    let mut options = options(&network);
    options.deadline = std::time::Duration::from_millis(200);
    let client = Client::new(options).unwrap();
    let answer = post(&client, &format!("http://127.0.0.1:{port}/"), Reach::Private).await;
    assert_eq!(answer.error, Some(Error::Deadline));
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!((client.connections(), network.dialled(), callers(&listener)), (1, vec![loopback], 1));
}

#[tokio::test]
async fn private_reach_does_not_reach_metadata_or_embedded_addresses() {
    let (listener, port) = listener();
    let network = Arc::new(network().name("link-local.example", &[&["10.0.0.1", "169.254.169.254"]]));
    let client = Client::new(options(&network)).unwrap();
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0.0.0.0",
        "0",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "metadata.example",
        "mapped.example",
        "compatible.example",
        "nat64.example",
        "6to4.example",
        "teredo.example",
        "nothing.example",
        "link-local.example",
        "user@127.0.0.1",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            let error = post(&client, &url, Reach::Private).await.error.unwrap();
            assert!(matches!(error, Error::Url(_) | Error::AddressForbidden | Error::Resolve), "{url}: {error:?}");
        }
    }
    assert_eq!((client.connections(), network.dialled(), callers(&listener)), (0, vec![], 0));
}

/// A name that is public when the subscription is made and private when the event is sent.
#[tokio::test]
async fn a_rebinding_name_is_caught_at_every_connection() {
    let (listener, port) = listener();
    let name = "rebinding.example";
    let network =
        Arc::new(TestNetwork::new().name(name, &[&["93.184.216.34"], &["127.0.0.1"], &["93.184.216.34", "::1"]]));
    let client = Client::new(options(&network)).unwrap();
    let url = format!("https://{name}:{port}/");

    let first = post(&client, &url, Reach::Global).await;
    assert_eq!(first.error, Some(Error::Connect(std::io::ErrorKind::ConnectionRefused)));
    // One question, and the connection went to the very address that was checked.
    let public = SocketAddr::new(IpAddr::from([93, 184, 216, 34]), port);
    assert_eq!((network.asked(name), network.dialled()), (1, vec![public]));

    for asked in [2, 3] {
        assert_eq!(post(&client, &url, Reach::Global).await.error, Some(Error::AddressForbidden));
        assert_eq!(network.asked(name), asked);
    }
    assert_eq!((client.connections(), network.dialled(), callers(&listener)), (1, vec![public], 0));
}

#[tokio::test]
async fn addresses_are_tried_in_order_and_not_without_end() {
    let public = ["2606:4700::1111", "93.184.216.34", "1.1.1.1", "8.8.8.8", "9.9.9.9", "1.0.0.1"];
    let network = Arc::new(TestNetwork::new().name("many.example", &[&public]));
    let client = Client::new(options(&network)).unwrap();
    post(&client, "https://many.example/", Reach::Global).await;
    let dialled: Vec<IpAddr> = network.dialled().iter().map(SocketAddr::ip).collect();
    let first: IpAddr = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111).into();
    assert_eq!(dialled, [first, [93, 184, 216, 34].into(), [1, 1, 1, 1].into(), [8, 8, 8, 8].into()]);
}
