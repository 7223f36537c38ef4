//! The systemd unit: whether one is installed, and whether it is the one that this program carries.

use std::path::{Path, PathBuf};

use super::report::{Check, Line};

/// The unit, as it is shipped.
const SHIPPED: &str = include_str!("../../../systemd/fleetd.service");

/// Where systemd looks, in its order.
const DIRECTORIES: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"];

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Installed {
    /// Nothing.
    No,
    /// This file, with this text, and whether the program that it starts is there.
    Unit { path: PathBuf, text: String, program: Option<(PathBuf, bool)> },
}

/// Looks below `/`.
pub async fn check() -> Vec<Line> {
    vec![judge(&look(Path::new("/")))]
}

fn look(root: &Path) -> Installed {
    let units = DIRECTORIES.iter().map(|directory| root.join(directory).join("fleetd.service"));
    let found = units.into_iter().find_map(|path| Some((std::fs::read_to_string(&path).ok()?, path)));
    let Some((text, path)) = found else { return Installed::No };
    let program = started(&text).map(PathBuf::from);
    let program = program.map(|program| (program.clone(), program.exists()));
    Installed::Unit { path, text, program }
}

/// The program of a unit's `ExecStart=`.
fn started(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("ExecStart="))?.split_whitespace().next()
}

/// What of a unit counts: its lines without comments, and without the place that `make install` writes into it.
fn essence(text: &str) -> Vec<String> {
    let program = started(text).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    lines.map(|line| if program.is_empty() { line.to_owned() } else { line.replace(program, "fleetd") }).collect()
}

fn judge(installed: &Installed) -> Line {
    let Installed::Unit { path, text, program } = installed else {
        return Line::ok(Check::Unit, "no systemd unit is installed (`make install` as root does that)");
    };
    let shown = path.display();
    if let Some((program, false)) = program {
        let found = format!("{shown} starts {}, which is not there", program.display());
        return Line::fail(Check::Unit, found, "`make install` again, or mend its ExecStart=");
    }
    let (ours, theirs) = (essence(SHIPPED), essence(text));
    let lacks: Vec<&str> = ours.iter().filter(|line| !theirs.contains(line)).map(String::as_str).collect();
    let more = theirs.iter().filter(|line| !ours.contains(line)).count();
    if lacks.is_empty() && more == 0 {
        return Line::ok(Check::Unit, format!("{shown} is the one of this version"));
    }
    let lacks = if lacks.is_empty() { "nothing".to_owned() } else { lacks.join(", ") };
    Line::warn(
        Check::Unit,
        format!("{shown} differs from the one of this version: it lacks {lacks}, and has {more} lines of its own"),
        "`make install` and `systemctl daemon-reload`; changes of your own belong into a drop-in: `systemctl edit fleetd`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn an_old_unit_is_told_with_what_it_lacks_and_an_installed_one_is_not_called_old() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(judge(&look(root.path())).verdict, Verdict::Ok);
        let (program, directory) = (root.path().join("bin/fleetd"), root.path().join("etc/systemd/system"));
        std::fs::create_dir_all(&directory).unwrap();
        let installed = SHIPPED.replace("/usr/local/bin/fleetd", &program.display().to_string());
        let unit = directory.join("fleetd.service");
        std::fs::write(&unit, &installed).unwrap();
        let gone = judge(&look(root.path()));
        assert!(matches!(gone.verdict, Verdict::Fail { .. }) && gone.found.contains("not there"), "{gone:?}");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "").unwrap();
        assert_eq!(judge(&look(root.path())).verdict, Verdict::Ok);
        std::fs::write(&unit, installed.replace("KillMode=process", "KillMode=mixed")).unwrap();
        let old = judge(&look(root.path()));
        assert!(matches!(old.verdict, Verdict::Warn { .. }) && old.found.contains("lacks KillMode=process"), "{old:?}");
    }
}
