//! The protos as JSON Schema: proto3's JSON mapping with the protos' own field names, comments as descriptions.

use std::collections::HashMap;

use anyhow::Context;
use arus_engine::ledger::bounds::SPREAD_BPS_MAX;
use prost::Message as _;
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Map, Value, json};
use serde_path_to_error::{Path, Segment};

use crate::convert::bounds::{CONTEXT_TEXT_MAX, METADATA_KEY_MAX, METADATA_MAX, METADATA_VALUE_MAX, TEXT_MAX};

/// Visible ASCII: keys, ids.
const KEY: &str = r"^[\x21-\x7e]{1,255}$";
const ID: &str = r"^[\x21-\x7e]{1,64}$";
const ID_OR_NONE: &str = r"^[\x21-\x7e]{0,64}$";
/// What the comment of a field or value says that is only reserved yet: it is left out.
const LATER: &str = "Not available in this build";
/// Where the well-known types are, whose JSON is a string.
const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";
const MONEY: &str = "common.v1.Money";

/// A message of the protos.
#[derive(Debug)]
pub(super) struct Message {
    name: String,
    comment: String,
    pub(super) fields: Vec<Field>,
    /// Those of later builds.
    later: Vec<Field>,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// As protobuf's JSON spells it; both are read.
    pub(super) json_name: String,
    pub(super) comment: String,
    /// Its comment says "Required", or in an answer "Always set".
    pub(super) is_required: bool,
    /// Of which oneof of its message it is, of whose fields one is given.
    pub(super) one_of: Option<i32>,
    is_repeated: bool,
    pub(super) is_map: bool,
    kind: Type,
    /// The message it holds, if it is one of ours.
    pub(super) message: Option<String>,
    type_name: String,
}

impl Message {
    /// A field by name.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether it has a field that only a later build takes.
    pub(super) fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// A field by any name that JSON may have, those of later builds too.
    pub(super) fn any(&self, name: &str) -> Option<&Field> {
        self.fields.iter().chain(&self.later).find(|field| field.name == name || field.json_name == name)
    }
}

/// All types of the protos.
#[derive(Debug, Default)]
pub(super) struct Types {
    messages: HashMap<String, Message>,
    enums: HashMap<String, Vec<String>>,
    /// What a method does, by its request.
    methods: HashMap<String, String>,
}

impl Types {
    /// Reads the descriptors that reflection serves.
    pub(super) fn read() -> anyhow::Result<Self> {
        let mut types = Self::default();
        for file in FileDescriptorSet::decode(arus_proto::DESCRIPTORS)?.file {
            types.add(&file);
        }
        Ok(types)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments: HashMap<&[i32], String> = locations
            .filter_map(|location| Some((location.path.as_slice(), one_line(location.leading_comments.as_deref()?))))
            .collect();
        let comment = |path: &[i32]| comments.get(path).cloned().unwrap_or_default();
        let full = |name: &str| format!("{}.{name}", file.package());
        // The numbers are those of descriptor.proto: messages are 4, fields of them 2, enums 5, values of them 2, services 6, methods 2.
        for (at, message) in (0_i32..).zip(&file.message_type) {
            let fields = (0_i32..).zip(&message.field);
            let fields = fields.map(|(n, _)| comment(&[4, at, 2, n])).collect::<Vec<_>>();
            self.messages
                .insert(full(message.name()), read_message(full(message.name()), message, comment(&[4, at]), fields));
        }
        for (at, of) in (0_i32..).zip(&file.enum_type) {
            let values = (0_i32..).zip(&of.value).filter(|(n, _)| !comment(&[5, at, 2, *n]).contains(LATER));
            // The first of an enum is never sent.
            let values = values.filter(|(_, value)| value.number() != 0).map(|(_, value)| value.name().to_owned());
            self.enums.insert(full(of.name()), values.collect());
        }
        for (at, service) in (0_i32..).zip(&file.service) {
            for (n, method) in (0_i32..).zip(&service.method) {
                let request = method.input_type().trim_start_matches('.').to_owned();
                self.methods.insert(request, comment(&[6, at, 2, n]));
            }
        }
    }

    /// A message by its full name.
    pub(super) fn message(&self, name: &str) -> anyhow::Result<&Message> {
        self.messages.get(name).with_context(|| format!("{name} is not in the protos"))
    }

    /// The message at a path.
    pub(super) fn at(&self, message: &str, path: &Path) -> Option<&Message> {
        let message = self.messages.get(message)?;
        names(path).try_fold(message, |message, name| self.messages.get(message.any(name)?.message.as_ref()?))
    }

