//! `arus ready`: asks a running server whether it takes commands, for health checks of containers that have no curl.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::address::HostPort;

/// The longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Fails unless `/readyz` on the REST port answers 200.
pub fn ask(rest: &HostPort) -> anyhow::Result<()> {
    let mut socket = connect(rest).with_context(|| format!("{rest} does not answer"))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let host = socket.peer_addr()?;
    socket.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).with_context(|| format!("{rest} does not answer"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{rest} is not ready: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}

/// The first of a name's addresses that lets us in.
fn connect(rest: &HostPort) -> io::Result<TcpStream> {
    let mut why = io::ErrorKind::NotFound.into();
    for address in rest.resolve()? {
        match TcpStream::connect_timeout(&address, ANSWER_MAX) {
            Ok(socket) => return Ok(socket),
            Err(error) => why = error,
        }
    }
    Err(why)
}
