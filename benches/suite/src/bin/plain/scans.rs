//! Works without keys.

use firesteel_bench::{DIMENSIONS, Point};

use crate::{share, threads, threads_with};

pub fn points(n: u64) -> Vec<Vec<Point>> {
    threads(|t| share(n, t).map(Point::new).collect())
}

pub fn logistic(points: &[Vec<Point>], n: u64, iterations: u32) -> String {
    let mut weights = [0.0; DIMENSIONS];
    for _ in 0..iterations {
        let sums = threads_with(points.iter().collect(), |points: &Vec<Point>| {
            let mut sum = [0.0; DIMENSIONS];
            points.iter().for_each(|point| point.add_gradient(&weights, &mut sum));
            sum
        });
        for (d, weight) in weights.iter_mut().enumerate() {
            *weight -= 4.0 * sums.iter().map(|sum| sum[d]).sum::<f64>() / n as f64;
        }
    }
    format!("{:?} {:?} {:?} {:?}", weights[0], weights[1], weights[2], weights[3])
}

pub fn numbers(n: u64) -> Vec<Vec<u64>> {
    threads(|t| share(n, t).collect())
}

pub fn sum(numbers: &[Vec<u64>]) -> String {
    let sums = threads_with(numbers.iter().collect(), |numbers: &Vec<u64>| numbers.iter().sum::<u64>());
    sums.iter().sum::<u64>().to_string()
}

pub fn map_filter_reduce(n: u64) -> String {
    let sums = threads(|t| {
        // The bound is hidden from the compiler, which would otherwise be free to find a formula.
        std::hint::black_box(share(n, t)).map(|x| x * 3).filter(|x| x & 1 == 0).sum::<u64>()
    });
    sums.iter().sum::<u64>().to_string()
}
