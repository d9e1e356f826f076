//! Which partitions of a parent an RDD's partition needs, where it needs few of them. Called by operators, which compute
//! by it, and by the schedulers, which look for data by it.

use std::{ops::Range, slice, sync::Arc};

use serde::{Deserialize, Serialize};

/// Which partitions of a parent a partition of the child is computed from. Spark: `NarrowDependency.getParents`.
///
/// A rule where there is one, so that it costs the same for any number of partitions; lists are shared, so that cloning
/// copies none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NarrowMap {
    /// Partition i from partition i. Spark: `OneToOneDependency`.
    OneToOne,
    /// Partition `out_start + i` from partition `in_start + i`, for i below `length`; the others need nothing of this
    /// parent (union). Spark: `RangeDependency`.
    Range {
        /// First partition of the parent.
        in_start: u32,
        /// First partition of the child.
        out_start: u32,
        /// How many.
        length: u32,
    },
    /// The parent's partitions in their order, dealt out in `children` runs of nearly equal length (coalesce).
    Runs {
        /// Partitions of the parent.
        parents: u32,
        /// Partitions of the child; 0 where the parent has none.
        children: u32,
    },
    /// Partition i from partition `i / divisor` (the left side of a cartesian product).
    Quotient {
        /// Partitions of the right side; at least 1 where the child has a partition.
        divisor: u32,
    },
    /// Partition i from partition `i % divisor` (the right side of a cartesian product).
    Remainder {
        /// Partitions of this parent; at least 1 where the child has a partition.
        divisor: u32,
    },
    /// Partition i from the i-th of these (a parent of which partitions are left out). Spark: `PruneDependency`.
    Selected(Arc<[u32]>),
    /// Partition i from the partitions of list i, in the list's order (coalesce by place).
    Groups(Arc<[Box<[u32]>]>),
}

impl NarrowMap {
    /// The lists as a map.
    pub fn groups(lists: impl IntoIterator<Item = Vec<u32>>) -> Self {
        NarrowMap::Groups(lists.into_iter().map(Vec::into_boxed_slice).collect())
    }

    /// The parent's partitions that the child's `partition` needs, in the order in which it reads them. A partition that
    /// the child does not have needs none.
    pub fn parents_of(&self, partition: u32) -> ParentPartitions<'_> {
        let one = |parent: Option<u32>| parent.map_or(0..0, |p| p..p.saturating_add(1));
        ParentPartitions(match self {
            NarrowMap::OneToOne => Partitions::Run(one(Some(partition))),
            NarrowMap::Range { in_start, out_start, length } => Partitions::Run(one(partition
                .checked_sub(*out_start)
                .filter(|i| i < length)
                .and_then(|i| in_start.checked_add(i)))),
            NarrowMap::Runs { parents, children } if partition < *children => {
                let at = |i: u32| (u64::from(i) * u64::from(*parents) / u64::from(*children)) as u32;
                Partitions::Run(at(partition)..at(partition + 1))
            }
            NarrowMap::Runs { .. } => Partitions::Run(0..0),
            NarrowMap::Quotient { divisor } => Partitions::Run(one(partition.checked_div(*divisor))),
            NarrowMap::Remainder { divisor } => Partitions::Run(one(partition.checked_rem(*divisor))),
            NarrowMap::Selected(of) => Partitions::Run(one(of.get(partition as usize).copied())),
            NarrowMap::Groups(lists) => {
                Partitions::List(lists.get(partition as usize).map(|list| &**list).unwrap_or_default().iter().copied())
            }
        })
    }

    /// Whether a child of `children` partitions asks a parent of `parents` partitions only for what it has.
    pub fn fits(&self, children: u32, parents: u32) -> bool {
        match self {
            NarrowMap::OneToOne => children <= parents,
            NarrowMap::Range { in_start, out_start, length } => {
                let asked = (*length).min(children.saturating_sub(*out_start));
                asked == 0 || in_start.checked_add(asked).is_some_and(|end| end <= parents)
            }
            NarrowMap::Runs { parents: of, children: into } => *of <= parents && children <= *into,
            NarrowMap::Quotient { divisor } => match children.checked_sub(1) {
                Some(last) => last.checked_div(*divisor).is_some_and(|p| p < parents),
                None => true,
            },
            NarrowMap::Remainder { divisor } => children == 0 || (*divisor > 0 && children.min(*divisor) <= parents),
            NarrowMap::Selected(of) => children as usize <= of.len() && of.iter().all(|p| *p < parents),
            NarrowMap::Groups(lists) => {
                children as usize <= lists.len() && lists.iter().all(|list| list.iter().all(|p| *p < parents))
            }
        }
    }
}

/// What [`NarrowMap::parents_of`] yields.
#[derive(Clone, Debug)]
pub struct ParentPartitions<'a>(Partitions<'a>);

#[derive(Clone, Debug)]
enum Partitions<'a> {
    Run(Range<u32>),
    List(std::iter::Copied<slice::Iter<'a, u32>>),
}

impl Iterator for ParentPartitions<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            Partitions::Run(run) => run.next(),
            Partitions::List(list) => list.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Partitions::Run(run) => run.size_hint(),
            Partitions::List(list) => list.size_hint(),
        }
    }
}

