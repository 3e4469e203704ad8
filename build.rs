//! Compiles the protobuf contract: messages, gRPC client and server, and the descriptors that reflection shows.
//! No `protoc` is needed: protox reads the files.

use std::{env, fs, path::PathBuf};

const FILES: [&str; 7] = [
    "customerd/v1/accounts.proto",
    "customerd/v1/address.proto",
    "customerd/v1/auth.proto",
    "customerd/v1/cards.proto",
    "customerd/v1/customers.proto",
    "customerd/v1/simulator.proto",
    "customerd/v1/webhooks.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    // The raw bytes, because the decoded form drops the options that reflection and the bridge read.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
