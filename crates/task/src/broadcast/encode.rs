//! A value as pieces: the driver's side.

use std::{sync::Arc, thread};

use bytes::Bytes;
use firesteel_common::{
    Env,
    codec::{self, CodecError},
};

use super::{raw, source::BroadcastSettings};

/// Samples that decide whether compressing is worth its time.
const SAMPLES: usize = 4;
const SAMPLE_BYTES: usize = 64 << 10;

/// A value ready to be sent.
pub(super) struct Encoded {
    /// Bytes before compression.
    pub len: u64,
    pub pieces: Vec<Bytes>,
    /// Pieces that are shorter than their range are compressed.
    pub compressed: bool,
}

pub(super) fn encode<T: Env>(value: &Arc<T>, settings: BroadcastSettings) -> Result<Encoded, CodecError> {
    let bytes = match raw::view(value.clone()) {
        Some(bytes) => bytes,
        None => Bytes::from(codec::encode(&**value)?),
    };
    let len = bytes.len() as u64;
    let piece_bytes = usize::try_from(settings.piece_bytes).unwrap_or(usize::MAX).max(1);
    let cut = |start: usize| bytes.slice(start..(start + piece_bytes).min(bytes.len()));
    let mut pieces: Vec<Bytes> = (0..bytes.len()).step_by(piece_bytes).map(cut).collect();
    let compressed = settings.compress && is_worth_compressing(&bytes);
    if compressed {
        compress(&mut pieces);
    }
    Ok(Encoded { len, pieces, compressed })
}

/// Whether samples shrink to half.
fn is_worth_compressing(bytes: &[u8]) -> bool {
    let step = (bytes.len() / SAMPLES).max(1);
    let samples = (0..bytes.len()).step_by(step).take(SAMPLES);
    let (mut plain, mut packed) = (0, 0);
    for start in samples {
        let sample = &bytes[start..(start + SAMPLE_BYTES.min(step)).min(bytes.len())];
        plain += sample.len();
        packed += lz4_flex::block::compress(sample).len();
    }
    packed * 2 <= plain
}

/// Compresses each piece that gets shorter by it, on as many threads as there are cores.
fn compress(pieces: &mut [Bytes]) {
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let run = |run: &mut [Bytes]| {
        for piece in run {
            let packed = lz4_flex::block::compress(piece);
            if packed.len() < piece.len() {
                *piece = packed.into();
            }
        }
    };
    let each = pieces.len().div_ceil(threads).max(1);
    thread::scope(|scope| pieces.chunks_mut(each).for_each(|chunk| _ = scope.spawn(move || run(chunk))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<T: Env>(value: T, compress: bool) -> Encoded {
        encode(&Arc::new(value), BroadcastSettings { piece_bytes: 1000, compress, checksum: true }).unwrap()
    }

    #[test]
    fn what_shrinks_is_compressed_and_what_does_not_stays_plain() {
        let even = encoded(vec![7u8; 10_500], true);
        assert!(even.compressed && even.pieces.len() == 11 && even.pieces.iter().all(|p| p.len() < 500));
        assert!(!encoded(vec![7u8; 10_500], false).compressed);
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state
        };
        let noise: Vec<u64> = (0..1000).map(|_| noise().swap_bytes() ^ noise()).collect();
        let noise = encoded(noise, true);
        assert!(!noise.compressed && noise.len == 8000);
        assert_eq!(noise.pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [1000; 8]);
        let nothing = encoded((), true);
        assert!(nothing.len == 0 && nothing.pieces.is_empty());
    }
}
