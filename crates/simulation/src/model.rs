//! What jobs compute, as a model: small records with identities, so that a lost, doubled or mixed record shows.
//!
//! Used by the virtual cluster and, by path, by the scheduler's own random test. Knows the schedulers' graph types only.
//!
//! A record is an identity and a salt. A source partition has three records; a shuffle sends a record to the reducer
//! that identity and salt name; an RDD marked as indeterminate salts its records anew each time it is computed, and so does
//! one that is unstable, of which nobody tells the schedulers. So output that is mixed from two editions loses or doubles
//! records.

use std::collections::BTreeMap;

use firesteel_common::{DeterministicLevel, NarrowMap, RddId, ShuffleId, TaskFailure};
use firesteel_scheduler::{GraphDep, GraphNode, JobGraph, Replicated};

/// Identity and salt.
pub type Record = (u32, u32);

/// The operator of RDDs that give other records each time, unknown to the schedulers: user code that reads the clock.
pub const UNSTABLE: &str = "unstable";

/// Whether computing a partition twice gives other records.
pub fn salts(node: &GraphNode) -> bool {
    node.is_indeterminate() || node.operator == UNSTABLE
}

/// Of rows and where they go, whatever their order.
pub fn checksum(rows: impl Iterator<Item = (u32, Record)>) -> u64 {
    rows.map(|row| firesteel_common::hash::fixed_hash(&row)).fold(0, u64::wrapping_add)
}

/// A small generator of numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items, if there are any.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}

/// Where a task gets its input and leaves its cached partitions.
pub trait World {
    /// All records that the shuffle holds for a reducer.
    fn read(&mut self, shuffle: ShuffleId, reduce: u32) -> Result<Vec<Record>, TaskFailure>;
    /// A cached partition that is here.
    fn cached(&mut self, rdd: RddId, partition: u32) -> Option<Vec<Record>>;
    /// A partition of a cached RDD was computed here.
    fn store(&mut self, rdd: RddId, partition: u32, records: &[Record]);
    /// A new salt.
    fn salt(&mut self) -> u32;
}

/// Computes one partition as a task does.
pub fn compute(
    graph: &JobGraph,
    node: usize,
    partition: u32,
    world: &mut dyn World,
) -> Result<Vec<Record>, TaskFailure> {
    let n = &graph.nodes[node];
    if n.cached
        && let Some(records) = world.cached(n.rdd, partition)
    {
        return Ok(records);
    }
    let mut records = Vec::new();
    if n.deps.is_empty() {
        records.extend((0..3).map(|k| (n.rdd.0 * 1000 + partition * 10 + k, 0)));
    }
    for dep in &n.deps {
        match dep {
            GraphDep::Shuffle { shuffle, .. } => records.extend(world.read(*shuffle, partition)?),
            GraphDep::Narrow { parent, partitions } => {
                for p in partitions.parents_of(partition) {
                    records.extend(compute(graph, *parent, p, world)?);
                }
            }
        }
    }
    if salts(n) {
        let salt = world.salt();
        records.iter_mut().for_each(|r| r.1 = r.1.wrapping_add(salt).wrapping_add(r.0));
    }
    records.sort_unstable();
    if n.cached {
        world.store(n.rdd, partition, &records);
    }
    Ok(records)
}

/// The reducer that a record goes to.
pub fn reducer(record: Record, reducers: u32) -> u32 {
    (record.0.wrapping_mul(0x9e37_79b9).rotate_left(7).wrapping_add(record.1)) % reducers
}

/// A world in which nothing is ever lost: it computes parents on the spot.
struct Ideal<'a> {
    graph: &'a JobGraph,
}

impl World for Ideal<'_> {
    fn read(&mut self, shuffle: ShuffleId, reduce: u32) -> Result<Vec<Record>, TaskFailure> {
        let graph = self.graph;
        let edge = graph.nodes.iter().flat_map(|n| &n.deps).find_map(|d| match d {
            GraphDep::Shuffle { shuffle: s, parent, reducers } if *s == shuffle => Some((*parent, *reducers)),
            _ => None,
        });
        let mut records = Vec::new();
        if let Some((parent, reducers)) = edge {
            for p in 0..graph.nodes[parent].partitions {
                let all = compute(graph, parent, p, self)?;
                records.extend(all.into_iter().filter(|r| reducer(*r, reducers) == reduce));
            }
        }
        Ok(records)
    }

    fn cached(&mut self, _: RddId, _: u32) -> Option<Vec<Record>> {
        None
    }

    fn store(&mut self, _: RddId, _: u32, _: &[Record]) {}

    fn salt(&mut self) -> u32 {
        0
    }
}

