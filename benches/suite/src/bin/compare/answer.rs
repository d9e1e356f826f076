//! Whether answers agree, and the answer of the sort.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use firesteel_bench::Outcome;

/// Whether two answers are the same: words are equal, or decimal fractions that differ by rounding only.
pub fn agree(a: &str, b: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split_whitespace().collect(), b.split_whitespace().collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || nearly_equal(a, b))
}

fn nearly_equal(a: &str, b: &str) -> bool {
    match (a.contains('.') && b.contains('.'), a.parse::<f64>(), b.parse::<f64>()) {
        (true, Ok(a), Ok(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-6),
        _ => false,
    }
}

/// How many lines the part files of `dir` have in the order of their names, and a hash that depends on their order.
///
/// # Errors
/// When the lines are not sorted by their first ten bytes.
pub fn of_sorted(dir: &Path) -> Outcome<String> {
    let mut parts: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            parts.push(path);
        }
    }
    parts.sort();
    let (mut lines, mut hash, mut before) = (0u64, 0u64, Vec::new());
    let mut line = Vec::new();
    for part in parts {
        let mut input = BufReader::with_capacity(1 << 20, File::open(&part)?);
        while input.read_until(b'\n', &mut line)? > 0 {
            let key = &line[..line.len().min(10)];
            if key < before.as_slice() {
                return Err(format!("{}: line {lines} of the sorted output is out of order", part.display()).into());
            }
            before.clear();
            before.extend_from_slice(key);
            lines += 1;
            for word in line.chunks(8) {
                let word = word.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
                hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
            }
            line.clear();
        }
    }
    Ok(format!("{lines} {hash:016x}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn fractions_agree_within_rounding_and_whole_numbers_exactly() {
        assert!(agree("12 0.3000000001", "12 0.3"));
        assert!(!agree("12 0.301", "12 0.3"));
        assert!(!agree("12000000000 1.0", "12000000001 1.0"));
        assert!(!agree("12", "12 1.0"));
        assert!(agree("7 1.0E-3", "7 0.001"));
    }

    #[test]
    fn sorted_output_is_told_from_unsorted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("part-00000"), "a\nb\n").unwrap();
        fs::write(dir.path().join("part-00001"), "c\n").unwrap();
        let answer = of_sorted(dir.path()).unwrap();
        assert!(answer.starts_with("3 "), "{answer}");
        fs::write(dir.path().join("part-00001"), "d\n").unwrap();
        assert_ne!(of_sorted(dir.path()).unwrap(), answer);
        fs::write(dir.path().join("part-00001"), "a\n").unwrap();
        of_sorted(dir.path()).unwrap_err();
    }
}
