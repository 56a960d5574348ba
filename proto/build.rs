//! Compiles the wire contract with `protox`, so that no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PROTOS: [&str; 5] = [
    "common/v1/common.proto",
    "payments/v1/payments.proto",
    "wallet/v1/wallet.proto",
    "fx/v1/fx.proto",
    "risk/v1/risk.proto",
];

const PACKAGES: [&str; 5] = [".common.v1", ".payments.v1", ".wallet.v1", ".fx.v1", ".risk.v1"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .codec_path("crate::codec::ArusCodec")
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .compile_fds_with_config(descriptors.clone(), config)?;
    // The same messages as JSON, with the protos' own field names.
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())?
        .preserve_proto_field_names()
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .build(&PACKAGES)?;
    Ok(())
}
