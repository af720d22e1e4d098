//! lnav reads what the command prints, with the format of `docs/linering.lnav.json`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use linering::{Level, LineRing, Options, Timestamps};

use crate::common::{err, folder, linering, out, text};

/// What lnav prints, with a home of its own.
fn lnav(home: &Path, args: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60", "lnav"]).args(args).stdin(Stdio::null());
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME");
    let output = command.output().expect("timeout, of coreutils: install it");
    let is_there = output.status.code() != Some(127);
    assert!(is_there, "lnav reads the command's lines here: install the package lnav");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    out(&output)
}

#[test]
fn lnav_knows_lines_as_json_and_as_text() {
    let folder = folder();
    let place = folder.path();
    let path = place.join("ring");
    let options = Options::new().timestamps(Timestamps::Coarse);
    let ring = LineRing::create_file(&path, options).expect("a ring");
    let mut web = ring.mirror_labelled("web").expect("a mirror");
    web.write_line(b"it starts").expect("room");
    web.set_level(Level::Warn).write_line(b"slow, \"very\"").expect("room");
    ring.mirror().expect("a mirror").send_error_text("failed\nbadly\n").expect("room");
    let format = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/linering.lnav.json");
    lnav(place, &["-i", text(&format)]);
    for (form, table, columns, expected) in [
        (
            "json",
            "linering_log",
            "log_level, label, worker, position, log_body",
            "warning,web,<NULL>,1,\"slow, \"\"very\"\"\"\nerror,<NULL>,1,2,\"failed\nbadly\n\"\n",
        ),
        (
            "short",
            "linering_text",
            "worker, log_body",
            "web,\"slow, \"\"very\"\"\"\n1,failed\n1,badly\n",
        ),
    ] {
        let printed = linering(&["cat", "-o", form, text(&path)]).output().expect("it starts");
        let log = place.join(format!("{form}.log"));
        fs::write(&log, &printed.stdout).expect("a file");
        let query = format!(";SELECT {columns} FROM {table} WHERE log_line > 0");
        let args = ["-n", "-c", &query, "-c", ":write-csv-to -", text(&log)];
        let shown = lnav(place, &args);
        let rows = shown.split_once('\n').expect("a title").1;
        assert_eq!(rows, expected, "{shown}\nof\n{}", out(&printed));
    }
}
