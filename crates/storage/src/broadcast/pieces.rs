//! Which pieces of a value somebody has.

/// A bit for each piece.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// Whether a piece is among them.
    pub fn has(&self, piece: u32) -> bool {
        self.0.get(piece as usize / 8).is_some_and(|byte| byte & bit(piece) != 0)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// They, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.0.len() as u32 * 8).filter(|piece| self.has(*piece))
    }

    /// One more.
    pub fn insert(&mut self, piece: u32) {
        let byte = piece as usize / 8;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= bit(piece);
    }

    /// As they travel: eight pieces a byte, the first in its lowest bit.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What has travelled so.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Pieces {
        Pieces(bytes.to_vec())
    }
}

fn bit(piece: u32) -> u8 {
    1 << (piece % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_that_were_put_in_and_come_back_from_their_bytes() {
        let mut pieces = Pieces::default();
        assert!(!pieces.has(0) && pieces.count() == 0);
        for piece in [9, 0, 70, 9] {
            pieces.insert(piece);
        }
        assert_eq!(pieces.count(), 3);
        assert_eq!(pieces.iter().collect::<Vec<_>>(), [0, 9, 70]);
        assert_eq!(Pieces::from_bytes(pieces.as_bytes()), pieces);
    }
}
