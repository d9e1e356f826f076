//! [`Lines`]: the lines of text files as `&str`, so that a line costs no allocation. Made by `sources/text_file.rs`, of
//! what `firesteel_files` reads.
//!
//! A `Lines` is an RDD of blocks of lines; its operators look into the blocks, and what they make is an ordinary RDD.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env, size::Filling};
use firesteel_files::text::LineBlock;
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, PerChunk, Stream},
};

use crate::{Emitter, Rdd, Result, actions::over, pipe::PipeOp};

/// The lines of text files, which closures see by reference: no String is made for a line that is only looked at.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("log").to_str().unwrap().to_owned();
/// use firesteel::Str;
///
/// std::fs::write(&path, "10.0.0.1 INFO up\n10.0.0.2 ERROR disk\n10.0.0.2 ERROR disk\n").unwrap();
/// let errors_by_host = sc
///     .text_lines(&path)?
///     .filter(|line| line.contains("ERROR"))
///     .map_to(|line| (Str::from(line.split(' ').next().unwrap_or_default()), 1u64))
///     .reduce_by_key(|a, b| a + b);
/// assert_eq!(errors_by_host.collect()?, [(Str::from("10.0.0.2"), 2)]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Lines {
    rdd: Rdd<LineBlock>,
}

/// [`Lines`] with an environment for the closure of the next operator, from [`Lines::with`].
pub struct LinesWith<E: Env> {
    rdd: Rdd<LineBlock>,
    env: Arc<E>,
}

impl Lines {
    pub(crate) fn new(rdd: Rdd<LineBlock>) -> Self {
        Lines { rdd }
    }

    /// Passes `env` to the closure of the next operator, as [`Rdd::with`] does.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "INFO up\nERROR disk\nWARN slow\n").unwrap();
    /// let level = "WARN".to_owned();
    /// let warnings = sc.text_lines(&path)?.with(level).filter(|level, line| line.starts_with(level.as_str()));
    /// assert_eq!(warnings.to_strings().collect()?, ["WARN slow"]);
    /// # Ok(()) }
    /// ```
    pub fn with<E: Env>(&self, env: E) -> LinesWith<E> {
        LinesWith { rdd: self.rdd.clone(), env: Arc::new(env) }
    }

    /// Number of partitions. Spark: `getNumPartitions`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "INFO up\nERROR disk\nWARN slow\n").unwrap();
    /// let lines = sc.partitioned(3).text_lines(&path)?;
    /// assert_eq!((lines.num_partitions(), lines.count()?), (3, 3));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getNumPartitions")]
    pub fn num_partitions(&self) -> u32 {
        self.rdd.num_partitions()
    }

    /// Each line as a String.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "INFO up\nERROR disk\n").unwrap();
    /// let errors = sc.text_lines(&path)?.filter(|line| line.starts_with("ERROR"));
    /// assert_eq!(errors.to_strings().first()?, "ERROR disk");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn to_strings(&self) -> Rdd<String> {
        self.rdd.pipe("text_file", false, &Arc::new(()), Strings)
    }

    /// How many lines there are.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "INFO up\nERROR disk\n").unwrap();
    /// assert_eq!(sc.text_lines(&path)?.count()?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the job fails.
    #[track_caller]
    pub fn count(&self) -> Result<u64> {
        let part = over(|_: &(), mut input: Stream<LineBlock>, _| count_lines(&mut input));
        let parts: Vec<u64> = self.rdd.run_all("count", &(), part)?;
        Ok(parts.into_iter().sum())
    }
}

operators! {
    on [Lines] [LinesWith<E>];

    /// Keeps the lines for which `f` is true.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "INFO up\nERROR disk\nERROR net\n").unwrap();
    /// assert_eq!(sc.text_lines(&path)?.filter(|line| line.starts_with("ERROR")).count()?, 2);
    /// # Ok(()) }
    /// ```
    fn filter[]() { f: F(line: &str) -> bool } -> Lines = |rdd, env| {
        Lines::new(rdd.pipe("filter", false, env, FilterLines(f, PhantomData)))
    };

    /// What `f` makes of each line.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("prices").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "tea;9.5\nsalt;2\n").unwrap();
    /// let prices = sc.text_lines(&path)?.map_to(|line| line.rsplit(';').next().and_then(|price| price.parse::<f64>().ok()));
    /// assert_eq!(prices.collect()?, [Some(9.5), Some(2.0)]);
    /// # Ok(()) }
    /// ```
    fn map_to[U: Data,]() { f: F(line: &str) -> U } -> Rdd<U> = |rdd, env| {
        let f = move |env: &E, line: &str, out: &mut Emitter<U>| out.emit(f(env, line));
        rdd.pipe("map_to", false, env, EmitLines(f, PhantomData))
    };

    /// All that `f` emits for each line. The results of one line are together in memory.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("play").to_str().unwrap().to_owned();
    /// use firesteel::Str;
    ///
    /// std::fs::write(&path, "to be or\nnot to be\n").unwrap();
    /// let lines = sc.text_lines(&path)?;
    /// let words = lines.flat_map_to(|line, words| line.split(' ').for_each(|word| words.emit(Str::from(word))));
    /// assert_eq!(words.count_by_value()?["to"], 2);
    /// # Ok(()) }
    /// ```
    fn flat_map_to[U: Data,]() { f: F(line: &str, emit: &mut Emitter<U>) -> () } -> Rdd<U> = |rdd, env| {
        rdd.pipe("flat_map_to", false, env, EmitLines(f, PhantomData))
    };
}

