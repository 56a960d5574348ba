//! Which methods a port has, as their descriptors say, and on which port the others are.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use prost::Message;
use prost_types::{FileDescriptorSet, ServiceDescriptorProto};
use tonic::Status;

use crate::{budget::Kind, status::no_such_method};

/// What is known of a method before it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    pub(crate) kind: Kind,
    /// Whether any number of messages may come.
    pub(crate) is_asked_by_stream: bool,
    /// Whether its answer may be a page of many rows.
    pub(crate) is_page: bool,
    /// Whether it is of the port's own service, not health or reflection.
    pub(crate) is_own: bool,
}

/// Where every service of Arus is served.
pub(crate) type Directory = BTreeMap<&'static str, SocketAddr>;

/// The methods of a port by their paths.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: HashMap<String, Method>,
    own: &'static str,
    elsewhere: Directory,
}

impl Methods {
    /// Of a service, and of what every port has.
    pub(crate) fn new(own: &'static str, directory: &Directory) -> anyhow::Result<Self> {
        let sets = [
            arus_proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut by_path = HashMap::new();
        for set in sets {
            for file in FileDescriptorSet::decode(set)?.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    if name == own || name.starts_with("grpc.") {
                        by_path.extend(methods(&name, service, name == own));
                    }
                }
            }
        }
        anyhow::ensure!(by_path.values().any(|method| method.is_own), "{own} is in no descriptor");
        let elsewhere = directory.iter().filter(|(name, _)| **name != own);
        Ok(Self { by_path, own, elsewhere: elsewhere.map(|(name, address)| (*name, *address)).collect() })
    }

    /// The method of a path, or where it is instead.
    pub(crate) fn find(&self, path: &str) -> Result<Method, Status> {
        self.by_path.get(path).copied().ok_or_else(|| self.missing(path))
    }

    fn missing(&self, path: &str) -> Status {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        if let Some(address) = self.elsewhere.get(service) {
            let short = service.rsplit('.').next().unwrap_or(service);
            return no_such_method(path, &format!("{short} is on {}, {} here", address.port(), self.own));
        }
        if self.by_path.keys().any(|known| known.trim_start_matches('/').split('/').next() == Some(service)) {
            return no_such_method(path, &format!("{service} has no method {method}; reflection lists what it has"));
        }
        no_such_method(path, &format!("{service} is not served; {} is here, with health and reflection", self.own))
    }
}

fn methods(name: &str, service: &ServiceDescriptorProto, is_own: bool) -> Vec<(String, Method)> {
    let method = |method: &prost_types::MethodDescriptorProto| {
        let streams = method.client_streaming() || method.server_streaming();
        let kind = match (streams, is_own) {
            (true, _) => Kind::Stream,
            (false, true) => Kind::Unary,
            (false, false) => Kind::Probe,
        };
        let is_page = is_page(method.name());
        let known = Method { kind, is_asked_by_stream: method.client_streaming(), is_page, is_own };
        (format!("/{name}/{}", method.name()), known)
    };
    service.method.iter().map(method).collect()
}

/// Whether a method answers with a page (AIP-132, AIP-158).
pub(crate) fn is_page(method: &str) -> bool {
    method.starts_with("List") || method == "GetStatement"
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn of_payments() -> Methods {
        let wallet = ("wallet.v1.WalletService", SocketAddr::from(([0, 0, 0, 0], 19_093)));
        let payments = ("payments.v1.PaymentsService", SocketAddr::from(([0, 0, 0, 0], 19_091)));
        Methods::new(payments.0, &Directory::from([wallet, payments])).expect("the descriptors are whole")
    }

    #[test]
    fn descriptors_say_what_a_method_is() {
        let methods = of_payments();
        let find = |path| methods.find(path).expect("it is there");
        let stream = find("/payments.v1.PaymentsService/StreamPayments");
        assert_eq!((stream.kind, stream.is_asked_by_stream, stream.is_page), (Kind::Stream, true, false));
        let watch = find("/payments.v1.PaymentsService/WatchPayments");
        assert_eq!((watch.kind, watch.is_asked_by_stream), (Kind::Stream, false));
        let list = find("/payments.v1.PaymentsService/ListPayments");
        assert_eq!((list.kind, list.is_page, list.is_own), (Kind::Unary, true, true));
        let check = find("/grpc.health.v1.Health/Check");
        assert_eq!((check.kind, check.is_own), (Kind::Probe, false));
        assert!(find("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").is_asked_by_stream);
    }

    #[test]
    fn what_is_not_here_is_told_where_it_is() {
        let methods = of_payments();
        for (path, told) in [
            ("/wallet.v1.WalletService/GetAccount", "WalletService is on 19093"),
            ("/payments.v1.PaymentsService/PayAll", "payments.v1.PaymentsService has no method PayAll"),
            ("/shop.v1.Shop/Buy", "shop.v1.Shop is not served; payments.v1.PaymentsService is here"),
            ("/", "payments.v1.PaymentsService is here"),
        ] {
            let status = methods.find(path).expect_err(path);
            assert_eq!(status.code(), Code::Unimplemented, "{path}");
            assert!(status.message().contains(told), "{}", status.message());
            assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, "NO_SUCH_METHOD");
        }
    }
}
