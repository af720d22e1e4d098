//! A seat that is passed to a program by inheritance needs neither its maker, nor its user, nor its
//! numbers of processes.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use linering::{AttachError, End, Item, Level, LineRing, Options, Policy, Seat, SharedWriter};

use super::ring;
use crate::common::{fork, not_run};

/// What this program does where the tests below start it, with a seat; nothing without one.
#[test]
fn the_program() {
    let Some(seat) = Seat::from_env().expect("a seat") else { return };
    if std::env::var_os("LINERING_TEST_SHARED").is_some() {
        let writer = SharedWriter::from_env().expect("a seat").expect("there is one");
        writer.record(Level::Warn, "shared").expect("room");
        return;
    }
    let mut mirror = seat.open().expect("a mirror");
    mirror.write_all(b"from the program\n").expect("room");
    mirror.send_eof().expect("room");
}

fn program() -> Command {
    let mut program = Command::new(std::env::current_exe().expect("a path"));
    program.args(["--exact", "service::inherited::the_program", "--quiet"]).stdout(Stdio::null());
    program
}

/// The program's line and end, and nothing else.
fn says(ring: &LineRing, seat: &Seat) {
    let items: Vec<_> = ring.reader().expect("no other").map(|item| item.expect("ours")).collect();
    let [Item::Line(line), Item::Ended(ended)] = &items[..] else { panic!("{items:#?}") };
    assert_eq!((line.to_string().as_str(), &*line.label), ("from the program", "worker"));
    assert_eq!((line.writer_id, ended.writer_id), (seat.writer_id(), seat.writer_id()));
    assert_eq!(ended.end, End::Eof);
}

#[test]
fn a_program_opens_the_seat_that_was_passed_to_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let in_file = LineRing::create_file(path, Options::new()).expect("a ring");
    for ring in [ring(Policy::Block, 64), in_file] {
        let seat = ring.seat_labelled("worker").expect("a seat");
        let mut program = program();
        seat.pass_to(&mut program).expect("a descriptor");
        assert!(program.status().expect("it runs").success());
        says(&ring, &seat);
    }
}

#[test]
fn the_seat_opens_though_its_maker_is_gone_and_after_a_double_fork_and_exec() {
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    // The child ends at once, its child becomes the program.
    fork(|| {
        // SAFETY: as for `fork` here: the child makes system calls and takes another program's
        // place.
        match unsafe { libc::fork() } {
            0 => {
                let mut program = program();
                if seat.pass_to(&mut program).is_ok() {
                    let _ = program.exec();
                }
                2
            }
            -1 => 3,
            _ => 0,
        }
    })
    .succeeds();
    says(&ring, &seat);
}

#[test]
fn a_program_passes_the_seat_on_to_those_that_it_starts() {
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    let inner = program();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "\"$@\" & wait $!", "sh"]).arg(inner.get_program()).args(inner.get_args());
    seat.pass_to(shell.stdout(Stdio::null())).expect("a descriptor");
    assert!(shell.status().expect("it runs").success());
    says(&ring, &seat);
}

#[test]
fn a_program_of_another_user_opens_the_seat() {
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return not_run("to become another user");
    }
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    // Where every user may run it.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("program");
    // By another process: a child that is forked meanwhile would have the copy open for writing.
    let copied =
        Command::new("cp").arg(std::env::current_exe().expect("a path")).arg(&copy).status();
    assert!(copied.expect("it runs").success());
    for path in [folder.path(), &copy] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, permissions).expect("ours");
    }
    let mut program = Command::new(&copy);
    program.args(self::program().get_args()).stdout(Stdio::null()).current_dir("/");
    seat.pass_to(program.uid(65534).gid(65534)).expect("a descriptor");
    assert!(program.status().expect("it runs").success());
    says(&ring, &seat);
}

#[test]
fn a_shared_writer_takes_the_seat() {
    let ring = ring(Policy::Block, 64);
    let seat = ring.seat_labelled("worker").expect("a seat");
    let mut program = program();
    seat.pass_to(program.env("LINERING_TEST_SHARED", "1")).expect("a descriptor");
    assert!(program.status().expect("it runs").success());
    let items: Vec<_> = ring.reader().expect("no other").map(|item| item.expect("ours")).collect();
    let lines: Vec<_> = items.iter().filter_map(Item::line).collect();
    assert_eq!((lines.len(), lines[0].level), (1, Level::Warn));
    let ended = items.iter().filter_map(|item| match item {
        Item::Ended(ended) => Some((ended.writer_id, ended.end)),
        _ => None,
    });
    assert!(ended.into_iter().any(|ended| ended == (seat.writer_id(), End::Eof)), "{items:#?}");
}

#[test]
fn a_descriptor_that_is_no_ring_is_refused_with_a_sentence() {
    let seat = ring(Policy::Block, 64).seat().expect("a seat").to_string();
    let parts: Vec<&str> = seat.split(':').collect();
    let with = |descriptor: &str| format!("linering1:{}:self:{descriptor}:0:0", parts[1]);
    for number in ["-1", "0", "2", "1000000", "2147483647"] {
        let error = with(number).parse::<Seat>().expect_err("not a ring");
        assert!(matches!(error, AttachError::System(_)), "{error}");
        assert!(error.to_string().contains("inherited"), "{error}");
    }
    for text in ["x", "", "2147483648"] {
        let error = with(text).parse::<Seat>().expect_err("no number");
        assert!(matches!(error, AttachError::Seat { .. }), "{text}: {error}");
    }
}
