//! Random messages, in both directions, against prost-reflect's ProtoJSON.
//!
//! prost-reflect spells enum values as the proto does, so its JSON is respelt on the way; all else must agree.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use rest_bridge::json::{from_slice, to_vec};
use rest_bridge_tests::rest::json::{read_everything, write_everything};
use rest_bridge_tests::testing::Everything;
use serde_json::Value as Json;

fn everything() -> MessageDescriptor {
    let pool = DescriptorPool::decode(rest_bridge_tests::DESCRIPTORS).unwrap();
    pool.get_message_by_name("testing.v1.Everything").unwrap()
}

/// Any message of a type; recursive fields end at `depth` 0.
fn message(of: &MessageDescriptor, depth: u8) -> BoxedStrategy<DynamicMessage> {
    if let Some(known) = well_known(of, depth) {
        return known;
    }
    let deep = |field: &FieldDescriptor| matches!(field.kind(), Kind::Message(_)) && !field.is_map();
    let fields: Vec<_> = of.fields().filter(|field| depth > 0 || !deep(field)).collect();
    let values: Vec<_> = fields.iter().map(|field| option::of(whole(field, depth))).collect();
    let of = of.clone();
    values
        .prop_map(move |values| {
            let mut message = DynamicMessage::new(of.clone());
            for (field, value) in fields.iter().zip(values) {
                if let Some(value) = value {
                    message.set_field(field, value);
                }
            }
            message
        })
        .boxed()
}

fn whole(field: &FieldDescriptor, depth: u8) -> BoxedStrategy<Value> {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let key = single(&entry.map_entry_key_field(), 0);
        let value = single(&entry.map_entry_value_field(), depth);
        let pairs = vec((key, value), 0..3);
        return pairs.prop_map(|pairs| Value::Map(pairs.into_iter().map(|(k, v)| (map_key(k), v)).collect())).boxed();
    }
    if field.is_list() {
        return vec(single(field, depth), 0..3).prop_map(Value::List).boxed();
    }
    single(field, depth)
}

fn map_key(key: Value) -> MapKey {
    match key {
        Value::Bool(v) => MapKey::Bool(v),
        Value::I32(v) => MapKey::I32(v),
        Value::U64(v) => MapKey::U64(v),
        Value::String(v) => MapKey::String(v),
        other => panic!("{other:?} is no key of the test proto"),
    }
}

fn single(field: &FieldDescriptor, depth: u8) -> BoxedStrategy<Value> {
    // Neither NaN, which equals nothing, nor -0, which proto3 does not keep where presence is implicit; and the oracle
    // writes infinite wrappers as null.
    let wrapped = field.parent_message().full_name().starts_with("google.protobuf.");
    let usable = move |v: f64| v != 0.0 && !v.is_nan() && !(wrapped && v.is_infinite());
    match field.kind() {
        Kind::Double => prop_oneof![any::<f64>(), Just(f64::INFINITY)]
            .prop_map(move |v| Value::F64(if usable(v) { v } else { 0.0 }))
            .boxed(),
        Kind::Float => prop_oneof![any::<f32>(), Just(f32::NEG_INFINITY)]
            .prop_map(move |v| Value::F32(if usable(v.into()) { v } else { 0.0 }))
            .boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Value::U32).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(Value::U64).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => vec(any::<u8>(), 0..9).prop_map(|v| Value::Bytes(v.into())).boxed(),
        Kind::Enum(of) => {
            // An explicit "unspecified" is the one thing that has no form here.
            let unspecified = |number: i32| of.get_value(number).unwrap().name().ends_with("_UNSPECIFIED");
            let numbers: Vec<i32> = of.values().map(|v| v.number()).filter(|n| !unspecified(*n)).collect();
            proptest::sample::select(numbers).prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(of) => message(&of, depth.saturating_sub(1)).prop_map(Value::Message).boxed(),
    }
}

/// The types whose fields are not free.
fn well_known(of: &MessageDescriptor, depth: u8) -> Option<BoxedStrategy<DynamicMessage>> {
    let shown = of.clone();
    let set = move |fields: Vec<(&str, Value)>| {
        let mut message = DynamicMessage::new(shown.clone());
        for (name, value) in fields {
            message.set_field_by_name(name, value);
        }
        message
    };
    let nanos = prop_oneof![0..1_000_000_000_i32, (0..1_000_i32).prop_map(|ms| ms * 1_000_000)];
    Some(match of.full_name() {
        "google.protobuf.Timestamp" => (-62_135_596_800..=253_402_300_799_i64, nanos)
            .prop_map(move |(s, n)| set(vec![("seconds", Value::I64(s)), ("nanos", Value::I32(n))]))
            .boxed(),
        "google.protobuf.Duration" => (0..315_576_000_000_i64, nanos, prop_oneof![Just(1), Just(-1)])
            .prop_map(move |(s, n, sign)| {
                set(vec![("seconds", Value::I64(s * i64::from(sign))), ("nanos", Value::I32(n * sign))])
            })
            .boxed(),
        "google.protobuf.FieldMask" => vec("[a-z]{1,5}(_[a-z]{1,3}[0-9]?){0,2}(\\.[a-z]{1,3})?", 0..3)
            .prop_map(move |paths| set(vec![("paths", Value::List(paths.into_iter().map(Value::String).collect()))]))
            .boxed(),
        "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => free(of, depth),
        _ => return None,
    })
}

