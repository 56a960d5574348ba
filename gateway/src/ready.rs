//! `arus ready`: asks a running server whether it takes commands, for health checks of containers that have no curl.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, ensure};

/// The longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Fails unless `/readyz` on the REST port answers 200.
pub fn ask(rest: SocketAddr) -> anyhow::Result<()> {
    let socket = TcpStream::connect_timeout(&rest, ANSWER_MAX).with_context(|| format!("{rest} does not answer"))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    (&socket).write_all(format!("GET /readyz HTTP/1.1\r\nhost: {rest}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    (&socket).read_to_string(&mut answer).with_context(|| format!("{rest} does not answer"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{rest} is not ready: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}
