//! What `spark.master` says: where the application runs.

use firesteel_rpc::MasterUrl;

use crate::Error;

/// A parsed `spark.master`.
#[derive(Clone, PartialEq, Debug)]
pub enum Master {
    /// Tasks run on threads of this process.
    Local {
        /// How many at a time.
        threads: u32,
        /// `spark.task.maxFailures` of the form `local[N,F]`; 1 otherwise.
        max_failures: u32,
    },
    /// A master and workers in this process, executors as processes of their own, all on this host.
    LocalCluster {
        /// Workers.
        workers: u32,
        /// Cores of each.
        cores: u32,
        /// Memory of each, MiB.
        memory_mb: u64,
    },
    /// A cluster.
    Standalone(MasterUrl),
}

impl Master {
    /// Parses `local`, `local[N]`, `local[*]`, `local[N,F]`, `local-cluster[N,cores,MB]` or `spark://host:port[,..]`.
    ///
    /// # Errors
    /// [`Error::Start`] with what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Master, Error> {
        let bad = |why: &str| Error::Start(format!("spark.master={text}: {why}"));
        if text.starts_with("spark://") {
            return text.parse().map(Master::Standalone).map_err(|e| bad(&format!("{e}")));
        }
        if text == "local" {
            return Ok(Master::Local { threads: 1, max_failures: 1 });
        }
        let (kind, args) =
            text.split_once('[').and_then(|(k, a)| Some((k, a.strip_suffix(']')?))).ok_or_else(|| {
                bad("expected local, local[N], local[*], local[N,F], local-cluster[N,cores,MB] or spark://host:port")
            })?;
        let args: Vec<&str> = args.split(',').map(str::trim).collect();
        let number = |what: &str, text: &str| match text.parse::<u32>() {
            Ok(0) => Err(bad(&format!("{what} must be at least 1"))),
            Ok(n) => Ok(n),
            Err(_) => Err(bad(&format!("{what} must be a whole number, not {text:?}"))),
        };
        let threads = |text: &str| match text {
            "*" => Ok(std::thread::available_parallelism().map_or(1, |n| n.get() as u32)),
            n => number("the number of threads", n),
        };
        match (kind, args.as_slice()) {
            ("local", [n]) => Ok(Master::Local { threads: threads(n)?, max_failures: 1 }),
            ("local", [n, f]) => {
                Ok(Master::Local { threads: threads(n)?, max_failures: number("the number of failures", f)? })
            }
            ("local-cluster", [workers, cores, memory]) => Ok(Master::LocalCluster {
                workers: number("the number of workers", workers)?,
                cores: number("the cores of a worker", cores)?,
                memory_mb: number("the memory of a worker in MiB", memory)?.into(),
            }),
            ("local", _) => Err(bad("local takes one or two numbers: local[N] or local[N,F]")),
            ("local-cluster", _) => Err(bad("local-cluster takes three numbers: local-cluster[N,cores,MB]")),
            _ => Err(bad("the part before [ must be local or local-cluster")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_spark_are_understood() {
        let local = |threads, max_failures| Master::Local { threads, max_failures };
        assert_eq!(Master::parse("local").unwrap(), local(1, 1));
        assert_eq!(Master::parse("local[3]").unwrap(), local(3, 1));
        assert_eq!(Master::parse("local[2, 4]").unwrap(), local(2, 4));
        assert!(matches!(Master::parse("local[*]").unwrap(), Master::Local { threads: 1.., max_failures: 1 }));
        assert_eq!(
            Master::parse("local-cluster[2,1,512]").unwrap(),
            Master::LocalCluster { workers: 2, cores: 1, memory_mb: 512 }
        );
        assert!(matches!(Master::parse("spark://h1:7077,h2:7077").unwrap(), Master::Standalone(_)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("local[0]", "at least 1"),
            ("local[x]", "whole number"),
            ("local[1,2,3]", "one or two"),
            ("local-cluster[1,2]", "three numbers"),
            ("yarn", "expected local"),
            ("mesos[2]", "local-cluster"),
            ("spark://", "spark.master=spark://"),
        ] {
            let e = Master::parse(text).unwrap_err().to_string();
            assert!(e.contains(part) && e.contains(text), "{text}: {e}");
        }
    }
}
