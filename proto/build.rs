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

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().codec_path("crate::codec::ArusCodec").compile_fds(descriptors)?;
    Ok(())
}
