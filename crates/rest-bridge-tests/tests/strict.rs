//! Strict JSON: what the reader refuses, with path and reason.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use rest_bridge::json::from_slice;
use rest_bridge_tests::rest::json::{read_everything, write_everything};
use rest_bridge_tests::testing::Everything;

fn read(text: &[u8]) -> Result<Everything, String> {
    from_slice(text, read_everything)
        .map_err(|fail| format!("{} {:?} {}", fail.reason.as_str(), fail.path, fail.description))
}

const REFUSED: &[&str] = &[
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "{}{}",
    "{} x",
    "{\"fInt32\":1,}",
    "{,}",
    "{\"fInt32\" 1}",
    "{\"fInt32\":1 \"fInt64\":1}",
    "{fInt32:1}",
    "{'fInt32':1}",
    "\u{feff}{}",
    "{} // end",
    r#"{"unknown":1}"#,
    r#"{"":1}"#,
    r#"{"nested":{"leaf":{"txt":1}}}"#,
    r#"{"rNested":[{},{"leaves":[{"text":"a"},{"text":2}]}]}"#,
    r#"{"mNested":{"1":{"self":"out"}}}"#,
    r#"{"mNested":{"x":{}}}"#,
    r#"{"mNested":{"1":{},"1.0":{}}}"#,
    r#"{"mString":{"a":"b","a":"c"}}"#,
    r#"{"mString":{"a":null}}"#,
    r#"{"mColor":{"True":"red"}}"#,
    r#"{"fInt32":1,"fInt32":1}"#,
    r#"{"fInt32":1,"f_int32":1}"#,
    r#"{"fInt32":null,"fInt32":1}"#,
    r#"{"fInt32":1,"f\u0049nt32":1}"#,
    r#"{"fInt32":"x"}"#,
    r#"{"fInt32":true}"#,
    r#"{"fInt32":1.5}"#,
    r#"{"fInt32":2147483648}"#,
    r#"{"fInt32":" 1"}"#,
    r#"{"fInt32":01}"#,
    r#"{"fInt32":+1}"#,
    r#"{"fInt32":1.}"#,
    r#"{"fInt32":-}"#,
    r#"{"fInt32":0x10}"#,
    r#"{"fInt32":1e}"#,
    r#"{"fUint32":-1}"#,
    r#"{"fUint64":"18446744073709551616"}"#,
    r#"{"fInt64":9223372036854775808}"#,
    r#"{"fDouble":1e400}"#,
    r#"{"fFloat":3.5e38}"#,
    r#"{"fDouble":NaN}"#,
    r#"{"fDouble":"nan"}"#,
    r#"{"fBool":"true"}"#,
    r#"{"fBool":1}"#,
    r#"{"fBool":tru}"#,
    r#"{"fBool":truex}"#,
    r#"{"fBool":nul}"#,
    r#"{"fString":1}"#,
    r#"{"fString":"a"#,
    "{\"fString\":\"a\nb\"}",
    r#"{"fString":"\x"}"#,
    r#"{"fString":"\ud800"}"#,
    r#"{"fString":"\udc00"}"#,
    r#"{"fString":"\ud800\u0041"}"#,
    r#"{"fString":"\u12g4"}"#,
    r#"{"fBytes":"a"}"#,
    r#"{"fBytes":"+_=="}"#,
    r#"{"genre":1}"#,
    r#"{"genre":"GENRE_FICTION"}"#,
    r#"{"genre":"Fiction"}"#,
    r#"{"genre":"unspecified"}"#,
    r#"{"rInt32":1}"#,
    r#"{"rInt32":[1,null]}"#,
    r#"{"rInt32":[1,]}"#,
    r#"{"rInt32":[1 2]}"#,
    r#"{"rInt32":[1}"#,
    r#"{"nested":[]}"#,
    r#"{"cString":"a","cInt64":"1"}"#,
    r#"{"cNested":{},"cEmpty":{}}"#,
    r#"{"cEmpty":{"a":1}}"#,
    r#"{"wTimestamp":1}"#,
    r#"{"wTimestamp":"2026-02-30T00:00:00Z"}"#,
    r#"{"wDuration":"1"}"#,
    r#"{"wMask":"foo_bar"}"#,
    r#"{"wStruct":[]}"#,
    r#"{"wStruct":{"a":{"b":1,"b":2}}}"#,
    r#"{"wInt32":{"value":1}}"#,
    r#"{"wRepeated":["1",null]}"#,
];

