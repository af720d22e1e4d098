//! How much memory can be had: of the machine's, and of each control group's that this process is
//! in.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Refuses what there is no memory for, with what there is: allocating it would not fail, but end
/// this process or others.
pub(crate) fn check_memory(needed: u64) -> Result<(), (u64, u64)> {
    let groups = of_groups(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"), needed);
    match of_machine().into_iter().chain(groups).min() {
        Some(available) if available < needed => Err((needed, available)),
        _ => Ok(()),
    }
}

fn of_machine() -> Option<u64> {
    let info = read("/proc/meminfo");
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The files of one version of control groups.
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// Fields of `memory.stat`: pages of files, which make way.
    files: [&'static str; 2],
}

const FIRST: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_inactive_file ", "total_active_file "],
};
const SECOND: Version = Version {
    limit: "memory.max",
    usage: "memory.current",
    files: ["inactive_file ", "active_file "],
};

/// What each group has left that limits its memory: that of the process, and those above it; of a
/// group that has `needed` left, so much or more. `groups` is what `/proc/self/cgroup` says.
fn of_groups(root: &Path, groups: &str, needed: u64) -> Vec<u64> {
    let mut left = Vec::new();
    for line in groups.lines() {
        // `number:controllers:path`; the second version has no controllers.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (top, version) = match controllers {
            "" => (root.to_owned(), &SECOND),
            _ if controllers.split(',').any(|one| one == "memory") => (root.join("memory"), &FIRST),
            _ => continue,
        };
        // In a container the path may be one that is not there: what is mounted is its own group
        // then.
        let own: PathBuf = top.join(path.trim_start_matches('/'));
        let from = if own.is_dir() { &own } else { &top };
        left.extend(
            from.ancestors()
                .take_while(|group| group.starts_with(&top))
                .filter_map(|group| of_group(group, version, needed)),
        );
    }
    left
}

fn of_group(group: &Path, version: &Version, needed: u64) -> Option<u64> {
    let number = |file: &str| read(group.join(file)).trim().parse::<u64>().ok();
    // Without a limit it is a word, or more than any machine has.
    let (limit, usage) = (number(version.limit)?, number(version.usage)?);
    let free = limit.saturating_sub(usage);
    if free >= needed {
        // The kernel adds up for each look at the rest, for longer than all else here takes.
        return Some(free);
    }
    let stat = read(group.join("memory.stat"));
    let field = |name: &str| {
        stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let files: u64 = version.files.iter().filter_map(|name| field(name)).sum();
    Some(limit.saturating_sub(usage.saturating_sub(files)))
}

/// What a file of the kernel's says, whose length is not known before; empty without it.
fn read(path: impl AsRef<Path>) -> String {
    let mut text = String::with_capacity(4096);
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file"));
    }

    #[test]
    fn each_group_above_a_process_counts_with_what_its_files_give_back() {
        let root = tempfile::tempdir().expect("a folder");
        let (root, stat) = (root.path(), "anon 1\ninactive_file 30\nactive_file 20\n");
        group(
            root,
            "a",
            &[("memory.max", "1000\n"), ("memory.current", "450\n"), ("memory.stat", stat)],
        );
        group(
            root,
            "a/b",
            &[("memory.max", "max\n"), ("memory.current", "450\n"), ("memory.stat", stat)],
        );
        assert_eq!(of_groups(root, "0::/a/b\n", 551), [600]);
        assert_eq!(of_groups(root, "0::/a/b\n", 550), [550], "of which the files are not needed");
    }

    #[test]
    fn a_group_of_the_first_version_is_found_by_its_controller_and_where_a_container_mounts_it() {
        let root = tempfile::tempdir().expect("a folder");
        let stat = "inactive_file 9\ntotal_inactive_file 30\ntotal_active_file 20\n";
        let files = [
            ("memory.limit_in_bytes", "100"),
            ("memory.usage_in_bytes", "90"),
            ("memory.stat", stat),
        ];
        group(root.path(), "memory", &files);
        let left = |groups| of_groups(root.path(), groups, 50);
        assert_eq!(left("3:cpu:/x\n4:memory:/docker/abc\n"), [60]);
        assert!(left("3:cpu:/x\nnonsense\n").is_empty());
    }
}
