//! How much memory processes hold together. From `/proc`, see proc_pid_smaps(5) and proc_pid_status(5).

use std::fs;

/// The bytes of memory that these processes hold together, counted exactly only where that may be more than `ceiling`: what is
/// shared among them is counted once then, which means a walk over their page tables.
pub fn memory(pids: &[u32], ceiling: u64) -> u64 {
    let at_most = pids.iter().filter_map(|pid| resident(*pid)).sum();
    if at_most <= ceiling {
        return at_most;
    }
    pids.iter().filter_map(|pid| proportional(*pid).or_else(|| resident(*pid))).sum()
}

/// What it holds, shared pages counted in full; none where it is gone.
fn resident(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// What it holds, of shared pages its share; none where it is gone or that can't be told.
fn proportional(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_a_process_really_holds_is_seen_and_one_that_is_gone_holds_none() {
        let own = std::process::id();
        let before = memory(&[own], 0);
        let held = vec![1_u8; 64 << 20];
        let after = memory(&[own], 0);
        assert!(after >= before + (60 << 20), "{before} {after} {}", held.len());
        assert!(memory(&[own], u64::MAX) >= after / 2);
        assert_eq!(memory(&[u32::MAX], 0), 0);
    }

    #[test]
    fn shared_pages_are_counted_by_their_share() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:    2884 kB\nPss:     1053 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(kilobytes(rollup, "Pss:"), Some(1053 * 1024));
        assert_eq!(kilobytes("Rss: 1 kB\n", "Pss:"), None);
    }
}
