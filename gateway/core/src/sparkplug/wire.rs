//! The payload of Sparkplug B (specification 3.0.0, chapter 6, `sparkplug_b.proto`): the fields that an edge node of ours writes
//! or reads.

use prost::{Message, Oneof};

/// `org.eclipse.tahu.protobuf.Payload`
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
}

/// `Payload.Metric`
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// In births; later the alias says which it is.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// A [`DataType`].
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    #[prost(oneof = "Value", tags = "10, 11, 13, 14, 15")]
    pub value: Option<Value>,
}

/// `Payload.Metric.value`
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
}

/// `DataType`, those that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    Int64 = 4,
    UInt64 = 8,
    Double = 10,
    Boolean = 11,
    Text = 12,
}
