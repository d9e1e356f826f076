//! Works on text files.

use std::{
    collections::HashMap,
    fs::File,
    hash::BuildHasher,
    io::{BufWriter, Read, Seek, SeekFrom, Write},
};

use firesteel_bench::Outcome;
use foldhash::fast::{FixedState, RandomState};

use crate::{THREADS, exchange, share, threads, threads_with};

type Counts = HashMap<String, u64, RandomState>;

/// The lines of the file whose first byte lies in the `t`-th thread's share.
fn lines(file: &str, t: usize) -> std::io::Result<Vec<u8>> {
    let mut input = File::open(file)?;
    let range = share(input.metadata()?.len(), t);
    // From one byte before, which tells whether a line begins with the share.
    let from = range.start.saturating_sub(1);
    input.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::with_capacity((range.end - from) as usize + 4096);
    (&input).take(range.end - from).read_to_end(&mut bytes)?;
    while !bytes.ends_with(b"\n") {
        let before = bytes.len();
        (&input).take(256).read_to_end(&mut bytes)?;
        match bytes[before..].iter().position(|b| *b == b'\n') {
            Some(end) => bytes.truncate(before + end + 1),
            None if bytes.len() == before => break,
            None => {}
        }
    }
    if range.start > 0 {
        let begin = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..begin);
    }
    Ok(bytes)
}

pub fn word_count(file: &str) -> Outcome<String> {
    let counted = threads(|t| -> Result<_, String> {
        let text = String::from_utf8(lines(file, t).map_err(|e| format!("{file}: {e}"))?).map_err(|e| e.to_string())?;
        let mut counts = Counts::default();
        for word in text.lines().flat_map(|line| line.split(' ')) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(word.to_owned(), 1);
                }
            }
        }
        let mut parts: Vec<Vec<(String, u64)>> = (0..THREADS).map(|_| Vec::new()).collect();
        let hasher = FixedState::with_seed(1);
        for (word, count) in counts {
            parts[(hasher.hash_one(&word) >> 32) as usize % THREADS].push((word, count));
        }
        Ok(parts)
    });
    let dealt = counted.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sums = threads_with(exchange(dealt), |blocks| {
        let mut counts = Counts::default();
        for (word, count) in blocks.into_iter().flatten() {
            *counts.entry(word).or_default() += count;
        }
        counts.iter().fold([0; 3], |s, (word, n)| [s[0] + 1, s[1] + n, s[2] + n * word.len() as u64])
    });
    let [distinct, words, letters] = sums.into_iter().fold([0u64; 3], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    Ok(format!("{distinct} {words} {letters}"))
}

pub fn sort(file: &str, out: &str) -> Outcome<String> {
    let read = threads(|t| lines(file, t)).into_iter().collect::<Result<Vec<_>, _>>()?;
    // A boundary that halves a sample of the keys.
    let mut sample: Vec<&[u8]> = read.iter().flat_map(|text| records(text).step_by(1000)).map(key).collect();
    sample.sort_unstable();
    let boundary = sample.get(sample.len() / 2).copied().unwrap_or_default();
    let dealt = threads_with(read.iter().collect(), |text: &Vec<u8>| {
        let (low, high): (Vec<&[u8]>, Vec<&[u8]>) = records(text).partition(|line| key(line) < boundary);
        vec![low, high]
    });
    std::fs::create_dir(out)?;
    let parts = exchange(dealt).into_iter().enumerate().collect();
    let written = threads_with(parts, |(part, blocks): (usize, Vec<Vec<&[u8]>>)| -> std::io::Result<()> {
        let mut lines = blocks.concat();
        lines.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        let mut out = BufWriter::with_capacity(1 << 20, File::create(format!("{out}/part-{part:05}"))?);
        for line in lines {
            out.write_all(line)?;
        }
        out.flush()
    });
    written.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok("sorted".to_owned())
}

fn records(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|b| *b == b'\n')
}

fn key(line: &[u8]) -> &[u8] {
    &line[..line.len().min(10)]
}
