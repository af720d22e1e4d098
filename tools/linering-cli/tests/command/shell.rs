//! `linering completions` and `linering man`: what a shell completes, and manual pages.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{err, folder, linering, out, text};

/// What the command prints, which works.
fn printed(args: &[&str]) -> String {
    let output = linering(args).output().expect("it starts");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    out(&output)
}

/// What bash suggests for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        eval "$(cat)"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        $(complete -p linering | sed 's/.*-F \([^ ]*\) .*/\1/') linering "${!#}" "${@:$#-1:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).args(words);
    bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bash = bash.spawn().expect("bash, which the completions are for: install it");
    let mut input = bash.stdin.take().expect("a pipe");
    input.write_all(printed(&["completions", "bash"]).as_bytes()).expect("it reads");
    drop(input);
    let output = bash.wait_with_output().expect("a child");
    assert_eq!(err(&output), "");
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_subcommands_options_and_values() {
    assert_eq!(completed(&["linering", "ta"]), ["tail"]);
    assert_eq!(completed(&["linering", "comp"]), ["completions"]);
    assert_eq!(completed(&["linering", "tail", "--foll"]), ["--follow", "--follow-name"]);
    assert_eq!(completed(&["linering", "stat", "-o", "pro"]), ["prometheus"]);
    assert_eq!(completed(&["linering", "completions", "fi"]), ["fish"]);
}

#[test]
fn other_shells_have_theirs_and_an_unknown_one_is_refused() {
    for (shell, sign) in [("zsh", "#compdef linering"), ("fish", "complete -c linering")] {
        assert!(printed(&["completions", shell]).contains(sign), "{shell}");
    }
    let output = linering(&["completions", "sh"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("possible values: bash"), "{}", err(&output));
}

/// A page as a terminal of 78 columns shows it, without bold.
fn formatted(page: &str) -> String {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-P-cbou", "-rLL=78n"]);
    groff.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut groff = groff.spawn().expect("groff, which formats manual pages: install groff-base");
    groff.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = groff.wait_with_output().expect("a child");
    assert_eq!(err(&output), "", "it warns of nothing");
    out(&output)
}

#[test]
fn each_subcommand_has_a_page_with_its_options_examples_and_exit_codes() {
    let folder = folder();
    let into = folder.path().join("share/man1");
    assert_eq!(printed(&["man", "--into", text(&into)]), "");
    let mut pages: Vec<String> = fs::read_dir(&into)
        .expect("a folder")
        .map(|page| page.expect("a page").file_name().into_string().expect("UTF-8"))
        .collect();
    pages.sort();
    let help = printed(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let mut expected: Vec<_> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help" && help.contains(&format!("\n  {name} ")))
        .map(|name| format!("linering-{name}.1"))
        .collect();
    expected.push("linering.1".to_owned());
    expected.sort();
    assert_eq!(pages, expected);
    for page in pages {
        let shown = formatted(&fs::read_to_string(into.join(&page)).expect("a page"));
        let name = page.strip_suffix(".1").expect("its section");
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("NAME {name} - ")), "{shown}");
        assert!(shown.contains("\nEXIT STATUS\n"), "{shown}");
        if let Some(subcommand) = name.strip_prefix("linering-") {
            assert!(shown.contains("\nEXAMPLES\n"), "{shown}");
            assert!(shown.contains(&format!("\n       linering {subcommand}")), "{shown}");
            assert_eq!(fs::read_to_string(into.join(&page)).ok(), {
                Some(printed(&["man", subcommand]))
            });
        }
    }
    let shown = formatted(&printed(&["man", "tail"]));
    assert!(shown.contains("--follow-name"), "{shown}");
}

#[test]
fn a_page_of_nothing_is_refused() {
    let output = linering(&["man", "head"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let told = err(&output);
    assert!(told.starts_with("linering: found head, which is no subcommand, expected"), "{told}");
}
