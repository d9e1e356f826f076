//! Speed of block transfer over loopback, beside that of a plain TCP connection in the same run:
//! `cargo run --release -p firesteel-storage --example transfer_speed -- [BLOCK_KIB [TOTAL_MB [memory|file [ROUNDS]]]]`.
//!
//! Without arguments: blocks of 64 KiB, 1 MiB and 32 MiB, from both. GB/s, the share of the plain connection's speed, and
//! seconds of processor time for a GB, each the median of the rounds. A round takes every way in turn, so that what else
//! the machine does hits all alike; processor time hardly depends on that.
#![allow(clippy::print_stdout, reason = "a program of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement")]

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use bytes::Bytes;
use firesteel_common::RddId;
use firesteel_rpc::{Role, Transport};
use firesteel_storage::{
    Abort, BlockBuffer, BlockClient, BlockData, BlockError, BlockId, BlockServer, BlockSource, BlockStream,
};

/// As applications have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes that a plain connection writes and reads at a time.
const PIECE: usize = 256 * 1024;
/// Bytes asked for ahead.
const AHEAD: usize = 8 << 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).map(|a| a.parse::<usize>().expect("a number"));
    let sizes = number(0).map_or(vec![64, 1024, 32 * 1024], |kib| vec![kib]);
    let total = number(1).unwrap_or(1024) * 1_000_000;
    let froms = args.get(2).map_or(vec!["memory", "file"], |from| vec![from.as_str()]);
    let rounds = number(3).unwrap_or(7);
    println!("{:>9}  {:<6}  {:<34} {:>6} {:>8} {:>8}", "block KiB", "from", "way", "GB/s", "of plain", "cpu s/GB");
    for kib in sizes {
        for from in &froms {
            measure(kib * 1024, total, from == &"file", rounds);
        }
    }
}

fn measure(block: usize, total: usize, from_file: bool, rounds: usize) {
    let blocks = total.div_ceil(block);
    let source = Arc::new(One::new(block, from_file));
    let server =
        BlockServer::start(TcpListener::bind("127.0.0.1:0").unwrap(), source.clone(), Transport::default(), "app")
            .unwrap();
    let address = server.local_addr().to_string();
    let client = BlockClient::new(Transport::default(), "app", Role::Executor);
    let ways: [(&str, &dyn Fn()); 6] = [
        ("plain connection", &|| plain(&source, PIECE, blocks, from_file)),
        ("plain, into memory for a block", &|| plain(&source, block, blocks, from_file)),
        ("blocks, unchecked, one buffer", &|| fetch(&client, &address, UNCHECKED, block, blocks, true)),
        ("blocks, checked, one buffer", &|| fetch(&client, &address, CHECKED, block, blocks, true)),
        ("blocks, unchecked, each its memory", &|| fetch(&client, &address, UNCHECKED, block, blocks, false)),
        ("blocks, checked, each its memory", &|| fetch(&client, &address, CHECKED, block, blocks, false)),
    ];
    let gigabytes = (blocks * block) as f64 / 1e9;
    let (mut speeds, mut costs) = (vec![Vec::new(); ways.len()], vec![Vec::new(); ways.len()]);
    for _ in 0..rounds {
        for (at, (_, way)) in ways.iter().enumerate() {
            let (start, used) = (Instant::now(), processor_seconds());
            way();
            speeds[at].push(gigabytes / start.elapsed().as_secs_f64());
            costs[at].push((processor_seconds() - used) / gigabytes);
        }
    }
    for (((name, _), of_way), cost) in ways.iter().zip(&speeds).zip(costs) {
        let shares = of_way.iter().zip(&speeds[0]).map(|(way, plain)| way / plain).collect();
        let from = if from_file { "file" } else { "memory" };
        let (speed, share, cost) = (median(of_way.clone()), median(shares), median(cost));
        println!("{:>9}  {from:<6}  {name:<34} {speed:>6.2} {share:>8.2} {cost:>8.2}", block / 1024);
    }
}

/// Processor time of this process, in hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

const CHECKED: u32 = 0;
const UNCHECKED: u32 = 1;

/// One block, served with or without its checksum.
struct One {
    bytes: Bytes,
    crc32c: u32,
    file: Option<Arc<File>>,
}

impl One {
    fn new(block: usize, from_file: bool) -> One {
        let bytes: Vec<u8> = (0..block).map(|i| (i * 31 % 251) as u8).collect();
        let file = from_file.then(|| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            Arc::new(file)
        });
        One { crc32c: crc32c::crc32c(&bytes), bytes: bytes.into(), file }
    }
}

impl BlockSource for One {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        let BlockId::Rdd { partition, .. } = id else { return Err(BlockError::NotFound { id: *id }) };
        let checked = *partition == CHECKED;
        Ok(match &self.file {
            Some(file) => BlockData::File {
                file: file.clone(),
                path: "measured".into(),
                offset: 0,
                len: self.bytes.len() as u64,
                crc32c: checked.then_some(self.crc32c),
            },
            None if checked => BlockData::Bytes(self.bytes.clone()),
            None => BlockData::Unchecked(self.bytes.clone()),
        })
    }
}

/// One thread that writes and one that reads, without frames.
fn plain(source: &Arc<One>, room: usize, blocks: usize, from_file: bool) {
    let block = source.bytes.len();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let there = source.clone();
    let writer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..blocks {
            if from_file {
                // By `sendfile`.
                let mut file = &**there.file.as_ref().unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                assert_eq!(std::io::copy(&mut file, &mut stream).unwrap(), block as u64);
            } else {
                there.bytes.chunks(PIECE).for_each(|piece| stream.write_all(piece).unwrap());
            }
        }
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let (mut buffer, mut at, mut came) = (vec![0; room], 0, 0);
    loop {
        let end = room.min(at + PIECE);
        match stream.read(&mut buffer[at..end]).unwrap() {
            0 => break,
            n => (at, came) = ((at + n) % room, came + n),
        }
    }
    assert_eq!(came, block * blocks);
    writer.join().unwrap();
}

fn fetch(client: &BlockClient, address: &str, kind: u32, block: usize, blocks: usize, one_buffer: bool) {
    let mut stream: BlockStream = client.open(address, Abort::never());
    let ahead = (AHEAD / block).max(2);
    let mut buffer = BlockBuffer::new();
    let mut asked = 0;
    for _ in 0..blocks {
        if stream.outstanding() <= ahead / 2 {
            while asked < blocks && stream.outstanding() < ahead {
                stream.request(BlockId::Rdd { rdd: RddId(0), partition: kind });
                asked += 1;
            }
        }
        if one_buffer {
            stream.next_into(&mut buffer).unwrap();
            assert_eq!(buffer.len(), block);
        } else {
            assert_eq!(stream.next_block().unwrap().len(), block);
        }
    }
}
