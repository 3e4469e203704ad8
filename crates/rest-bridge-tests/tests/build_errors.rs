//! Protos that cannot be served: each names the method and the rule.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use rest_bridge_build::{Generator, Rule};

/// One file from memory.
struct Memory(String);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "t.proto" { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

const MESSAGES: &str = r#"
message M {
  string id = 1; int32 n = 2; Sub sub = 3; repeated string list = 4; map<string, string> map = 5;
  oneof choice { string a = 6; Sub b = 7; }
}
message Plain { string id = 1; int32 n = 2; }
message Sub { string text = 1; Rec rec = 2; }
message Rec { Rec again = 1; }
message Holder { Rec rec = 1; }
message Lists { repeated Plain plains = 1; }
message InOneof { oneof choice { Plain plain = 1; } }
message Nothing {}
message Mapped { map<string, string> map = 1; }
message WithAny { google.protobuf.Any any = 1; }
message WithNull { google.protobuf.NullValue null = 1; }
message WithStruct { google.protobuf.Struct free = 1; }
message WithEnum { E e = 1; }
enum E { E_UNSPECIFIED = 0; E_ONE = 1; ONE = 2; }
"#;

/// Generates from a service with these methods.
fn generate(methods: &str) -> Result<(), rest_bridge_build::Error> {
    let source = format!(
        "syntax = \"proto3\"; package t; import \"google/api/annotations.proto\"; import \"google/api/httpbody.proto\";
        import \"rest_bridge/options.proto\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/struct.proto\";
        {MESSAGES} service S {{ {methods} }}"
    );
    let protos = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(Path::new("../../proto"));
    let mut resolver = ChainFileResolver::new();
    resolver.add(Memory(source));
    resolver.add(IncludeFileResolver::new(protos));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true).open_file("t.proto").unwrap();
    let descriptors = compiler.encode_file_descriptor_set();
    Generator::new(&descriptors).module("t", "crate::t").module("google.api", "crate::api").generate().map(|_| ())
}

/// A method `Do` with this rule and types.
fn rpc(types: &str, http: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!("option (rest_bridge.rest) = {{ {rest} }};") };
    let (input, output) = types.split_once(' ').unwrap();
    let output = output.replace("stream:", "stream ");
    let input = input.replace("stream:", "stream ");
    format!("rpc Do({input}) returns ({output}) {{ option (google.api.http) = {{ {http} }}; {rest} }}")
}

