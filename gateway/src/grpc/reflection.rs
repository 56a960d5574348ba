//! Server reflection, versions v1 and v1alpha: what a port serves, as descriptors. An unknown name is an answer (an
//! error response) and the stream goes on; a request that cannot be read ends it with its status.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use super::until_deadline;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Reflection {
    described: Arc<Described>,
    services: Arc<[&'static str]>,
}

/// All that the descriptors describe.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// Files by name, encoded.
    files: BTreeMap<String, Vec<u8>>,
    /// The file of each service, method, message, field, enum and value.
    symbols: HashMap<String, String>,
}

impl Described {
    /// Of Arus, of health and reflection, and of an error's details.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let mut described = Self::default();
        for set in [
            arus_proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
            tonic_types::pb::FILE_DESCRIPTOR_SET,
        ] {
            FileDescriptorSet::decode(set)?.file.iter().for_each(|file| described.add(file));
        }
        Ok(described)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let mut names = Vec::new();
        let package = file.package();
        file.message_type.iter().for_each(|message| add_message(package, message, &mut names));
        file.enum_type.iter().for_each(|of| add_enum(package, of, &mut names));
        for service in &file.service {
            let name = within(package, service.name());
            names.extend(service.method.iter().map(|method| within(&name, method.name())));
            names.push(name);
        }
        self.symbols.extend(names.into_iter().map(|name| (name, file.name().to_owned())));
        self.files.insert(file.name().to_owned(), file.encode_to_vec());
    }

    fn file(&self, name: &str) -> Option<MessageResponse> {
        let file = self.files.get(name)?.clone();
        Some(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: vec![file] }))
    }

    fn file_of_symbol(&self, symbol: &str) -> Option<MessageResponse> {
        self.file(self.symbols.get(symbol)?)
    }
}

fn within(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn add_message(scope: &str, message: &DescriptorProto, names: &mut Vec<String>) {
    let name = within(scope, message.name());
    message.nested_type.iter().for_each(|nested| add_message(&name, nested, names));
    message.enum_type.iter().for_each(|of| add_enum(&name, of, names));
    names.extend(message.field.iter().map(|field| within(&name, field.name())));
    names.extend(message.oneof_decl.iter().map(|oneof| within(&name, oneof.name())));
    names.push(name);
}

/// An enum's values stand beside it, as in C++.
fn add_enum(scope: &str, of: &EnumDescriptorProto, names: &mut Vec<String>) {
    names.extend(of.value.iter().map(|value| within(scope, value.name())));
    names.push(within(scope, of.name()));
}

impl Reflection {
    /// What a port with these services says.
    pub(crate) fn new(described: Arc<Described>, services: [&'static str; 2]) -> Self {
        Self { described, services: Arc::from(services) }
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            message_response: Some(self.answer_to(request.message_request.as_ref())),
            original_request: Some(request),
        }
    }

    fn answer_to(&self, request: Option<&MessageRequest>) -> MessageResponse {
        let unknown = |what: &str, name: &str| error(Code::NotFound, format!("there is no {what} {name:?} here"));
        match request {
            Some(MessageRequest::ListServices(_)) => {
                let service = self.services.iter().map(|name| ServiceResponse { name: (*name).into() }).collect();
                MessageResponse::ListServicesResponse(ListServiceResponse { service })
            }
            Some(MessageRequest::FileByFilename(name)) => {
                self.described.file(name).unwrap_or_else(|| unknown("file", name))
            }
            Some(MessageRequest::FileContainingSymbol(name)) => {
                self.described.file_of_symbol(name).unwrap_or_else(|| unknown("symbol", name))
            }
            Some(MessageRequest::FileContainingExtension(of)) => unknown("extension of", &of.containing_type),
            // Nothing here has extensions.
            Some(MessageRequest::AllExtensionNumbersOfType(name)) if self.described.symbols.contains_key(name) => {
                let (base_type_name, extension_number) = (name.clone(), Vec::new());
                MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name,
                    extension_number,
                })
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => unknown("type", name),
            None => error(Code::InvalidArgument, "message_request is required, such as list_services".into()),
        }
    }
}

fn error(code: Code, error_message: String) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })
}

/// The answers of one call.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let reflection = self.clone();
        let answers = requests.map(move |request| request.map(|request| reflection.answer(request)));
        Ok(Response::new(until_deadline(answers, &metadata)))
    }
}

#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let reflection = self.clone();
        // Both versions are the same bytes.
        let answers = requests.map(move |request| {
            let as_said = |error: prost::DecodeError| Status::internal(error.to_string());
            let request = ServerReflectionRequest::decode(&*request?.encode_to_vec()).map_err(as_said)?;
            v1alpha::ServerReflectionResponse::decode(&*reflection.answer(request).encode_to_vec()).map_err(as_said)
        });
        Ok(Response::new(until_deadline(answers, &metadata)))
    }
}
