//! Compiles the test proto: messages, services, routes.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let protos = ["proto/testing/v1/library.proto"];
    let includes = ["proto", "../../proto"];
    for path in includes {
        println!("cargo::rerun-if-changed={path}");
    }
    let mut compiler = protox::Compiler::new(includes)?;
    compiler.include_imports(true).include_source_info(true).open_files(protos)?;
    let descriptors = compiler.encode_file_descriptor_set();
    tonic_prost_build::configure()
        .codec_path("::rest_bridge::codec::ProstCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    let generated = rest_bridge_build::Generator::new(&descriptors)
        .module("testing.v1", "crate::testing")
        .document(document())
        .generate()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("rest.rs"), generated.rust)?;
    std::fs::write(out.join("openapi.json"), generated.openapi_json)?;
    std::fs::write(out.join("descriptors.bin"), descriptors)?;
    bench(&out)
}

/// The proto of the benchmark, for the bridge and for its rival.
fn bench(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto", "../../proto"])?;
    compiler.include_imports(true).include_source_info(true).open_file("bench/v1/echo.proto")?;
    let descriptors = compiler.encode_file_descriptor_set();
    tonic_prost_build::configure()
        .codec_path("::rest_bridge::codec::ProstCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    let generated = rest_bridge_build::Generator::new(&descriptors).module("bench.v1", "crate::echo").generate()?;
    std::fs::write(out.join("bench_rest.rs"), generated.rust)?;
    pbjson_build::Builder::new().register_descriptors(&descriptors)?.build(&[".bench.v1"])?;
    rest_over_grpc::build::compile_fds(&descriptors, out)?;
    Ok(())
}

fn document() -> rest_bridge_build::Document {
    use rest_bridge_build::{Header, When};
    rest_bridge_build::Document::new("Library", "1.2.3")
        .description("Books over REST.")
        .server("http://127.0.0.1:8080", "here")
        .security("bearer", serde_json::json!({ "type": "http", "scheme": "bearer" }))
        .without("testing.v1.Library/UpdateBook", "bearer")
        .header(Header::required("Idempotency-Key", "A UUID.", When::Modifying))
        .header(Header::optional(
            "X-Trial",
            "Nothing is changed.",
            When::AllBut(vec!["testing.v1.Library/GetBook".into()]),
        ))
        .error(400, "The request is wrong.", When::Always)
        .error(404, "There is no such book.", When::WithPathParameter)
        .error(503, "Overload.", When::Always)
        .open("testing.v1.Library/CountBooks")
}
