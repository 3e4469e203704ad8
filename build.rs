//! Compiles the protobuf contract: messages, gRPC client and server, the descriptors that reflection shows, the REST
//! routes and the OpenAPI document. No `protoc` is needed: protox reads the files.

#[path = "build/access.rs"]
mod access;

use std::{env, error::Error, fs, path::PathBuf};

use rest_bridge_build::{Document, Generator, Header, When};
use serde_json::json;

const FILES: [&str; 10] = [
    "customerd/v1/accounts.proto",
    "customerd/v1/address.proto",
    "customerd/v1/admin.proto",
    "customerd/v1/auth.proto",
    "customerd/v1/cards.proto",
    "customerd/v1/customers.proto",
    "customerd/v1/options.proto",
    "customerd/v1/portal.proto",
    "customerd/v1/simulator.proto",
    "customerd/v1/webhooks.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    // The raw bytes, because the decoded form drops the options that reflection and the bridge read.
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &descriptors)?;
    fs::write(out.join("access.rs"), access::generate(&descriptors)?)?;
    let mut prost = prost_build::Config::new();
    prost.enable_type_names();
    tonic_prost_build::configure()
        .codec_path("::rest_bridge::codec::ProstCodec")
        .compile_fds_with_config(compiler.file_descriptor_set(), prost)?;
    let rest = Generator::new(&descriptors)
        .module("customerd.v1", "crate::api::v1")
        .document(document(access::exceptions(&descriptors)?))
        .generate()?;
    fs::write(out.join("rest.rs"), rest.rust)?;
    fs::write(out.join("openapi.json"), rest.openapi_json)?;
    Ok(())
}

/// What the OpenAPI document says beside what is in the protos.
fn document(exceptions: access::Exceptions) -> Document {
    let access::Exceptions { open, after_first_key, simulator } = exceptions;
    let input = "Components and parameters of the signature (RFC 9421).";
    let rpcs = |names: &[&str]| When::Rpcs(names.iter().map(|name| format!("customerd.v1.{name}")).collect());
    let document = Document::new("customerd", env!("CARGO_PKG_VERSION"))
        .description(
            "Onboards customers who own a blockchain account. Every call but the exchange of a token carries a bearer token \
             and an HTTP message signature (RFC 9421); errors are problem documents (RFC 9457) with a stable `code`.",
        )
        .server("/", "The service that this document comes from.")
        .security("bearer", json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}))
        .security(
            "signature",
            json!({
                "type": "apiKey", "in": "header", "name": "Signature",
                "description": "HTTP message signature (RFC 9421) with its `Signature-Input`. It covers @method, the target \
                    (@target-uri, or @authority with @path and @query), content-digest when there is a body and \
                    idempotency-key on modifying calls; its parameters created and keyid are required."
            }),
        )
        .header(Header::required("Signature-Input", input, When::AllBut(after_first_key.clone())))
        .header(Header::optional("Signature-Input", input, When::Rpcs(after_first_key.clone())))
        .header(Header::required("Idempotency-Key", "A UUID: the call takes effect once, a repetition gets the same answer.", When::Modifying))
        .header(Header::required("Content-Digest", "sha-256 or sha-512 of the body (RFC 9530).", When::WithBody))
        .error(400, "The request is not valid: see `errors`.", When::Always)
        .error(401, "The bearer token, the digest or the signature is refused: see `code`.", When::Always)
        .error(403, "The simulator works for sandbox programmes only.", When::Rpcs(simulator))
        .error(404, "There is no such entity.", When::WithPathParameter)
        .error(404, "", rpcs(&["WebhookService/PutWebhook"]))
        .error(409, "The entity's state, or another entity, stands in the way.", When::Modifying)
        .error(409, "", rpcs(&["CustomerService/GetCustomerChallenge", "AccountService/GetAccountChallenge"]))
        .error(413, "The body is too large.", When::WithBody)
        .error(415, "The body is not application/json.", When::WithBody)
        .error(422, "The idempotency key was used for another request.", When::Modifying)
        .error(429, "Too much: wait as long as Retry-After says.", When::Always)
        .error(500, "Our fault.", When::Always)
        .error(503, "Too much at once, or shutting down: try again.", When::Always);
    let document = open.iter().fold(document, |document, rpc| document.open(rpc));
    after_first_key.iter().fold(document, |document, rpc| document.without(rpc, "signature"))
}