#[test]
fn every_rule_names_the_method() {
    use Rule::{
        Binding, Body, ClientStreaming, Duplicate, PathField, Query, ResponseBody, Sse, SuccessStatus, Template,
    };
    let cases = [
        (ClientStreaming, "stream:Plain Plain", r#"post: "/a" body: "*""#, ""),
        (Template, "Plain Plain", r#"get: "a""#, ""),
        (Template, "Plain Plain", r#"get: "/a//b""#, ""),
        (Template, "Plain Plain", r#"get: "/a/{id""#, ""),
        (Template, "Plain Plain", r#"get: "/a/{}""#, ""),
        (Template, "Plain Plain", r#"get: "/a/x{id}""#, ""),
        (Template, "Plain Plain", r#"get: "/a/{id=**}/b""#, ""),
        (Template, "Plain Plain", r#"get: "/a/{id}:""#, ""),
        (Template, "Plain Plain", r#"get: "/a b""#, ""),
        (PathField, "Plain Plain", r#"get: "/a/{unknown}""#, ""),
        (PathField, "Plain Plain", r#"get: "/a/{id}/{id}""#, ""),
        (PathField, "M Plain", r#"post: "/a/{list}" body: "*""#, ""),
        (PathField, "M Plain", r#"post: "/a/{map}" body: "*""#, ""),
        (PathField, "M Plain", r#"post: "/a/{sub}" body: "*""#, ""),
        (PathField, "M Plain", r#"post: "/a/{a}" body: "*""#, ""),
        (PathField, "M Plain", r#"post: "/a/{b.text}" body: "*""#, ""),
        (PathField, "M Plain", r#"post: "/a/{id.x}" body: "*""#, ""),
        (Body, "Plain Plain", r#"get: "/a" body: "*""#, ""),
        (Body, "Plain Plain", r#"delete: "/a" body: "n""#, ""),
        (Body, "Plain Plain", r#"post: "/a" body: "unknown""#, ""),
        (Body, "Plain Plain", r#"post: "/a/{id}" body: "id""#, ""),
        (Query, "M Plain", r#"get: "/a""#, ""),
        (Query, "Mapped Plain", r#"get: "/a""#, ""),
        (Query, "Holder Plain", r#"get: "/a""#, ""),
        (Query, "Lists Plain", r#"get: "/a""#, ""),
        (Query, "InOneof Plain", r#"get: "/a""#, ""),
        (Query, "WithStruct Plain", r#"get: "/a""#, ""),
        (ResponseBody, "Plain Plain", r#"get: "/a" response_body: "unknown""#, ""),
        (SuccessStatus, "Plain Plain", r#"get: "/a""#, "success_status: 204"),
        (SuccessStatus, "Plain Plain", r#"get: "/a""#, "success_status: 302"),
        (SuccessStatus, "Plain stream:Plain", r#"get: "/a""#, "success_status: 201"),
        (Sse, "Plain Plain", r#"get: "/a""#, r#"sse_id: "id""#),
        (Sse, "Plain stream:Plain", r#"get: "/a""#, r#"sse_id: "unknown""#),
        (Sse, "Plain stream:Plain", r#"get: "/a""#, r#"sse_resume: "n""#),
        (Sse, "Plain stream:Plain", r#"get: "/a""#, r#"sse_id: "id" heartbeats: "id""#),
        (Binding, "Plain Plain", r#"custom { kind: "HEAD" path: "/a" }"#, ""),
        (
            Binding,
            "Plain Plain",
            r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#,
            "",
        ),
        (Duplicate, "Plain Plain", r#"get: "/a/{id}" additional_bindings { get: "/a/{n}" }"#, ""),
        (Duplicate, "Plain Plain", r#"get: "/a/{id=b/*}" additional_bindings { get: "/a/b/{id}" }"#, ""),
    ];
    let mut words = Vec::new();
    for (rule, types, http, rest) in cases {
        let error = generate(&rpc(types, http, rest)).unwrap_err();
        assert_eq!((error.rule, error.at.as_str()), (rule, "t.S.Do"), "{http}: {error}");
        words.push(error.to_string());
    }
    insta::assert_snapshot!(words.join("\n"));
}

#[test]
fn types_without_a_form() {
    let mut words = Vec::new();
    for (rule, types) in [
        (Rule::Type, "Plain WithAny"),
        (Rule::Type, "Plain WithNull"),
        (Rule::Type, "Plain google.api.HttpBody"),
        (Rule::EnumNames, "Plain WithEnum"),
        (Rule::Module, "Plain google.api.Http"),
    ] {
        let error = match rule {
            Rule::Module => module_missing(),
            _ => generate(&rpc(types, r#"get: "/a""#, "")).unwrap_err(),
        };
        assert_eq!(error.rule, rule, "{error}");
        words.push(error.to_string());
    }
    insta::assert_snapshot!(words.join("\n"));
}

fn module_missing() -> rest_bridge_build::Error {
    Generator::new(rest_bridge_tests::DESCRIPTORS).generate().unwrap_err()
}

#[test]
fn one_unary_and_one_stream_may_share_a_route() {
    let both =
        rpc("Plain Plain", r#"get: "/a""#, "") + &rpc("Plain stream:Plain", r#"get: "/a""#, "").replace("Do", "Follow");
    generate(&both).unwrap();
    let three = both + &rpc("Plain stream:Plain", r#"get: "/a""#, "").replace("Do", "Again");
    assert_eq!(generate(&three).unwrap_err().rule, Rule::Duplicate);
}

#[test]
fn no_descriptors() {
    assert_eq!(Generator::new(b"\xff").generate().unwrap_err().rule, Rule::Descriptors);
}