/// Any JSON, by way of prost_types.
fn free(of: &MessageDescriptor, depth: u8) -> BoxedStrategy<DynamicMessage> {
    use prost_types::value::Kind;
    let of = of.clone();
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        any::<i32>().prop_map(|v| Kind::NumberValue(f64::from(v) / 8.0)),
        any::<String>().prop_map(Kind::StringValue),
    ];
    let value = leaf.prop_map(|kind| prost_types::Value { kind: Some(kind) });
    let value = value.prop_recursive(u32::from(depth) + 1, 6, 3, |value| {
        prop_oneof![
            vec(value.clone(), 0..3).prop_map(|values| Kind::ListValue(prost_types::ListValue { values })),
            btree_map(any::<String>(), value, 0..3)
                .prop_map(|fields| Kind::StructValue(prost_types::Struct { fields })),
        ]
        .prop_map(|kind| prost_types::Value { kind: Some(kind) })
    });
    let whole = match of.name() {
        "Value" => value.prop_map(|v| v.encode_to_vec()).boxed(),
        "ListValue" => vec(value, 0..3).prop_map(|values| prost_types::ListValue { values }.encode_to_vec()).boxed(),
        _ => btree_map(any::<String>(), value, 0..3)
            .prop_map(|fields| prost_types::Struct { fields }.encode_to_vec())
            .boxed(),
    };
    whole.prop_map(move |bytes| DynamicMessage::decode(of.clone(), bytes.as_slice()).unwrap()).boxed()
}

/// Respells every enum value of a JSON message.
fn respell(json: &mut Json, of: &MessageDescriptor, spell: fn(&EnumDescriptor, &str) -> String) {
    if of.full_name().starts_with("google.protobuf.") {
        return;
    }
    for (name, value) in json.as_object_mut().unwrap() {
        let field = of.get_field_by_json_name(name).unwrap();
        match (field.kind(), field.is_map()) {
            (Kind::Message(entry), true) => {
                for value in value.as_object_mut().unwrap().values_mut() {
                    respell_one(value, &entry.map_entry_value_field().kind(), spell);
                }
            }
            (kind, _) if field.is_list() => {
                value.as_array_mut().unwrap().iter_mut().for_each(|value| respell_one(value, &kind, spell));
            }
            (kind, _) => respell_one(value, &kind, spell),
        }
    }
}

fn respell_one(value: &mut Json, kind: &Kind, spell: fn(&EnumDescriptor, &str) -> String) {
    match kind {
        Kind::Enum(of) => *value = spell(of, value.as_str().unwrap()).into(),
        Kind::Message(of) => respell(value, of, spell),
        _ => {}
    }
}

fn prefix(of: &EnumDescriptor) -> String {
    format!("{}_", of.name().to_uppercase())
}

/// A message that shows itself by its bytes: its own `Debug` shows the whole descriptor pool.
#[derive(Clone)]
struct Sample(DynamicMessage);

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", Everything::decode(self.0.encode_to_vec().as_slice()))
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    message(&everything(), 2).prop_map(Sample)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_write_the_oracle_reads(Sample(dynamic) in sample()) {
        let message = Everything::decode(dynamic.encode_to_vec().as_slice()).unwrap();
        let ours = to_vec(|w| write_everything(w, &message)).unwrap();
        let mut json: Json = serde_json::from_slice(&ours).unwrap();
        respell(&mut json, &everything(), |of, name| prefix(of) + &name.to_uppercase());
        let read = DynamicMessage::deserialize(everything(), json).unwrap();
        prop_assert_eq!(Everything::decode(read.encode_to_vec().as_slice()).unwrap(), message);
    }

    #[test]
    fn what_the_oracle_writes_we_read(Sample(dynamic) in sample(), sparse in any::<bool>()) {
        let options = prost_reflect::SerializeOptions::new().skip_default_fields(sparse);
        let mut json = dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        respell(&mut json, &everything(), |of, name| name.strip_prefix(&prefix(of)).unwrap().to_lowercase());
        if !sparse {
            leave_out_unspecified(&mut json);
        }
        let message: Everything = from_slice(json.to_string().as_bytes(), read_everything).unwrap();
        prop_assert_eq!(message, Everything::decode(dynamic.encode_to_vec().as_slice()).unwrap());
    }
}

/// With defaults the oracle writes the values that mean "not given".
fn leave_out_unspecified(json: &mut Json) {
    match json {
        Json::Object(members) => {
            members.retain(|name, value| !(matches!(name.as_str(), "genre" | "self") && value == "unspecified"));
            members.values_mut().for_each(leave_out_unspecified);
        }
        Json::Array(values) => values.iter_mut().for_each(leave_out_unspecified),
        _ => {}
    }
}
