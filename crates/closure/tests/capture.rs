//! A closure that captures a value is refused by the compiler, in words that say what to do.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use support::Profile;

mod support;

#[test]
fn a_capturing_closure_is_refused_at_its_line_with_advice() {
    let source = include_str!("fixtures/captures/src/main.rs");
    let line = 1 + source.lines().position(|l| l.contains("+ offset")).unwrap();
    let (output, _) = support::cargo_build("captures", Profile::Dev);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it was built");
    assert!(text.contains("pass what it needs with `.with(env)`"), "{text}");
    assert!(text.contains(&format!("captures/src/main.rs:{line}:")), "{text}");
    // The operator's own check reports first; the net beneath it, in `Func::new`, at most once more.
    let errors: Vec<&str> = text.split("error[E0080]").skip(1).collect();
    assert!(errors.len() <= 2 && errors[0].contains(&format!("captures/src/main.rs:{line}:")), "{text}");
}
