//! One side of the comparison, and its applications.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use firesteel_bench::Outcome;

use crate::processes::{MemoryWatch, with_descendants};

/// A cluster, or the hand-written program.
pub struct Side {
    /// Its name.
    pub name: &'static str,
    program: PathBuf,
    daemons: Option<Vec<u32>>,
}

impl Side {
    /// A cluster that runs: `dir` has the program `submit` and the file `pids`.
    pub fn cluster(name: &'static str, dir: &Path) -> Outcome<Side> {
        let pids = dir.join("pids");
        let text = std::fs::read_to_string(&pids).map_err(|e| format!("{}: {e}", pids.display()))?;
        let daemons = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Side { name, program: dir.join("submit"), daemons: Some(daemons) })
    }

    /// A program without a cluster.
    pub fn program(name: &'static str, program: String) -> Side {
        Side { name, program: program.into(), daemons: None }
    }

    /// Whether it is the hand-written program.
    pub fn is_plain(&self) -> bool {
        self.daemons.is_none()
    }

    /// Starts an application and waits until it is ready.
    pub fn start(&self, work: &str, args: &[String], logs: &Path) -> Outcome<App> {
        let mut app = self.spawn(work, args, logs)?;
        app.read("ready")?;
        Ok(app)
    }

    /// Seconds from the start of an application to its end, with one repetition; and its answer.
    pub fn once(&self, work: &str, logs: &Path) -> Outcome<(f64, String)> {
        let start = Instant::now();
        let mut app = self.spawn(work, &[], logs)?;
        let (_, answer) = app.repeat()?;
        app.end()?;
        Ok((start.elapsed().as_secs_f64(), answer))
    }

    fn spawn(&self, work: &str, args: &[String], logs: &Path) -> Outcome<App> {
        let log = logs.join(format!("{}-{work}.log", self.name));
        let mut child = Command::new(&self.program)
            .arg(work)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?)
            .spawn()
            .map_err(|e| format!("{}: {e}", self.program.display()))?;
        let name = format!("{} {work}", self.name);
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name} has no standard streams").into());
        };
        let daemons = self.daemons.clone().unwrap_or_default();
        Ok(App { name, child, input: Some(input), output: BufReader::new(output), daemons, log })
    }
}

/// An application that runs.
pub struct App {
    name: String,
    child: Child,
    /// None once the application has been told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    daemons: Vec<u32>,
    log: PathBuf,
}

impl App {
    /// Does the work once: seconds and answer.
    pub fn repeat(&mut self) -> Outcome<(f64, String)> {
        if let Some(input) = &mut self.input {
            writeln!(input, "run").and_then(|()| input.flush()).map_err(|e| format!("{}: {e}", self.failed()))?;
        }
        let rest = self.read("result ")?;
        let (seconds, answer) = rest.split_once(' ').ok_or_else(|| format!("{}: no answer: {rest}", self.name))?;
        Ok((seconds.parse()?, answer.to_owned()))
    }

    /// The rest of the next line that begins with `word`.
    fn read(&mut self, word: &str) -> Outcome<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(self.failed().into());
            }
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim_end().to_owned());
            }
        }
    }

    fn failed(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("{} ended before its time; {} ends with\n{end}", self.name, self.log.display())
    }

    /// All processes that are there for it: daemons, driver, executors.
    pub fn processes(&self) -> Outcome<Vec<u32>> {
        let mut roots = self.daemons.clone();
        roots.push(self.child.id());
        with_descendants(&roots)
    }

    /// Watches the memory of all its processes.
    pub fn watch_memory(&self) -> Outcome<MemoryWatch> {
        MemoryWatch::begin(self.processes()?)
    }

    /// Lets it end, and waits.
    pub fn end(mut self) -> Outcome<()> {
        self.input = None;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{}, {status}", self.failed()).into()) }
    }
}

impl Drop for App {
    /// After an error nothing of it stays; one that has ended is left alone.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may end by itself meanwhile, which is as good.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