    /// What a value at a path must be, with an example.
    /// The names of the fields that could stand at the end of a path.
    pub(super) fn fields_beside(&self, message: &str, path: &Path) -> Vec<&str> {
        let names: Vec<_> = names(path).collect();
        let (_, parents) = names.split_last().unwrap_or((&"", &[]));
        let start = self.messages.get(message);
        let parent = parents
            .iter()
            .try_fold(start, |message, name| Some(self.messages.get(message?.any(name)?.message.as_ref()?)));
        parent
            .flatten()
            .map(|message| message.fields.iter().map(|field| field.name.as_str()).collect())
            .unwrap_or_default()
    }

    pub(super) fn takes_at(&self, message: &str, path: &Path) -> Option<String> {
        let (mut message, mut field) = (self.messages.get(message), None);
        for name in names(path) {
            if field.is_some_and(|field: &Field| field.is_map) {
                return Some("a text, such as \"1001\"".to_owned());
            }
            let known = message?.any(name)?;
            (message, field) = (known.message.as_ref().and_then(|name| self.messages.get(name)), Some(known));
        }
        let is_item = matches!(path.iter().next_back(), Some(Segment::Seq { .. }));
        field.map(|field| match field {
            field if field.is_repeated && !field.is_map && !is_item => {
                format!("a list, of which each is {}", self.takes(field))
            }
            field => self.takes(field),
        })
    }

    fn takes(&self, field: &Field) -> String {
        let text = match (field.kind, field.type_name.as_str()) {
            (Type::Bool, _) => "true or false",
            (Type::Int32 | Type::Sint32 | Type::Uint32 | Type::Int64 | Type::Uint64, _) => {
                "a whole number that fits its field, such as 50"
            }
            (Type::Enum, name) => {
                return format!("one of {}", self.enums.get(name).map_or(String::new(), |of| of.join(", ")));
            }
            (Type::Message, TIMESTAMP) => arus_proto::TIME,
            (Type::Message, DURATION) => "a duration in seconds, such as 60s",
            (Type::Message, MONEY) => "an object, such as {\"currency\": \"USD\", \"amount\": \"10.00\"}",
            (Type::Message, _) if field.is_map => "an object of texts, such as {\"order\": \"1001\"}",
            (Type::Message, _) => "an object",
            _ => match field.name.as_str() {
                "currency" | "base" | "quote" | "to_currency" => "a text, such as \"USD\"",
                "amount" => "a decimal number as a text, such as \"10.00\"",
                "mid" | "rate" | "bid" | "ask" => "a decimal number as a text, such as \"1.0835\"",
                "customer_id" | "owner_id" => "a text, such as \"CUST-1\"",
                "country" | "billing_country" => "a text, such as \"ID\"",
                "ip" => "a text, such as \"203.0.113.7\"",
                "mcc" => "a text, such as \"5411\"",
                _ => "a text, such as \"order-1001\"",
            },
        };
        text.to_owned()
    }

    /// Takes fields out that are null: they are absent (proto3 JSON). What is no field stays, to be refused by name.
    pub(super) fn drop_nulls(&self, message: &str, fields: &mut Map<String, Value>) {
        fields.retain(|name, value| {
            let Some(known) = self.messages.get(message).and_then(|message| message.any(name)) else { return true };
            if let Some(nested) = &known.message {
                let objects = match &mut *value {
                    Value::Array(items) => items.as_mut_slice(),
                    one => std::slice::from_mut(one),
                };
                objects.iter_mut().filter_map(Value::as_object_mut).for_each(|inner| self.drop_nulls(nested, inner));
            }
            !value.is_null()
        });
    }

    /// What the method does that takes this request.
    pub(super) fn method_comment(&self, request: &str) -> &str {
        self.methods.get(request).map_or("", String::as_str)
    }

    /// Adds a message and all within it.
    pub(super) fn collect(&self, name: &str, all: &mut Map<String, Value>) -> anyhow::Result<()> {
        if all.contains_key(name) {
            return Ok(());
        }
        let message = self.message(name)?;
        all.insert(name.to_owned(), self.object(message, |_| true));
        message.fields.iter().filter_map(|field| field.message.as_ref()).try_for_each(|name| self.collect(name, all))
    }

    /// A message as an object with some of its fields.
    pub(super) fn object(&self, message: &Message, keep: impl Fn(&Field) -> bool) -> Value {
        let kept = || message.fields.iter().filter(|field| keep(field));
        let properties: Map<_, _> = kept()
            .map(|field| {
                let schema = self.field(field);
                // A field that is null is absent (proto3 JSON).
                let mut schema = match field.is_required {
                    true => schema,
                    false => json!({ "anyOf": [schema, { "type": "null" }] }),
                };
                // Beside a reference, 3.1 allows a description.
                if let Some(schema) = schema.as_object_mut() {
                    schema.insert("description".into(), json!(field.comment));
                }
                (field.name.clone(), schema)
            })
            .collect();
        let required: Vec<_> = kept().filter(|field| field.is_required).map(|field| &field.name).collect();
        let is_money = message.name == MONEY;
        json!({
            "type": "object",
            "description": message.comment,
            "properties": properties,
            "required": if is_money { vec![json!("currency"), json!("amount")] } else { required.iter().map(|n| json!(n)).collect() },
            "additionalProperties": false,
        })
    }

