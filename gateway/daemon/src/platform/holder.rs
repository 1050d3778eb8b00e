//! Who has a device open, as /proc tells. A port that is taken exclusively is refused by the kernel, but not to root.

use std::path::Path;

/// The process of a gateway that runs and has this device open, if there is one and we may see it.
pub fn gateway_at(device: &Path) -> Option<u32> {
    let device = std::fs::canonicalize(device).ok()?;
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|process| *process != own && is_gateway(*process)).find(|process| holds(*process, &device))
}

/// By its command line: `analyzer-gateway run ...`.
fn is_gateway(process: u32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"analyzer-gateway") && matches!(words.next(), Some(b"run" | b"demo"))
}

fn holds(process: u32, device: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target == device)
}