impl ExactSizeIterator for ParentPartitions<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec;

    fn parents(map: &NarrowMap, partition: u32) -> Vec<u32> {
        map.parents_of(partition).collect()
    }

    /// A map of any kind.
    fn any_map() -> impl Strategy<Value = NarrowMap> {
        let n = 0u32..12;
        let lists = prop::collection::vec(prop::collection::vec(0u32..12, 0..5), 0..12);
        prop_oneof![
            Just(NarrowMap::OneToOne),
            (n.clone(), n.clone(), n.clone()).prop_map(|(in_start, out_start, length)| NarrowMap::Range {
                in_start,
                out_start,
                length
            }),
            (n.clone(), n.clone()).prop_map(|(parents, children)| NarrowMap::Runs { parents, children }),
            n.clone().prop_map(|divisor| NarrowMap::Quotient { divisor }),
            n.clone().prop_map(|divisor| NarrowMap::Remainder { divisor }),
            prop::collection::vec(n, 0..12).prop_map(|of| NarrowMap::Selected(of.into())),
            lists.prop_map(NarrowMap::groups),
        ]
    }

    proptest! {
        #[test]
        fn a_map_that_fits_asks_for_nothing_that_the_parent_lacks(
            map in any_map(), children in 0u32..14, of in 0u32..14,
        ) {
            let asked: Vec<u32> = (0..children).flat_map(|p| parents(&map, p)).collect();
            if map.fits(children, of) {
                prop_assert!(asked.iter().all(|p| *p < of), "{:?} asks {:?} of {}", map, asked, of);
            } else {
                // It asks for too much, or has no rule for some of the partitions (of those that may be left over).
                let too_much = asked.iter().any(|p| *p >= of);
                let unused = match &map {
                    NarrowMap::Runs { parents, children: into } => *into < children || *parents > of,
                    NarrowMap::Selected(list) => list.len() < children as usize || list.iter().any(|p| *p >= of),
                    NarrowMap::Groups(l) => l.len() < children as usize || l.iter().flatten().any(|p| *p >= of),
                    NarrowMap::Quotient { divisor } | NarrowMap::Remainder { divisor } => *divisor == 0,
                    NarrowMap::OneToOne | NarrowMap::Range { .. } => false,
                };
                prop_assert!(too_much || unused, "{:?} asks {:?} of {}", map, asked, of);
            }
        }

        #[test]
        fn what_travels_is_the_same_map(map in any_map()) {
            let bytes = codec::encode(&map).unwrap();
            prop_assert_eq!(codec::decode::<NarrowMap>(&bytes).unwrap(), map);
        }

        #[test]
        fn the_length_is_told_before_the_partitions_are(map in any_map(), p in 0u32..14) {
            prop_assert_eq!(map.parents_of(p).len(), parents(&map, p).len());
        }

        #[test]
        fn runs_deal_out_each_partition_once_in_order_and_evenly(of in 0u32..5000, into in 1u32..300) {
            let map = NarrowMap::Runs { parents: of, children: into };
            let dealt: Vec<u32> = (0..into).flat_map(|p| parents(&map, p)).collect();
            prop_assert_eq!(dealt, (0..of).collect::<Vec<_>>());
            let lengths = || (0..into).map(|p| map.parents_of(p).len());
            prop_assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
        }

        #[test]
        fn a_union_takes_each_partition_of_each_parent_once(sizes in prop::collection::vec(0u32..9, 1..6)) {
            let starts = sizes.iter().scan(0, |end, n| Some((std::mem::replace(end, *end + n), *n)));
            let maps: Vec<_> =
                starts.map(|(out_start, length)| NarrowMap::Range { in_start: 0, out_start, length }).collect();
            let taken: Vec<(usize, u32)> = (0..sizes.iter().sum::<u32>())
                .flat_map(|p| maps.iter().enumerate().flat_map(move |(i, map)| map.parents_of(p).map(move |q| (i, q))))
                .collect();
            let all: Vec<(usize, u32)> =
                sizes.iter().enumerate().flat_map(|(i, n)| (0..*n).map(move |q| (i, q))).collect();
            prop_assert_eq!(taken, all);
        }

        #[test]
        fn a_product_pairs_each_left_partition_with_each_right_one_once(left in 0u32..20, right in 0u32..20) {
            let maps = (NarrowMap::Quotient { divisor: right }, NarrowMap::Remainder { divisor: right });
            let pairs: Vec<(u32, u32)> = (0..left * right)
                .map(|p| (parents(&maps.0, p), parents(&maps.1, p)))
                .map(|(l, r)| (l[0], r[0]))
                .collect();
            let all: Vec<(u32, u32)> = (0..left).flat_map(|l| (0..right).map(move |r| (l, r))).collect();
            prop_assert_eq!(pairs, all);
            prop_assert!(maps.0.fits(left * right, left) && maps.1.fits(left * right, right));
        }
    }

    #[test]
    fn partitions_of_large_numbers_and_those_that_are_not_there_need_nothing_wrong() {
        let most = u32::MAX;
        assert_eq!(parents(&NarrowMap::Runs { parents: most, children: most }, most - 1), [most - 1]);
        assert_eq!(parents(&NarrowMap::Range { in_start: most, out_start: 0, length: 2 }, 1), []);
        assert_eq!(parents(&NarrowMap::Runs { parents: 3, children: 2 }, 2), []);
        assert!(NarrowMap::Runs { parents: 0, children: 0 }.fits(0, 0));
        assert_eq!(parents(&NarrowMap::Selected([4, 2].into()), 1), [2]);
        assert_eq!(parents(&NarrowMap::Selected([4, 2].into()), 2), []);
        assert_eq!(parents(&NarrowMap::groups([vec![3, 1], vec![]]), 0), [3, 1]);
    }
}