    /// The schema of a field.
    pub(super) fn field(&self, field: &Field) -> Value {
        let one = self.one(field);
        if field.is_map {
            return json!({
                "type": "object", "maxProperties": METADATA_MAX,
                "propertyNames": { "minLength": 1, "maxLength": METADATA_KEY_MAX },
                "additionalProperties": { "type": "string", "maxLength": METADATA_VALUE_MAX },
            });
        }
        if field.is_repeated { json!({ "type": "array", "items": one }) } else { one }
    }

    fn one(&self, field: &Field) -> Value {
        match field.kind {
            Type::Bool => json!({ "type": "boolean" }),
            Type::Int32 | Type::Sint32 => json!({ "type": "integer", "format": "int32", "minimum": 0 }),
            Type::Uint32 if field.name == "spread_bps" => {
                json!({ "type": "integer", "minimum": 0, "maximum": SPREAD_BPS_MAX })
            }
            Type::Uint32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Type::Int64 | Type::Uint64 => json!({ "type": "string", "pattern": "^[0-9]{1,20}$" }),
            Type::Enum => json!({ "type": "string", "enum": self.enums.get(&field.type_name) }),
            Type::Message => match field.type_name.as_str() {
                TIMESTAMP => json!({ "type": "string", "format": "date-time" }),
                DURATION => json!({ "type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,6})?s$" }),
                name => json!({ "$ref": format!("#/components/schemas/{name}") }),
            },
            _ => text(&field.name, field.is_required),
        }
    }
}

/// Strings whose name says what they are. An empty one is none (proto3).
fn text(name: &str, is_required: bool) -> Value {
    match name {
        "currency" | "base" | "quote" | "to_currency" => json!({ "type": "string", "pattern": "^[A-Z]{3}$" }),
        "amount" => json!({ "type": "string", "pattern": r"^-?[0-9]{1,28}(\.[0-9]{1,4})?$" }),
        "payment_id" | "refund_id" | "reservation_id" | "transfer_id" | "operation_id" | "reverses" | "reversed_by" => {
            json!({ "type": "string", "format": "uuid" })
        }
        "tx_id" => json!({ "type": "string", "pattern": KEY }),
        "customer_id" | "owner_id" | "account_id" | "source_account" | "destination_account" => {
            json!({ "type": "string", "pattern": if is_required { ID } else { ID_OR_NONE } })
        }
        "mid" | "rate" | "bid" | "ask" => json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$" }),
        "rounding" => json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$" }),
        "page_token" => json!({ "type": "string", "maxLength": 1_024 }),
        // An account, or a time.
        "from" | "to" => json!({ "type": "string", "maxLength": 64 }),
        "description" | "reference" | "reason" => json!({ "type": "string", "maxLength": TEXT_MAX }),
        "country" | "billing_country" => json!({ "type": "string", "pattern": "^([A-Z]{2})?$" }),
        "mcc" => json!({ "type": "string", "pattern": "^([0-9]{4})?$" }),
        "ip" | "device_id" | "channel" => json!({ "type": "string", "maxLength": CONTEXT_TEXT_MAX }),
        _ => json!({ "type": "string", "maxLength": 65_536 }),
    }
}

fn read_message(name: String, of: &DescriptorProto, comment: String, comments: Vec<String>) -> Message {
    let fields = of.field.iter().zip(comments).map(|(field, comment)| {
        let type_name = field.type_name().trim_start_matches('.').to_owned();
        let is_map = of.nested_type.iter().any(|nested| {
            type_name == format!("{name}.{}", nested.name())
                && nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
        });
        let is_ours = field.r#type() == Type::Message && !type_name.starts_with("google.") && !is_map;
        let message = is_ours.then(|| type_name.clone());
        Field {
            name: field.name().to_owned(),
            json_name: field.json_name().to_owned(),
            is_required: comment.contains("Required") || comment.contains("Always set"),
            comment,
            // proto3's `optional` is a oneof of its own.
            one_of: field.oneof_index.filter(|_| !field.proto3_optional()),
            is_repeated: field.label() == Label::Repeated,
            is_map,
            kind: field.r#type(),
            message,
            type_name,
        }
    });
    let (later, fields) = fields.partition(|field: &Field| field.comment.contains(LATER));
    Message { name, comment, fields, later }
}

/// The names of fields on a path.
fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    })
}

fn one_line(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
