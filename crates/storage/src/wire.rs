//! The frames of a block connection, after its handshake. All numbers are little endian.
//!
//! ```text
//!  request:   kind u8, the block id's fields                     (its length follows from the kind)
//!             128, shuffle u32: remove what is served of this shuffle; the answer is empty
//!             129, level u16, address, a cached partition's id: fetch it from there and keep it; the answer is empty
//!             130, shuffle u32, map task u64, address: take that output from there; the answer is empty
//!             131, broadcast u32, known u32: which pieces are there? the answer is a bit for each
//!             132, broadcast u32, executor u32: who else has pieces? the answer is their number u16 and their addresses
//!             an address is its length u16 and its bytes
//!  response:  status u8, length u64, crc32c u32, payload         (one a request, in order)
//!             with status 3 the payload's crc32c u32 follows it, and that in the header is nothing
//! ```

use std::io::{self, Read};

use firesteel_common::{BroadcastId, ExecutorId, RddId, ShuffleId, TaskId};
use firesteel_rpc::checked::check_address;

use crate::{BlockId, Question, StorageLevel};

/// The service that both sides name in the handshake.
pub(crate) const SERVICE: &str = "firesteel.blocks";

/// Bytes before a response's payload.
pub(crate) const HEADER_BYTES: usize = 13;

/// What a response carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// The block, with its checksum.
    Checked,
    /// The block, without a checksum.
    Unchecked,
    /// A text that says why not.
    Failed,
    /// The block, and after it its checksum, which was not known before.
    CheckedAfter,
}

/// What precedes a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub status: Status,
    pub len: u64,
    pub crc32c: u32,
}

impl Header {
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = match self.status {
            Status::Checked => 0,
            Status::Unchecked => 1,
            Status::Failed => 2,
            Status::CheckedAfter => 3,
        };
        out[1..9].copy_from_slice(&self.len.to_le_bytes());
        out[9..].copy_from_slice(&self.crc32c.to_le_bytes());
        out
    }

    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Option<Header> {
        let [status, l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3] = bytes;
        let status = match status {
            0 => Status::Checked,
            1 => Status::Unchecked,
            2 => Status::Failed,
            3 => Status::CheckedAfter,
            _ => return None,
        };
        let len = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        Some(Header { status, len, crc32c: u32::from_le_bytes([c0, c1, c2, c3]) })
    }
}

const REMOVE_SHUFFLE: u8 = 128;
const REPLICATE: u8 = 129;
const ADOPT: u8 = 130;
const PIECES: u8 = 131;
const HOLDERS: u8 = 132;

/// What a peer asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A block.
    Block(BlockId),
    /// Something else that has an answer.
    Question(Question),
    /// The end of a shuffle's files.
    RemoveShuffle(ShuffleId),
    /// That a copy of a cached partition be fetched from where it is, and kept.
    Replicate(BlockId, StorageLevel, String),
    /// That the output of a map task be fetched from where it is, and served.
    Adopt(ShuffleId, TaskId, String),
}

/// Appends the request to take a map task's output from `from`.
pub(crate) fn encode_adopt(shuffle: ShuffleId, map_task: TaskId, from: &str, out: &mut Vec<u8>) {
    out.push(ADOPT);
    out.extend_from_slice(&shuffle.0.to_le_bytes());
    out.extend_from_slice(&map_task.0.to_le_bytes());
    encode_address(from, out);
}

fn encode_address(address: &str, out: &mut Vec<u8>) {
    let bytes = address.as_bytes();
    let len = bytes.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.extend_from_slice(&bytes[..len]);
}

/// Appends the request to fetch a cached partition from `from` and keep it.
pub(crate) fn encode_replicate(id: &BlockId, level: StorageLevel, from: &str, out: &mut Vec<u8>) {
    out.push(REPLICATE);
    out.extend_from_slice(&level.to_bits().to_le_bytes());
    encode_address(from, out);
    encode_request(id, out);
}