struct FilterLines<E, F>(F, PhantomData<fn(E)>);

copy_as_functions!(FilterLines<E; F>);

impl<E: Env, F: Fn(&E, &str) -> bool + Copy + Send + Sync + 'static> PipeOp for FilterLines<E, F> {
    type In = LineBlock;
    type Out = LineBlock;
    type Env = E;

    fn run(
        self,
        env: &Arc<E>,
        _: u32,
        input: Stream<LineBlock>,
        _: &Arc<TaskContext>,
    ) -> Result<Stream<LineBlock>, TaskError> {
        let (f, env) = (self.0, env.clone());
        Ok(PerChunk::stream(input, move |chunk| {
            let mut blocks = chunk.into_vec();
            blocks.iter_mut().for_each(|block| block.retain(|line| f(&env, line)));
            Ok(blocks)
        }))
    }
}

/// How many lines the blocks of `input` have.
fn count_lines(input: &mut Stream<LineBlock>) -> Result<u64, TaskError> {
    let mut n = 0;
    while let Some(chunk) = input.next_chunk()? {
        n += chunk.as_slice().iter().map(|block| block.count() as u64).sum::<u64>();
    }
    Ok(n)
}

/// Each line as a String.
#[derive(Clone, Copy)]
struct Strings;

impl PipeOp for Strings {
    type In = LineBlock;
    type Out = String;
    type Env = ();

    fn run(
        self,
        _: &Arc<()>,
        _: u32,
        input: Stream<LineBlock>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<String>, TaskError> {
        let emit = |line: &str, out: &mut Emitter<String>| out.emit(line.to_owned());
        Ok(Box::new(EmittedStrings(Emitted::new(input, emit, ctx))))
    }
}

/// The lines as they are, so that to count them none need be made.
struct EmittedStrings<F>(Emitted<F>);

impl<F: Fn(&str, &mut Emitter<String>)> ChunkStream<String> for EmittedStrings<F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<String>>, TaskError> {
        self.0.next_chunk()
    }

    fn count(&mut self) -> Result<u64, TaskError> {
        let Emitted { input, blocks, current, .. } = &mut self.0;
        let mut n = blocks.map(|block| block.count() as u64).sum::<u64>() + count_lines(input)?;
        if let Some((mut block, at)) = current.take() {
            block.lines_from(at, |_| {
                n += 1;
                true
            });
        }
        Ok(n)
    }
}

struct EmitLines<U, E, F>(F, PhantomData<fn(E) -> U>);

copy_as_functions!(EmitLines<U, E; F>);

impl<U: Data, E: Env, F> PipeOp for EmitLines<U, E, F>
where
    F: Fn(&E, &str, &mut Emitter<U>) + Copy + Send + Sync + 'static,
{
    type In = LineBlock;
    type Out = U;
    type Env = E;

    fn run(
        self,
        env: &Arc<E>,
        _: u32,
        input: Stream<LineBlock>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<U>, TaskError> {
        let (f, env) = (self.0, env.clone());
        Ok(Box::new(Emitted::new(input, move |line: &str, out: &mut Emitter<U>| f(&env, line, out), ctx)))
    }
}

/// What a closure emits for the lines of a partition, in chunks of about a thousand elements or a megabyte.
struct Emitted<F> {
    input: Stream<LineBlock>,
    blocks: std::vec::IntoIter<LineBlock>,
    /// A block, and the place of its next line.
    current: Option<(LineBlock, usize)>,
    filling: Filling,
    emit: F,
    ctx: Arc<TaskContext>,
}

impl<F> Emitted<F> {
    fn new(input: Stream<LineBlock>, emit: F, ctx: &Arc<TaskContext>) -> Self {
        let (blocks, filling) = (Vec::new().into_iter(), Filling::default());
        Emitted { input, blocks, current: None, filling, emit, ctx: ctx.clone() }
    }
}

impl<U: Data, F: Fn(&str, &mut Emitter<U>)> ChunkStream<U> for Emitted<F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<U>>, TaskError> {
        self.ctx.kill().check()?;
        self.filling.begin();
        let (mut out, mut full) = (Emitter::for_a_chunk(&self.filling), false);
        while !full {
            if let Some((block, at)) = &mut self.current {
                let next = block.lines_from(*at, |line| {
                    let before = out.len();
                    (self.emit)(line, &mut out);
                    full = out.is_full(before, &mut self.filling);
                    !full
                });
                match next {
                    Some(next) => *at = next,
                    None => self.current = None,
                }
            } else if let Some(block) = self.blocks.next() {
                self.current = Some((block, 0));
            } else {
                match self.input.next_chunk()? {
                    Some(chunk) => self.blocks = chunk.into_vec().into_iter(),
                    None => break,
                }
            }
        }
        Ok(out.into_chunk())
    }
}
