//! Streams that follow one another.

use std::collections::VecDeque;

use crate::{
    chunk::{Chunk, ChunkStream, Stream},
    error::TaskError,
};

/// Streams one after the other.
pub(super) struct Chain<T>(VecDeque<Stream<T>>);

impl<T: 'static> Chain<T> {
    pub fn stream(parts: impl IntoIterator<Item = Stream<T>>) -> Stream<T> {
        Box::new(Chain(parts.into_iter().collect()))
    }
}

impl<T> ChunkStream<T> for Chain<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        while let Some(first) = self.0.front_mut() {
            if let Some(chunk) = first.next_chunk()? {
                return Ok(Some(chunk));
            }
            self.0.pop_front();
        }
        Ok(None)
    }
}
