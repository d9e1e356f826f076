//! `fairscheduler.xml`: the pools that jobs get their slots from under `spark.scheduler.mode=FAIR`.

use std::path::{Path, PathBuf};

use firesteel_common::conf::{Conf, Environment, keys};
use firesteel_scheduler::{PoolConfig, SchedulingMode};

use crate::{Error, Result, setting::get};

/// The pools of `spark.scheduler.allocation.file`, or of `fairscheduler.xml` in the configuration directory if it is there.
pub(crate) fn read(conf: &Conf) -> Result<Vec<PoolConfig>> {
    let named = get(conf, &keys::SCHEDULER_ALLOCATION_FILE)?.map(PathBuf::from);
    let path = match named {
        Some(path) => path,
        None => match default_file(&Environment::of_process()).filter(|path| path.exists()) {
            Some(path) => path,
            None => return Ok(Vec::new()),
        },
    };
    let failed = |e: String| Error::Start(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| failed(format!("cannot read the pools: {e}")))?;
    parse(&text).map_err(failed)
}

fn default_file(environment: &Environment) -> Option<PathBuf> {
    let dir = environment.get("SPARK_CONF_DIR").map(PathBuf::from);
    let dir = dir.or_else(|| environment.get("SPARK_HOME").map(|home| Path::new(home).join("conf")))?;
    Some(dir.join("fairscheduler.xml"))
}

/// The pools of a document; the error says what is wrong and where.
fn parse(text: &str) -> std::result::Result<Vec<PoolConfig>, String> {
    let document = roxmltree::Document::parse(text).map_err(|e| format!("not well formed at {}: {e}", e.pos()))?;
    let mut pools: Vec<PoolConfig> = Vec::new();
    for node in document.root_element().children().filter(|n| n.has_tag_name("pool")) {
        let at = |e: &str| format!("pool at line {}: {e}", document.text_pos_at(node.range().start).row);
        let name = node.attribute("name").map(str::trim).filter(|name| !name.is_empty());
        let mut pool = PoolConfig::named(name.ok_or_else(|| at("write its name as <pool name=\"..\">"))?);
        if pools.iter().any(|p| p.name == pool.name) {
            return Err(at(&format!("{} is declared twice", pool.name)));
        }
        for child in node.children().filter(roxmltree::Node::is_element) {
            let value = child.text().unwrap_or_default().trim();
            let number = || value.parse::<u32>().map_err(|_| at(&format!("{value:?} is no whole number")));
            match child.tag_name().name() {
                "schedulingMode" if value.eq_ignore_ascii_case("fifo") => pool.mode = SchedulingMode::Fifo,
                "schedulingMode" if value.eq_ignore_ascii_case("fair") => pool.mode = SchedulingMode::Fair,
                "schedulingMode" => return Err(at(&format!("schedulingMode is FIFO or FAIR, not {value:?}"))),
                "minShare" => pool.min_share = number()?,
                "weight" => match number()? {
                    0 => return Err(at("weight must be at least 1")),
                    weight => pool.weight = weight,
                },
                // As Spark does, what is not known is left alone.
                _ => {}
            }
        }
        pools.push(pool);
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_read() {
        let pools = parse(include_str!("../../../conf/fairscheduler.xml.template")).unwrap();
        let expected = [
            PoolConfig { name: "production".to_owned(), mode: SchedulingMode::Fair, weight: 3, min_share: 2 },
            PoolConfig { name: "reports".to_owned(), mode: SchedulingMode::Fifo, weight: 1, min_share: 0 },
        ];
        assert_eq!(pools, expected);
    }

    #[test]
    fn line_ends_and_the_mark_of_windows_change_nothing() {
        let template = include_str!("../../../conf/fairscheduler.xml.template");
        let windows = format!("\u{feff}{}", template.replace('\n', "\r\n"));
        assert_eq!(parse(&windows), parse(template));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, part) in [
            ("<allocations>\n<pool><weight>1</weight></pool></allocations>", "line 2: write its name"),
            ("<allocations><pool name='a'><weight>x</weight></pool></allocations>", "\"x\" is no whole number"),
            ("<allocations><pool name='a'><weight>0</weight></pool></allocations>", "at least 1"),
            ("<allocations><pool name='a'><schedulingMode>LIFO</schedulingMode></pool></allocations>", "FIFO or FAIR"),
            ("<allocations><pool name='a'/><pool name='a'/></allocations>", "declared twice"),
            ("<allocations><pool", "1:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(parse("<allocations/>").unwrap(), []);
        assert_eq!(
            parse("<allocations><pool name='p'><other/></pool></allocations>").unwrap(),
            [PoolConfig::named("p")]
        );
    }

    #[test]
    fn a_named_file_must_be_there() {
        let mut conf = Conf::new();
        conf.set("spark.scheduler.allocation.file", "/no/such/file.xml");
        assert!(read(&conf).unwrap_err().to_string().contains("/no/such/file.xml"));
    }
}
