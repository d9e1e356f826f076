//! Options of `spark-submit` that have no meaning here: accepted, so that scripts keep working, with a line that says what
//! applies instead.

use clap::Args;

macro_rules! options {
    ($($(#[$attribute:meta])* $field:ident = $option:literal: $instead:literal;)+) => {
        /// What Spark takes and Firesteel has no use for.
        #[derive(Args, Debug, Default)]
        pub(crate) struct SparkOptions {
            $(#[arg(long = $option, hide = true)] $field: Option<String>,)+
            /// Restarts a failed driver in cluster mode.
            #[arg(long, hide = true)]
            supervise: bool,
        }

        impl SparkOptions {
            /// A line for each that was given.
            pub(crate) fn remarks(&self) -> Vec<String> {
                let mut lines = Vec::new();
                $(if let Some(value) = &self.$field {
                    lines.push(format!("--{} {value}: {}", $option, $instead));
                })+
                if self.supervise {
                    lines.push("--supervise: has no effect in client mode".to_owned());
                }
                lines
            }
        }
    };
}

options! {
    class = "class": "has no effect, an application is a program with a main of its own; give its path";
    jars = "jars": "has no effect, a program carries its libraries; add them to its Cargo.toml";
    packages = "packages": "has no effect, a program carries its libraries; add them to its Cargo.toml";
    exclude_packages = "exclude-packages": "has no effect, a program carries its libraries";
    repositories = "repositories": "has no effect, a program carries its libraries";
    py_files = "py-files": "has no effect, applications are Rust programs";
    files = "files": "has no effect; pass what tasks need with .with(env), or read it where every host finds it";
    archives = "archives": "has no effect; pass what tasks need with .with(env), or read it where every host finds it";
    driver_java_options = "driver-java-options": "has no effect, there is no JVM";
    driver_class_path = "driver-class-path": "has no effect, there is no JVM";
    driver_library_path = "driver-library-path": "has no effect; set LD_LIBRARY_PATH for the program";
    driver_cores = "driver-cores": "has no effect in client mode";
    num_executors = "num-executors": "has no effect on this kind of cluster; use --total-executor-cores and --executor-cores";
    queue = "queue": "has no effect on this kind of cluster";
    proxy_user = "proxy-user": "has no effect, the application runs as the user who submits it";
    principal = "principal": "has no effect, there is no Kerberos";
    keytab = "keytab": "has no effect, there is no Kerberos";
}
