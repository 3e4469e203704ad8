use super::*;

fn covering(request: Request, components: &str) -> Result<Evidence, Error> {
    request.claimed(&format!("({components});created=1800000000;keyid=\"key-1\"")).check()
}

fn missing(outcome: Result<Evidence, Error>) -> String {
    match outcome {
        Err(Error::Coverage { missing, .. }) => missing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_target_is_covered_whole_or_in_parts() {
    for (target, components) in [
        ("/v1/customers?a=b", "\"@method\" \"@target-uri\""),
        ("/v1/customers?a=b", "\"@method\" \"@authority\" \"@path\" \"@query\""),
        ("/v1/customers", "\"@method\" \"@authority\" \"@path\""),
        ("/v1/customers?", "\"@method\" \"@authority\" \"@path\""),
        ("/v1/customers", "\"@path\" \"@query\" \"@scheme\" \"@authority\" \"@request-target\" \"@method\""),
    ] {
        assert!(covering(Request::get(target), components).is_ok(), "{target} {components}");
    }
    for (target, components, expected) in [
        ("/a", "\"@target-uri\"", "\"@method\""),
        ("/a", "\"@method\" \"@path\"", "\"@authority\""),
        ("/a", "\"@method\" \"@authority\"", "\"@path\""),
        ("/a?b", "\"@method\" \"@authority\" \"@path\"", "\"@query\""),
        ("/a?b=c", "\"@method\" \"@authority\" \"@path\" \"@query-param\";name=\"b\"", "\"@query\""),
        (
            "/a",
            "\"@method\" \"@request-target\" \"host\"",
            "\"@target-uri\" (or \"@authority\" with \"@path\" and, if there is a query, \"@query\")",
        ),
    ] {
        assert_eq!(missing(covering(Request::get(target), components)), expected);
    }
}

#[test]
fn bodies_and_modifying_calls_ask_for_more() {
    let target = "\"@method\" \"@target-uri\"";
    assert_eq!(missing(covering(Request::post(), target)), "\"content-digest\", \"idempotency-key\"");
    let mut bare = Request::new(Method::DELETE, "/v1/auth/credentials");
    assert_eq!(missing(covering(bare, target)), "\"idempotency-key\"");
    bare = Request::new(Method::GET, "/v1/customers");
    bare.body = b"x".to_vec();
    assert_eq!(missing(covering(bare, target)), "\"content-digest\"");
    assert!(covering(Request::post(), &format!("{target} \"content-digest\" \"idempotency-key\"")).is_ok());
}

#[test]
fn components_that_are_not_implemented_are_refused() {
    for component in [
        "\"@status\"",
        "\"@signature-params\"",
        "\"@unknown\"",
        "\"@query-param\"",
        "\"@query-param\";name=a",
        "\"@query-param\";name=\"a\";req",
        "\"@method\";req",
        "\"Content-Type\"",
        "\"\"",
        "\"a b\"",
    ] {
        let outcome = covering(Request::get("/?a=1"), &format!("\"@method\" \"@target-uri\" {component}"));
        assert_eq!(code(outcome), "SIGNATURE_COMPONENT", "{component}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    for input in [
        "",
        "1",
        "\"@method\"",
        "(@method)",
        "(\"@method\"",
        "(\"@method\" \"@target-uri\");created=\"1\"",
        "(\"@method\" \"@target-uri\");created=1.0",
        "(\"@method\" \"@target-uri\");created=1800000000;keyid=k",
        "(\"@method\" \"@target-uri\");created=1800000000;keyid=\"\"",
        "(\"@method\" \"@target-uri\");created=1800000000;keyid=\"k\";nonce=1",
        "(\"@method\" \"@target-uri\");created=1800000000;keyid=\"k\";alg=ed25519",
    ] {
        assert_eq!(code(Request::get("/").claimed(input).check()), "SIGNATURE_MALFORMED", "{input}");
    }
    let good = "sig=(\"@method\" \"@target-uri\");created=1800000000;keyid=\"key-1\"";
    let request = || Request::get("/").with("signature-input", good);
    assert_eq!(request().check(), Err(Error::Missing("Signature")));
    assert_eq!(Request::get("/").with("signature", "sig=:AA==:").check(), Err(Error::Missing("Signature-Input")));
    for signature in ["", "sig", "sig=\"AA==\"", "sig=(:AA==:)", "other=:AA==:"] {
        assert_eq!(code(request().with("signature", signature).check()), "SIGNATURE_MALFORMED", "{signature}");
    }
    let many: String = (0..9).map(|n| format!("s{n}=:AA==:,")).collect();
    assert_eq!(code(request().with("signature", many.trim_end_matches(',')).check()), "SIGNATURE_MALFORMED");
}

#[test]
fn created_and_keyid_are_required() {
    let lacking =
        |params: &str| match Request::get("/").claimed(&format!("(\"@method\" \"@target-uri\"){params}")).check() {
            Err(Error::Parameter { parameter, .. }) => parameter,
            other => panic!("{other:?}"),
        };
    assert_eq!(lacking(""), "created");
    assert_eq!(lacking(";keyid=\"k\""), "created");
    assert_eq!(lacking(";created=1800000000"), "keyid");
}

#[test]
fn the_window_is_300_seconds_back_and_30_ahead() {
    let signed =
        |params: &str| Request::get("/").claimed(&format!("(\"@method\" \"@target-uri\");keyid=\"k\";{params}"));
    let outcome = |params: &str, now: i64| signed(params).check_at(now).map(|_| ()).map_err(|e| e.code());
    assert_eq!(outcome("created=1000", 1300), Ok(()));
    assert_eq!(outcome("created=1000", 1301), Err("SIGNATURE_EXPIRED"));
    assert_eq!(outcome("created=1000", 970), Ok(()));
    assert_eq!(outcome("created=1000", 969), Err("SIGNATURE_NOT_YET_VALID"));
    assert_eq!(outcome("created=1000;expires=1010", 1010), Ok(()));
    assert_eq!(outcome("created=1000;expires=1010", 1011), Err("SIGNATURE_EXPIRED"));
    assert_eq!(outcome("created=1000;expires=999", 990), Err("SIGNATURE_EXPIRED"));
    assert_eq!(outcome("created=-999999999999999", i64::MAX), Err("SIGNATURE_EXPIRED"));
    assert_eq!(outcome("created=999999999999999", i64::MIN), Err("SIGNATURE_NOT_YET_VALID"));
}

#[test]
fn the_error_is_that_of_the_signature_that_got_furthest() {
    let empty = "a=();created=1800000000;keyid=\"k\"";
    let unsupported = "b=(\"@status\");created=1800000000;keyid=\"k\"";
    let old = "c=(\"@method\" \"@target-uri\");created=1700000000;keyid=\"k\"";
    let request = |inputs: &[&str]| {
        Request::get("/").with("signature-input", &inputs.join(", ")).with("signature", "a=:AA==:, b=:AA==:, c=:AA==:")
    };
    assert_eq!(code(request(&[empty, unsupported]).check()), "SIGNATURE_COVERAGE");
    assert_eq!(code(request(&[unsupported, old, empty]).check()), "SIGNATURE_EXPIRED");
    assert_eq!(code(request(&[unsupported]).check()), "SIGNATURE_COMPONENT");
}
