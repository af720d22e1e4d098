//! Mounts each file system freshly, below a folder of the test's own.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::yield_now;

/// Runs a program to its end; its words if it fails.
pub(super) fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn new_folder(path: PathBuf) -> Result<PathBuf, String> {
    fs::create_dir(&path).map_err(|error| error.to_string())?;
    Ok(path)
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A folder on the file system, and what of the layer below it is the same folder.
pub(super) fn mounted(
    kind: &str,
    disk: &str,
    scratch: &Path,
) -> Result<(PathBuf, Option<PathBuf>), String> {
    // Images and all are in memory, and gone with the namespace.
    run("mount", &["-t", "tmpfs", "-o", "size=512m", "none", text(scratch)])?;
    let base = new_folder(scratch.join("disk"))?;
    mount_disk(disk, scratch, &base)?;
    if kind.is_empty() {
        return Ok((base, None));
    }
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| new_folder(base.join(name)));
    let (lower, upper, work) = (lower?, upper?, work?);
    let top = new_folder(scratch.join("top"))?;
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
    match kind {
        "overlay" => run("mount", &["-t", "overlay", "-o", &layers, "none", text(&top)])?,
        "fuse-overlayfs" => run("fuse-overlayfs", &["-o", &layers, text(&top)])?,
        "bindfs" => run("bindfs", &[text(&upper), text(&top)])?,
        "sshfs" => mount_sshfs(&upper, &top)?,
        other => return Err(format!("{other}: not known")),
    }
    await_mount(&top, &base)?;
    Ok((top, Some(upper)))
}

fn mount_disk(disk: &str, scratch: &Path, base: &Path) -> Result<(), String> {
    // The smallest that mkfs makes; all are sparse.
    let megabytes = match disk {
        "tmpfs" => return run("mount", &["-t", "tmpfs", "-o", "size=24m", "none", text(base)]),
        "xfs" => 300,
        "btrfs" => 128,
        _ => 24,
    };
    let image = scratch.join("image");
    let file = File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
    drop(file);
    let force = if disk.starts_with("ext") { "-F" } else { "-f" };
    run(&format!("mkfs.{disk}"), &["-q", force, text(&image)])?;
    run("mount", &["-t", disk, "-o", "loop", text(&image), text(base)])
}

/// Without a server that others could reach: `sshfs` talks to the file server through a pair of
/// sockets.
fn mount_sshfs(from: &Path, to: &Path) -> Result<(), String> {
    let places = [
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
    ];
    let server = places.into_iter().find(|place| Path::new(place).exists());
    let server = server.ok_or("there is no sftp-server")?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let ends = |socket: UnixStream| {
        let socket = OwnedFd::from(socket);
        socket.try_clone().map(|other| (Stdio::from(socket), Stdio::from(other)))
    };
    let remote = format!(":{}", text(from));
    for (socket, program, args) in [
        (theirs, server, vec!["-e"]),
        (ours, "sshfs", vec!["-f", "-o", "passive", remote.as_str(), text(to)]),
    ] {
        let (input, output) = ends(socket).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(args).stdin(input).stdout(output).stderr(Stdio::null());
        command.spawn().map_err(|error| format!("{program}: {error}"))?;
    }
    Ok(())
}

/// Until another file system is there than below; the process's alarm is the limit.
fn await_mount(top: &Path, base: &Path) -> Result<(), String> {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev());
    let scratch = device(top.parent().expect("scratch")).map_err(|error| error.to_string())?;
    let base = device(base).map_err(|error| error.to_string())?;
    for _ in 0..100_000 {
        match device(top) {
            // A file system in user space may show the numbers of the one below it.
            Ok(found) if found != scratch || base == scratch => return Ok(()),
            _ => yield_now(),
        }
    }
    Err("nothing was mounted".to_owned())
}
