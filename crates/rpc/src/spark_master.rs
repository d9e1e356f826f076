//! What `spark.master` says: where an application gets its executors. Read by the library and by `firesteel-submit`.

use std::str::FromStr;

use crate::MasterUrl;

/// A parsed `spark.master`.
#[derive(Clone, PartialEq, Eq, Debug)]
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
        /// Number of workers.
        workers: u32,
        /// Cores of each worker.
        cores: u32,
        /// Memory of each worker, MiB.
        memory_mb: u64,
    },
    /// A cluster.
    Standalone(MasterUrl),
}

/// A form of `spark.master`.
struct Form {
    /// As errors show it.
    shape: &'static str,
    /// What a text of this form says, or what is wrong with it; None for a text of another form.
    parse: fn(&str) -> Option<Result<Master, String>>,
}

/// All forms: another cluster manager is another line.
const FORMS: [Form; 3] = [
    Form { shape: "local, local[N], local[*], local[N,F]", parse: local },
    Form { shape: "local-cluster[N,cores,MB]", parse: local_cluster },
    Form { shape: "spark://host:port", parse: standalone },
];

impl FromStr for Master {
    type Err = String;

    /// Parses `local`, `local[N]`, `local[*]`, `local[N,F]`, `local-cluster[N,cores,MB]` or `spark://host:port[,..]`; the
    /// error says what is wrong and what would be right.
    fn from_str(text: &str) -> Result<Master, String> {
        let expected = || format!("expected {}", FORMS.map(|form| form.shape).join(", "));
        FORMS.iter().find_map(|form| (form.parse)(text)).unwrap_or_else(|| Err(expected()))
    }
}

fn local(text: &str) -> Option<Result<Master, String>> {
    let arguments = if text == "local" { vec!["1"] } else { arguments(text, "local")? };
    let threads = |text: &str| match text {
        "*" => Ok(std::thread::available_parallelism().map_or(1, |n| n.get() as u32)),
        n => number("the number of threads", n),
    };
    Some(match *arguments {
        [n] => threads(n).map(|threads| Master::Local { threads, max_failures: 1 }),
        [n, f] => threads(n)
            .and_then(|threads| Ok(Master::Local { threads, max_failures: number("the number of failures", f)? })),
        _ => Err("local takes one or two numbers: local[N] or local[N,F]".to_owned()),
    })
}

fn local_cluster(text: &str) -> Option<Result<Master, String>> {
    let arguments = arguments(text, "local-cluster")?;
    let parse = || {
        let &[workers, cores, memory] = &*arguments else {
            return Err("local-cluster takes three numbers: local-cluster[N,cores,MB]".to_owned());
        };
        Ok(Master::LocalCluster {
            workers: number("the number of workers", workers)?,
            cores: number("the cores of a worker", cores)?,
            memory_mb: number("the memory of a worker in MiB", memory)?.into(),
        })
    };
    Some(parse())
}

fn standalone(text: &str) -> Option<Result<Master, String>> {
    text.starts_with("spark://").then(|| text.parse().map(Master::Standalone).map_err(|e| format!("{e}")))
}

/// The arguments of a text of the form `name[a,b]`.
fn arguments<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let arguments = text.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
    Some(arguments.split(',').map(str::trim).collect())
}

/// A number of at least 1.
fn number(what: &str, text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err(format!("{what} must be at least 1")),
        Ok(n) => Ok(n),
        Err(_) => Err(format!("{what} must be a whole number, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Master, String> {
        text.parse()
    }

    #[test]
    fn the_forms_of_spark_are_understood() {
        let local = |threads, max_failures| Master::Local { threads, max_failures };
        assert_eq!(parse("local").unwrap(), local(1, 1));
        assert_eq!(parse("local[3]").unwrap(), local(3, 1));
        assert_eq!(parse("local[2, 4]").unwrap(), local(2, 4));
        assert!(matches!(parse("local[*]").unwrap(), Master::Local { threads: 1.., max_failures: 1 }));
        assert_eq!(
            parse("local-cluster[2,1,512]").unwrap(),
            Master::LocalCluster { workers: 2, cores: 1, memory_mb: 512 }
        );
        assert!(matches!(parse("spark://h1:7077,h2:7077").unwrap(), Master::Standalone(_)));
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
            ("spark://", "spark://host:7077"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(part), "{text}: {e}");
        }
    }
}