#[test]
fn refused() {
    let mut out = String::new();
    for text in REFUSED {
        let _ = writeln!(out, "{text}\n    {}", read(text.as_bytes()).unwrap_err());
    }
    let _ = writeln!(out, "a string of ff\n    {}", read(b"{\"nested\":{\"leaf\":{\"text\":\"\xff\"}}}").unwrap_err());
    let _ = writeln!(out, "a name of ff\n    {}", read(b"{\"\xff\":1}").unwrap_err());
    insta::assert_snapshot!(out);
}

#[test]
fn accepted_and_written_again() {
    let mut out = String::new();
    for text in [
        "\r\n\t {\n} \n",
        r#"{"fInt32":"1e3","fInt64":1.0,"fUint32":4294967295,"fUint64":1.8446744073709551615e19,"fSint32":-0}"#,
        r#"{"f_double":"-Infinity","fFloat":"NaN","rDouble":[1,-0.0,1e300,1e-7,0.1,"5"]}"#,
        r#"{"fString":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0001é😀"}"#,
        r#"{"fBytes":"-_8","rBytes":["+/8=","+/8","",null]}"#.replace(",null", "").as_str(),
        r#"{"genre":"fiction","color":"red","rColor":["blue","red"],"oColor":"red","oGenre":"non_fiction"}"#,
        r#"{"cWrapper":"","mColor":{"true":"green","false":"red"},"mUint64":{"7":"-7","10":5}}"#,
        r#"{"cColor":"red"}"#,
        r#"{"cEmpty":{},"cString":null}"#,
        r#"{"cRecursive":{"cRecursive":{"type":{"fInt32":1}}}}"#,
        r#"{"wValue":null,"wList":[null,[],{}],"wStruct":{"b":1,"a":"x"},"wEmpty":{},"wMask":"a.bC,d"}"#,
        r#"{"wDouble":0,"wInt64":"5","wBool":false,"wString":"","wBytes":"","wRepeated":[1,"2"]}"#,
        r#"{"oInt32":0,"oString":"","oBytes":""}"#,
        r#"{"other-name":"a"}"#,
        r#"{"renamed":"b"}"#,
        r#"{"wTimestamp":"1969-12-31T23:59:59.5Z","wDuration":"-0.5s"}"#,
    ] {
        let message = read(text.as_bytes()).unwrap();
        let written = rest_bridge::json::to_vec(|w| write_everything(w, &message)).unwrap();
        let again = rest_bridge::json::to_vec(|w| write_everything(w, &read(&written).unwrap())).unwrap();
        assert_eq!(again, written);
        let _ = writeln!(out, "{text}\n    {}", shorter(&written));
    }
    insta::assert_snapshot!(out);
}

/// Without the members that say nothing.
fn shorter(written: &[u8]) -> String {
    let mut value: serde_json::Value = serde_json::from_slice(written).unwrap();
    let empty: serde_json::Value =
        serde_json::from_slice(&rest_bridge::json::to_vec(|w| write_everything(w, &Everything::default())).unwrap())
            .unwrap();
    for (name, nothing) in empty.as_object().unwrap() {
        if value.get(name) == Some(nothing) {
            value.as_object_mut().unwrap().remove(name);
        }
    }
    value.to_string()
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{}{}{}", r#"{"type":"#.repeat(depth - 1), "{}", "}".repeat(depth - 1));
    assert!(read(nested(64).as_bytes()).is_ok());
    let error = read(nested(65).as_bytes()).unwrap_err();
    assert!(error.starts_with("MALFORMED_JSON \"type.type."), "{error}");
    assert!(error.contains("nested too deep"), "{error}");
    let lists = format!("{{\"wValue\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(lists.as_bytes()).unwrap_err().contains("nested too deep"));
}
