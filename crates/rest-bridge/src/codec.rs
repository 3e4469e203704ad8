//! The protobuf codec of tonic with buffers the size of usual messages.
//!
//! tonic's own begins every message with 8 KiB on each of the four ways of a call in this process, and giving that back
//! to the allocator costs more than the message. Set it with tonic-prost-build's
//! `.codec_path("::rest_bridge::codec::ProstCodec")`; larger messages grow their buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};

use crate::fail::refusal;
use crate::gate::reason;

/// First size of a buffer, in bytes.
const BUFFER: usize = 512;
/// How much a stream gathers before it hands it on, in bytes; tonic's default.
const YIELD: usize = 32 * 1024;

/// Encodes `T` and decodes `U`.
#[derive(Debug, Clone)]
pub struct ProstCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ProstCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ProstCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = tonic_prost::ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        tonic_prost::ProstEncoder::new(BufferSettings::new(BUFFER, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder(tonic_prost::ProstDecoder::new(BufferSettings::new(BUFFER, YIELD)))
    }
}

/// Decodes `U`. What is no message of that type is `INVALID_ARGUMENT`, with an `ErrorInfo` of the domain `rest-bridge`, because
/// its sender is at fault. tonic's own decoder blames the service (`INTERNAL`).
#[derive(Debug)]
pub struct ProstDecoder<U>(tonic_prost::ProstDecoder<U>);

impl<U: Message + Default> Decoder for ProstDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(buffer).map_err(|error| {
            let message = format!("The message does not parse: {}", error.message());
            refusal(Code::InvalidArgument, reason::VALIDATION_FAILED, &message)
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