/// Appends the request to remove a shuffle's files.
pub(crate) fn encode_remove_shuffle(shuffle: ShuffleId, out: &mut Vec<u8>) {
    out.push(REMOVE_SHUFFLE);
    out.extend_from_slice(&shuffle.0.to_le_bytes());
}

/// Appends a question.
pub(crate) fn encode_question(question: &Question, out: &mut Vec<u8>) {
    let (kind, broadcast, number) = match question {
        Question::Pieces { broadcast, known } => (PIECES, broadcast, *known),
        Question::Holders { broadcast, executor } => (HOLDERS, broadcast, executor.0),
    };
    out.push(kind);
    out.extend_from_slice(&broadcast.0.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
}

/// The answer to [`Question::Holders`].
pub(crate) fn encode_addresses(addresses: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    let addresses = &addresses[..addresses.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(addresses.len() as u16).to_le_bytes());
    addresses.iter().for_each(|address| encode_address(address, &mut out));
    out
}

/// Reads it; each address has the form of one.
pub(crate) fn decode_addresses(mut bytes: &[u8]) -> io::Result<Vec<String>> {
    let input = &mut bytes;
    let count = u16::from_le_bytes(self::bytes(input)?);
    let addresses: Vec<String> = (0..count).map(|_| address(input)).collect::<io::Result<_>>()?;
    match input.is_empty() {
        true => Ok(addresses),
        false => Err(damaged("more than the addresses that were announced")),
    }
}

/// Appends the request for `id`.
pub(crate) fn encode_request(id: &BlockId, out: &mut Vec<u8>) {
    let mut put = |kind: u8, parts: &[&[u8]]| {
        out.push(kind);
        parts.iter().for_each(|part| out.extend_from_slice(part));
    };
    match id {
        BlockId::Shuffle { shuffle, map_task, reduce } => {
            put(0, &[&shuffle.0.to_le_bytes(), &map_task.0.to_le_bytes(), &reduce.to_le_bytes()]);
        }
        BlockId::Rdd { rdd, partition } => put(1, &[&rdd.0.to_le_bytes(), &partition.to_le_bytes()]),
        BlockId::TaskResult(task) => put(2, &[&task.0.to_le_bytes()]),
        BlockId::Binary(hash) => put(5, &[hash]),
        BlockId::ShuffleData { shuffle, map_task } => put(6, &[&shuffle.0.to_le_bytes(), &map_task.0.to_le_bytes()]),
        BlockId::ShuffleIndex { shuffle, map_task } => put(7, &[&shuffle.0.to_le_bytes(), &map_task.0.to_le_bytes()]),
        BlockId::Broadcast { broadcast, piece } => put(16, &[&broadcast.0.to_le_bytes(), &piece.to_le_bytes()]),
        BlockId::BroadcastValue(broadcast) => put(19, &[&broadcast.0.to_le_bytes()]),
    }
}

/// Reads the next request; `None` at a proper end of the stream.
pub(crate) fn read_request(input: &mut impl Read) -> io::Result<Option<Request>> {
    let mut kind = [0];
    loop {
        match input.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some(Request::Block(match kind[0] {
        REPLICATE => return replicate(input).map(Some),
        ADOPT => {
            let (shuffle, map_task) = (ShuffleId(u32(input)?), task(input)?);
            return Ok(Some(Request::Adopt(shuffle, map_task, address(input)?)));
        }
        PIECES => {
            let (broadcast, known) = (BroadcastId(u32(input)?), u32(input)?);
            return Ok(Some(Request::Question(Question::Pieces { broadcast, known })));
        }
        HOLDERS => {
            let (broadcast, executor) = (BroadcastId(u32(input)?), ExecutorId(u32(input)?));
            return Ok(Some(Request::Question(Question::Holders { broadcast, executor })));
        }
        REMOVE_SHUFFLE => return Ok(Some(Request::RemoveShuffle(ShuffleId(u32(input)?)))),
        0 => BlockId::Shuffle { shuffle: ShuffleId(u32(input)?), map_task: task(input)?, reduce: u32(input)? },
        1 => BlockId::Rdd { rdd: RddId(u32(input)?), partition: u32(input)? },
        2 => BlockId::TaskResult(task(input)?),
        5 => BlockId::Binary(bytes(input)?),
        6 => BlockId::ShuffleData { shuffle: ShuffleId(u32(input)?), map_task: task(input)? },
        7 => BlockId::ShuffleIndex { shuffle: ShuffleId(u32(input)?), map_task: task(input)? },
        16 => BlockId::Broadcast { broadcast: BroadcastId(u32(input)?), piece: u32(input)? },
        19 => BlockId::BroadcastValue(BroadcastId(u32(input)?)),
        other => return Err(damaged(&format!("a request of unknown kind {other}"))),
    })))
}

fn replicate(input: &mut impl Read) -> io::Result<Request> {
    let level = StorageLevel::from_bits(u16::from_le_bytes(bytes(input)?));
    let from = address(input)?;
    // No request within a request: one level of this, whatever a peer sends.
    let mut kind = [0];
    input.read_exact(&mut kind)?;
    if kind != [1] {
        return Err(damaged("only cached partitions are replicated"));
    }
    Ok(Request::Replicate(BlockId::Rdd { rdd: RddId(u32(input)?), partition: u32(input)? }, level, from))
}

fn address(input: &mut impl Read) -> io::Result<String> {
    let mut text = vec![0; usize::from(u16::from_le_bytes(bytes(input)?))];
    input.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| damaged("an address that is no text"))?;
    check_address(&text).map_err(|reason| damaged(&reason))?;
    Ok(text)
}

