//! Settings out of variables: `ARUS_ENGINE__ARBITERS`, with two underscores between a table and its setting.
//!
//! What begins with `ARUS_` and is no setting is refused, so that a slip is not passed over.

use figment::{providers::Env, value::Uncased};

const PREFIX: &str = "ARUS_";

/// The variables that are settings, of which these stand at the top.
pub(crate) fn given(top: &[&str]) -> anyhow::Result<Env> {
    let env = Env::prefixed(PREFIX).filter(|key| !is_of_kubernetes(key.as_str()));
    let is_setting = |key: &Uncased<'_>| key.as_str().contains("__") || top.iter().any(|top| *key == **top);
    if let Some((name, _)) = env.iter().find(|(key, _)| !is_setting(key)) {
        anyhow::bail!(
            "{PREFIX}{} is no setting; two underscores stand between a table and its setting, such as \
             ARUS_ENGINE__ARBITERS",
            name.as_str().to_ascii_uppercase()
        );
    }
    Ok(env)
}

/// Whether a variable is one that Kubernetes sets for a service whose name begins with `arus`: ARUS_PORT,
/// ARUS_GRPC_SERVICE_HOST, ARUS_PORT_9091_TCP_ADDR.
fn is_of_kubernetes(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    let of_port = key.split_once("PORT_").is_some_and(|(_, after)| after.starts_with(|c: char| c.is_ascii_digit()));
    key == "PORT" || key.ends_with("_PORT") || of_port || key.ends_with("SERVICE_HOST") || key.contains("SERVICE_PORT")
}