/// What a partition of the root holds when all goes well.
pub fn expected(graph: &JobGraph, partition: u32) -> Vec<Record> {
    compute(graph, graph.root, partition, &mut Ideal { graph }).unwrap_or_default()
}

/// How often each identity occurs.
pub fn multiset<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for (id, _) in records {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

/// Compares a finished job's results, in the order of `partitions`, with the ideal ones.
pub fn check(graph: &JobGraph, partitions: &[u32], results: &[Vec<Record>]) -> Result<(), String> {
    let ideal: Vec<Vec<Record>> = partitions.iter().map(|p| expected(graph, *p)).collect();
    if graph.nodes.iter().any(salts) {
        let all = partitions.len() == graph.nodes[graph.root].partitions as usize;
        let (is, should) = (multiset(results.iter().flatten()), multiset(ideal.iter().flatten()));
        if all && is != should {
            return Err(format!("the records are {is:?} and should be {should:?}"));
        }
    } else if results != ideal {
        return Err(format!("the results are {results:?} and should be {ideal:?}"));
    }
    Ok(())
}

/// A program: an RDD graph from which jobs take prefixes, so that they share shuffles and cached RDDs.
/// Of those with few partitions some begin a barrier stage.
pub fn program(
    rng: &mut Rng,
    nodes: u32,
    indeterminate_percent: u64,
    unstable_percent: u64,
    barrier_percent: u64,
) -> Vec<GraphNode> {
    let mut program: Vec<GraphNode> = Vec::new();
    let mut shuffles = 0;
    for i in 0..nodes {
        // Some are so wide that tasks wait for slots.
        let partitions = if rng.chance(10) { 20 + rng.below(40) } else { 1 + rng.below(4) };
        let mut node = GraphNode { rdd: RddId(i), partitions: partitions as u32, ..GraphNode::default() };
        if i > 0 {
            derive(rng, &program, &mut node, &mut shuffles);
        }
        node.cached = rng.chance(25);
        // At executors of two hosts, if there are.
        node.replicated = (node.cached && rng.chance(50)).then_some(Replicated { copies: 2, level: 0 });
        if rng.chance(indeterminate_percent) {
            node.level = DeterministicLevel::Indeterminate;
        }
        if unstable_percent > 0 && rng.chance(unstable_percent) {
            node.operator = UNSTABLE;
        }
        node.barrier = barrier_percent > 0 && node.partitions <= 5 && rng.chance(barrier_percent);
        program.push(node);
    }
    program
}

fn derive(rng: &mut Rng, program: &[GraphNode], node: &mut GraphNode, shuffles: &mut u32) {
    let parent = |rng: &mut Rng| program.len() - 1 - rng.below(program.len().min(3) as u64) as usize;
    let (a, b) = (parent(rng), parent(rng));
    let (of_a, of_b) = (program[a].partitions, program[b].partitions);
    let mut shuffle = |parent, reducers| {
        *shuffles += 1;
        GraphDep::Shuffle { shuffle: ShuffleId(*shuffles), parent, reducers }
    };
    let range = |parent, out_start, length| GraphDep::Narrow {
        parent,
        partitions: NarrowMap::Range { in_start: 0, out_start, length },
    };
    match rng.below(10) {
        0..=3 => node.deps.push(shuffle(a, node.partitions)),
        4 => node.deps.extend([shuffle(a, node.partitions), shuffle(b, node.partitions)]),
        5..=6 => {
            node.partitions = of_a;
            node.deps.push(GraphDep::Narrow { parent: a, partitions: NarrowMap::OneToOne });
        }
        7 => {
            node.partitions = of_a + of_b;
            node.deps.extend([range(a, 0, of_a), range(b, of_a, of_b)]);
        }
        8 => {
            node.partitions = 1 + of_a / 2;
            let list = |i| (0..of_a).filter(|p| p % node.partitions == i).collect();
            let partitions = NarrowMap::groups((0..node.partitions).map(list));
            node.deps.push(GraphDep::Narrow { parent: a, partitions });
        }
        _ => {}
    }
}

/// The job's graph whose root is node `root` of the program.
pub fn job_graph(program: &[GraphNode], root: usize) -> JobGraph {
    JobGraph { nodes: program[..=root].to_vec(), root }
}

/// The index of the node that a stage computes.
pub fn node_of(graph: &JobGraph, rdd: RddId) -> usize {
    graph.nodes.iter().position(|n| n.rdd == rdd).unwrap_or(graph.root)
}
