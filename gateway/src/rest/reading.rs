//! A JSON object as a message of the protos, or every field of it that has a wrong name or type.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{
    problem::Problem,
    schema::{Message, Types},
};
use crate::convert::shown;

/// How many fields of wrong names or types are told at once.
const WRONG_MAX: usize = 16;

/// The message that an object is, of the name `message`.
pub(super) fn decode<Q: DeserializeOwned>(types: &Types, message: &str, mut object: Value) -> Result<Q, Problem> {
    let mut wrong = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(&object) {
            Ok(message) if wrong.is_empty() => return Ok(message),
            Ok(_) => return Err(Problem::fields(wrong)),
            Err(error) => error,
        };
        let (path, said) = (error.path(), error.inner().to_string());
        let double = said.strip_prefix("duplicate field `").and_then(|said| said.split('`').next());
        let name = path.to_string();
        let found = match double {
            Some(field) => double_in(types.at(message, path), &mut object, path, field)
                .map(|(field, rule)| (if path.iter().len() == 0 { field } else { format!("{name}.{field}") }, rule)),
            None => at(&mut object, path.iter()).map(|value| {
                (
                    name,
                    rule(&said, value, types.takes_at(message, path).as_deref())
                        .unwrap_or_else(|| no_field(types, message, path)),
                )
            }),
        };
        let (field, rule) = found.unwrap_or_else(|| ("body".to_owned(), said.clone()));
        wrong.push((shown(&field), rule));
        // The decoder stops at the first: without that one it finds the next.
        let is_last = wrong.len() == WRONG_MAX || (double.is_none() && !take_out(&mut object, path));
        if is_last {
            return Err(Problem::fields(wrong));
        }
    }
}

/// A value as errors repeat it.
pub(super) fn told(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("\"{}\"", shown(text)),
        // Of JSON only what its own escapes let through is escaped.
        None => shown(&value.to_string()).replace("\\\"", "\""),
    }
}

/// What is wrong with a value, if it is one of a field.
fn rule(said: &str, value: &Value, takes: Option<&str>) -> Option<String> {
    match takes {
        _ if said.starts_with("unknown field") => None,
        Some(takes) => Some(format!("{} must be {takes}", told(value))),
        None => Some(format!("{} is not a value of its type", told(value))),
    }
}

/// What stands in the place of a field that is none.
fn no_field(types: &Types, message: &str, path: &Path) -> String {
    let fields = types.fields_beside(message, path).join(", ");
    if fields.is_empty() { "is not a field here".to_owned() } else { format!("is not a field here; fields: {fields}") }
}

/// A field that is given in both of its spellings, or beside another that it excludes. It is taken out.
fn double_in(message: Option<&Message>, object: &mut Value, path: &Path, name: &str) -> Option<(String, String)> {
    let fields = at(object, path.iter())?.as_object_mut()?;
    let field = message?.any(name)?;
    let spellings = [&field.name, &field.json_name];
    let given = spellings.iter().filter(|name| fields.contains_key(name.as_str())).count();
    spellings.iter().for_each(|name| drop(fields.remove(name.as_str())));
    if given > 1 {
        return Some((
            field.name.clone(),
            format!("is given as {} and as {}; give it once", field.name, field.json_name),
        ));
    }
    let mut others = message?.fields.iter().filter(|other| other.one_of == field.one_of);
    let other =
        others.find(|other| [&other.name, &other.json_name].iter().any(|name| fields.contains_key(name.as_str())))?;
    Some((field.name.clone(), format!("and {} exclude each other; give one of them", other.name)))
}

/// Removes a member of an object. In a list an empty object takes its place, so that those of the others stay what they
/// are; where that is no better, nothing is done. Says whether anything was.
fn take_out(object: &mut Value, path: &Path) -> bool {
    let mut segments = path.iter();
    match segments.next_back() {
        Some(Segment::Map { key }) => {
            at(object, segments).and_then(Value::as_object_mut).and_then(|fields| fields.remove(key)).is_some()
        }
        Some(Segment::Seq { .. }) => at(object, path.iter()).is_some_and(|item| {
            let empty = Value::Object(serde_json::Map::new());
            std::mem::replace(item, empty.clone()) != empty
        }),
        Some(Segment::Enum { .. } | Segment::Unknown) | None => false,
    }
}

fn at<'a, 'b>(object: &'a mut Value, mut path: impl Iterator<Item = &'b Segment>) -> Option<&'a mut Value> {
    path.try_fold(object, |at, segment| match segment {
        Segment::Map { key } => at.get_mut(key),
        Segment::Seq { index } => at.get_mut(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}
