use super::*;
use crate::signature::{Origin, OriginError};

/// The base of a request that covers `components`, without its last line.
fn lines(request: Request, components: &str) -> String {
    let input = format!("(\"@method\" \"@target-uri\" {components});created=1800000000;keyid=\"key-1\"");
    let base = request.claimed(&input).base();
    base.lines().skip(2).take_while(|line| !line.starts_with("\"@signature-params\"")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_whole_base() {
    let request = Request::post().with("authorization", "Bearer secret").claimed(
        "(\"@method\" \"@target-uri\" \"content-digest\" \"authorization\" \"idempotency-key\");created=1800000000;keyid=\"key-1\"",
    );
    insta::assert_snapshot!(request.base(), @r#"
    "@method": POST
    "@target-uri": https://api.example.com/v1/customers
    "content-digest": sha-256=:2HpwZe9ZAqOEbtB+xF/9oEv6Mt0QRXqckK2LKnhjQgY=:
    "authorization": [redacted]
    "idempotency-key": 8e03978e-40d5-43e8-bc93-6894a57f9324
    "@signature-params": ("@method" "@target-uri" "content-digest" "authorization" "idempotency-key");created=1800000000;keyid="key-1"
    "#);
    let debug = format!("{:?}", request.check().unwrap());
    assert!(!debug.contains("secret") && debug.contains("[redacted]"), "{debug}");
}

#[test]
fn derived_components() {
    let all = "\"@scheme\" \"@authority\" \"@path\" \"@query\" \"@request-target\"";
    insta::assert_snapshot!(lines(Request::get("/v1/a%2Fb/%7e?q=%20x&y"), all), @r#"
    "@scheme": https
    "@authority": api.example.com
    "@path": /v1/a%2Fb/%7e
    "@query": ?q=%20x&y
    "@request-target": /v1/a%2Fb/%7e?q=%20x&y
    "#);
    insta::assert_snapshot!(lines(Request::get("https://api.example.com"), all), @r#"
    "@scheme": https
    "@authority": api.example.com
    "@path": /
    "@query": ?
    "@request-target": https://api.example.com/
    "#);
}

#[test]
fn target_uri_keeps_what_was_typed() {
    let uri = |target: &str| {
        Request::get(target).claimed("(\"@method\" \"@target-uri\");created=1800000000;keyid=\"k\"").base()
    };
    for target in ["/", "/a", "/a?", "/a?b=c&d=%2f", "/a/../b//c", "/a;b=c"] {
        let base = uri(target);
        assert_eq!(base.lines().nth(1), Some(&*format!("\"@target-uri\": https://api.example.com{target}")));
    }
}

#[test]
fn query_parameters_as_in_rfc_9421_section_2_2_8() {
    let request = || {
        Request::get(
            "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&twice=1&twice=2&qux=",
        )
    };
    let parameter = |name: &str| lines(request(), &format!("\"@query-param\";name=\"{name}\""));
    assert_eq!(parameter("var"), "\"@query-param\";name=\"var\": this%20is%20a%20big%0Amultiline%20value");
    assert_eq!(parameter("bar"), "\"@query-param\";name=\"bar\": with%20plus%20whitespace");
    assert_eq!(parameter("fa%C3%A7ade%22%3A%20"), "\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\": something");
    assert_eq!(parameter("qux"), "\"@query-param\";name=\"qux\": ");
    for name in ["twice", "absent"] {
        let input =
            format!("(\"@method\" \"@target-uri\" \"@query-param\";name=\"{name}\");created=1800000000;keyid=\"k\"");
        assert_eq!(code(request().claimed(&input).check()), "SIGNATURE_COMPONENT");
    }
}

#[test]
fn fields_are_trimmed_and_joined() {
    let request =
        Request::get("/").with("x-a", "  one \t").with("x-a", "").with("x-a", "three, four").with("x-b", "b  b");
    assert_eq!(lines(request, "\"x-b\" \"x-a\""), "\"x-b\": b  b\n\"x-a\": one, , three, four");
    let mut latin = Request::get("/");
    latin.headers.insert("x-a", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let input = "(\"@method\" \"@target-uri\" \"x-a\");created=1800000000;keyid=\"k\"";
    assert_eq!(latin.claimed(input).check(), Err(Error::component("\"x-a\"", "its value is not ASCII")));
}

#[test]
fn the_host_chooses_among_configured_origins_and_nothing_else_counts() {
    let target = |host: &str| {
        let mut request = Request::get("/a").with("x-forwarded-host", "evil.example").with("x-forwarded-proto", "http");
        request.headers.insert("host", host.parse().unwrap());
        request.headers.insert("forwarded", HeaderValue::from_static("host=evil.example;proto=http"));
        request
            .claimed("(\"@method\" \"@target-uri\");created=1800000000;keyid=\"k\"")
            .base()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    for host in ["api.example.com", "API.Example.com", "api.example.com:443", "10.0.0.7:8080", "evil.example"] {
        assert_eq!(target(host), "\"@target-uri\": https://api.example.com/a", "{host}");
    }
    assert_eq!(target("LOCALHOST:8080"), "\"@target-uri\": http://localhost:8080/a");
}

#[test]
fn origins_are_normalised_and_checked() {
    assert_eq!(Origin::parse("HTTPS://Api.Example.com:443/").unwrap().to_string(), "https://api.example.com");
    assert_eq!(Origin::parse("http://[::1]:80").unwrap().to_string(), "http://[::1]");
    assert_eq!(Origin::parse("http://[::1]:8080").unwrap().authority(), "[::1]:8080");
    assert_eq!(Origin::parse("https://a:80").unwrap().authority(), "a:80");
    for url in ["", "a", "ftp://a", "https://a/b", "https://a?b", "https://u@a", "//a", "https://", "https://a/#f"] {
        assert_eq!(Origin::parse(url), Err(OriginError::Malformed(url.into())), "{url}");
    }
    assert_eq!(Origins::new(Vec::<String>::new()), Err(OriginError::None));
    assert!(matches!(Origins::new(["http://a", "https://a"]), Err(OriginError::Ambiguous(..))));
    assert!(Origins::new(["https://a", "https://a:443"]).is_ok());
}

#[test]
fn outgoing_requests_sign_their_absolute_uri() {
    let key = key();
    let mut request = Request::get("https://Hooks.Example:443/in?x=1").without("host");
    let signed = sign(&Message::outgoing(request.head()).unwrap(), &key, &GET).unwrap();
    assert_eq!(signed.signature_input, "sig=(\"@method\" \"@target-uri\");created=1800000000;keyid=\"key-1\"");
    request.headers.insert("signature-input", signed.signature_input);
    request.headers.insert("signature", signed.signature);
    let theirs = Origins::new(["https://hooks.example"]).unwrap();
    let message = Message::received(request.head(), &theirs).unwrap();
    let evidence = check(&message, Policy::for_request(&Method::GET, false), NOW).unwrap();
    assert!(evidence.verify(NOW, |_| Some(key.public_key())).is_ok());
    assert_eq!(Message::outgoing(Request::get("/in").head()).err().unwrap().code(), "SIGNATURE_COMPONENT");
}
