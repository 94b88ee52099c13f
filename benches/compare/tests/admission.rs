//! The check that everyone syncs before it acknowledges: who does is admitted, who does not is found.

use std::path::Path;
use std::process::Command;

/// `None` without strace: nothing can be checked then.
fn said_of(contender: &str) -> Option<String> {
    Command::new("strace").arg("-V").output().ok()?;
    let tool = Path::new(env!("CARGO_BIN_EXE_stratalog-compare"));
    // Beside the tool, so that it is on a disk.
    let directory = tool.with_file_name("admission-test");
    let output = Command::new(tool).args(["child", "admit", contender]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn this_log_syncs_before_it_acknowledges() {
    if let Some(said) = said_of("stratalog") {
        assert_eq!(said, "admitted");
    }
}

#[test]
fn who_only_writes_is_found() {
    if let Some(said) = said_of("floor: a call per batch") {
        assert!(said.starts_with("100 of 100 appends returned without a sync"), "{said}");
    }
}