fn damaged(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

fn task(input: &mut impl Read) -> io::Result<TaskId> {
    bytes(input).map(|b| TaskId(u64::from_le_bytes(b)))
}

fn bytes<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut out = [0; N];
    input.read_exact(&mut out)?;
    Ok(out)
}

fn u32(input: &mut impl Read) -> io::Result<u32> {
    bytes(input).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_and_headers_come_back_as_they_were() {
        let ids = [
            BlockId::Shuffle { shuffle: ShuffleId(1), map_task: TaskId(u64::MAX), reduce: 3 },
            BlockId::ShuffleData { shuffle: ShuffleId(19), map_task: TaskId(20) },
            BlockId::ShuffleIndex { shuffle: ShuffleId(21), map_task: TaskId(22) },
            BlockId::Rdd { rdd: RddId(4), partition: 5 },
            BlockId::TaskResult(TaskId(6)),
            BlockId::Binary([11; 32]),
            BlockId::Broadcast { broadcast: BroadcastId(12), piece: 13 },
            BlockId::BroadcastValue(BroadcastId(18)),
        ];
        let mut wire = Vec::new();
        ids.iter().for_each(|id| encode_request(id, &mut wire));
        encode_remove_shuffle(ShuffleId(12), &mut wire);
        let mut input = wire.as_slice();
        for id in ids {
            assert_eq!(read_request(&mut input).unwrap(), Some(Request::Block(id)));
        }
        assert_eq!(read_request(&mut input).unwrap(), Some(Request::RemoveShuffle(ShuffleId(12))));
        assert_eq!(read_request(&mut input).unwrap(), None);
        let (id, level) = (BlockId::Rdd { rdd: RddId(1), partition: 2 }, StorageLevel::DISK_ONLY_2);
        let mut wire = Vec::new();
        encode_replicate(&id, level, "host:1", &mut wire);
        let asked = Request::Replicate(id, level, "host:1".to_owned());
        assert_eq!(read_request(&mut wire.as_slice()).unwrap(), Some(asked));
        assert!(read_request(&mut &wire[..wire.len() - 1]).is_err());
        let mut wire = Vec::new();
        encode_adopt(ShuffleId(1), TaskId(1 << 40), "host:1", &mut wire);
        let asked = Request::Adopt(ShuffleId(1), TaskId(1 << 40), "host:1".to_owned());
        assert_eq!(read_request(&mut wire.as_slice()).unwrap(), Some(asked));
        assert!(read_request(&mut &wire[..wire.len() - 1]).is_err());
        for question in [
            Question::Pieces { broadcast: BroadcastId(14), known: 15 },
            Question::Holders { broadcast: BroadcastId(16), executor: ExecutorId(17) },
        ] {
            let mut wire = Vec::new();
            encode_question(&question, &mut wire);
            assert_eq!(read_request(&mut wire.as_slice()).unwrap(), Some(Request::Question(question)));
            assert!(read_request(&mut &wire[..wire.len() - 1]).is_err());
        }
        assert!(read_request(&mut [9u8].as_slice()).is_err());
        // They were questions in the guise of blocks once.
        assert!(read_request(&mut [17u8; 9].as_slice()).is_err() && read_request(&mut [18u8; 9].as_slice()).is_err());
        assert!(read_request(&mut [5u8, 0].as_slice()).is_err());

        let header = Header { status: Status::Unchecked, len: 1 << 40, crc32c: 77 };
        assert_eq!(Header::decode(header.encode()), Some(header));
        let header = Header { status: Status::CheckedAfter, len: 1, crc32c: 0 };
        assert_eq!(Header::decode(header.encode()), Some(header));
        assert_eq!(Header::decode([4; HEADER_BYTES]), None);
    }

    proptest! {
        #[test]
        fn named_holders_come_back_and_no_bytes_make_the_reading_of_them_panic(
            holders in prop::collection::vec("[a-z]{1,8}:[1-9][0-9]{0,3}", 0..20),
            cut: prop::sample::Index,
            noise: Vec<u8>,
        ) {
            let bytes = encode_addresses(&holders);
            prop_assert_eq!(decode_addresses(&bytes).unwrap(), holders);
            prop_assert!(decode_addresses(&bytes[..cut.index(bytes.len())]).is_err());
            prop_assert!(decode_addresses(&[&bytes[..], &[0]].concat()).is_err());
            for address in decode_addresses(&noise).into_iter().flatten() {
                prop_assert!(check_address(&address).is_ok());
            }
        }

        #[test]
        fn a_question_is_what_its_bytes_say(broadcast: u32, number: u32, rest: Vec<u8>) {
            for question in [
                Question::Pieces { broadcast: BroadcastId(broadcast), known: number },
                Question::Holders { broadcast: BroadcastId(broadcast), executor: ExecutorId(number) },
            ] {
                let mut wire = Vec::new();
                encode_question(&question, &mut wire);
                wire.extend_from_slice(&rest);
                let mut input = wire.as_slice();
                prop_assert_eq!(read_request(&mut input).unwrap(), Some(Request::Question(question)));
                // Nothing of the next request is taken.
                prop_assert_eq!(input, &rest[..]);
            }
        }

        #[test]
        fn no_bytes_make_the_reading_of_a_request_panic_and_addresses_lead_to_a_host(
            kind in prop_oneof![Just(REPLICATE), Just(ADOPT), Just(PIECES), Just(HOLDERS), any::<u8>()],
            shuffle: u32,
            task: u64,
            address in prop_oneof!["[a-z]{1,4}:[0-9]{1,6}", "\\PC{0,20}", "[a-z/.:\n\x00]{0,12}"],
            noise: Vec<u8>,
        ) {
            let mut adopt = Vec::new();
            encode_adopt(ShuffleId(shuffle), TaskId(task), &address, &mut adopt);
            let mut replicate = Vec::new();
            let id = BlockId::Rdd { rdd: RddId(shuffle), partition: 0 };
            encode_replicate(&id, StorageLevel::NONE, &address, &mut replicate);
            for wire in [adopt, replicate, [vec![kind], noise].concat()] {
                if let Ok(Some(Request::Adopt(_, _, from) | Request::Replicate(_, _, from))) = read_request(&mut &*wire) {
                    let (host, port) = from.rsplit_once(':').unwrap();
                    prop_assert!(!host.is_empty() && port.parse::<u16>().is_ok());
                    prop_assert!(!from.contains(|c: char| c.is_control() || c == '/'));
                }
            }
        }
    }
}
