//! The codec of the streams: messages go out encoded in place, frames come in as bytes, because what may be decoded
//! depends on the handshake.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::WireMessage;

/// Encodes `M`, decodes nothing.
pub(super) struct FrameCodec<M>(PhantomData<fn(M)>);

impl<M> FrameCodec<M> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: WireMessage> Codec for FrameCodec<M> {
    type Encode = M;
    type Decode = Bytes;
    type Encoder = FrameCodec<M>;
    type Decoder = FrameCodec<M>;

    fn encoder(&mut self) -> Self::Encoder {
        Self::new()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::new()
    }
}

impl<M: WireMessage> Encoder for FrameCodec<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, message: M, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(out).map_err(|e| Status::internal(e.to_string()))
    }
}

impl<M: WireMessage> Decoder for FrameCodec<M> {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(frame.copy_to_bytes(frame.remaining())))
    }
}
