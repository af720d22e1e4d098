//! Pictures of a run's results, of the repetitions that had the usual distance of processors: three
//! SVG files, drawn on a ground of their own, so that they read
//! the same everywhere. `lines` and `costs` draw with `canvas` and know nothing of each other.

mod canvas;
mod costs;
mod lines;

use std::fs;
use std::path::{Path, PathBuf};

use self::costs::costs;
use self::lines::{by_bytes, by_writers};
use crate::report::{Measured, Results};

/// Draws all pictures for which there are results.
pub fn all(results: &[PathBuf], to: &Path) -> Result<(), String> {
    let mut measured = Vec::new();
    for path in results {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let results: Results = serde_json::from_str(&text)
            .map_err(|error| format!("{} has no results of compare: {error}", path.display()))?;
        measured.extend(results.of_usual_distance());
    }
    fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    let pictures: [(&str, Picture); 3] =
        [("throughput", by_writers), ("cost", costs), ("bytes", by_bytes)];
    for (name, picture) in pictures {
        let path = to.join(format!("compare-{name}.svg"));
        match picture(&measured, &path) {
            Ok(true) => println!("{}", path.display()),
            Ok(false) => eprintln!("No {}: the results have nothing for it.", path.display()),
            Err(error) => return Err(format!("cannot draw {}: {error}", path.display())),
        }
    }
    Ok(())
}

/// Draws one; `false` if there is nothing for it.
type Picture = fn(&[Measured], &Path) -> Result<bool, Box<dyn std::error::Error>>;
