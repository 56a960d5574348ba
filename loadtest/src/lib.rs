//! Black-box load on a running Arus, over the wire contract only.
