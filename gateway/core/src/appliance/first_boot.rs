//! What makes a written card this box: how far its last partition can grow, and which id the machine has.
//!
//! Invariant: deciding twice gives the same, and nothing is decided that a power cut in the middle would spoil: only the end of the
//! last partition moves, and an id that is kept is never replaced.

use serde::Deserialize;

/// Less than this at the end of a card is not worth a write: cards of one size differ by more.
const SLACK_BYTES_MIN: u64 = 4 << 20;
/// Partition types of an MBR that hold others: extended, the same with LBA, Linux extended (sfdisk(8), `--list-types`).
const EXTENDED: [&str; 3] = ["5", "f", "85"];

/// What `sfdisk --json DISK` prints, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Printed {
    #[serde(rename = "partitiontable")]
    pub table: Table,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Table {
    /// `gpt` or `dos`.
    pub label: String,
    /// Bytes of a sector in this table.
    #[serde(rename = "sectorsize", default = "usual_sector_bytes")]
    pub sector_bytes: u64,
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// One partition; `start` and `size` in sectors.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Partition {
    /// Its device, of which the last digits are its number.
    pub node: String,
    pub start: u64,
    pub size: u64,
    #[serde(rename = "type", default)]
    pub kind: String,
}

fn usual_sector_bytes() -> u64 {
    512
}

impl Partition {
    fn number(&self) -> Option<u32> {
        let digits = self.node.len() - self.node.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        self.node[self.node.len() - digits..].parse().ok()
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// The numbers of the partitions to grow to the disk's end, in this order, so that this one fills it: a logical partition grows
/// after the extended one around it. Empty if it does already. The error says why it cannot.
pub fn growth(table: &Table, number: u32, disk_bytes: u64) -> Result<Vec<u32>, String> {
    let own = table.partitions.iter().find(|partition| partition.number() == Some(number));
    let own = own.ok_or_else(|| format!("partition {number} is not in the table"))?;
    let around = table.partitions.iter().find(|partition| {
        table.label == "dos"
            && number > 4
            && EXTENDED.contains(&partition.kind.as_str())
            && partition.end() >= own.end()
    });
    let others = table.partitions.iter().filter(|other| Some(*other) != around && other.number() != Some(number));
    if let Some(other) = others.into_iter().find(|other| other.start >= own.end()) {
        return Err(format!("{} comes after it, so it stays as large as it is", other.node));
    }
    let left = |end: u64| disk_bytes.saturating_sub(end.saturating_mul(table.sector_bytes)) >= SLACK_BYTES_MIN;
    let outer = around.filter(|around| left(around.end())).and_then(Partition::number);
    let inner = left(own.end()).then_some(number);
    Ok(outer.into_iter().chain(inner).collect())
}

/// Which machine-id counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineId {
    /// The kept one is that of this boot.
    Settled,
    /// None is kept yet: that of this boot, which systemd has made, becomes the box's.
    Keep(String),
    /// The box has one; systemd has made another for this boot since it could not know.
    Use(String),
}

/// Decides by the texts of the kept file and of /etc/machine-id (machine-id(5): 32 hexadecimal digits in small letters). A kept
/// text that is no id is as none. The error says what is wrong with both.
pub fn machine_id(kept: Option<&str>, of_boot: Option<&str>) -> Result<MachineId, String> {
    let valid = |text: Option<&str>| {
        let text = text?.trim();
        let good = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 32 && text.bytes().all(good) && text.bytes().any(|c| c != b'0')).then(|| text.to_owned())
    };
    match (valid(kept), valid(of_boot)) {
        (Some(kept), Some(of_boot)) if kept == of_boot => Ok(MachineId::Settled),
        (Some(kept), _) => Ok(MachineId::Use(kept)),
        (None, Some(of_boot)) => Ok(MachineId::Keep(of_boot)),
        (None, None) => Err("/etc/machine-id holds no id, and none is kept".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Partitions as (number, start, size, type), in MiB.
    fn table(label: &str, partitions: &[(u32, u64, u64, &str)]) -> Table {
        let sectors = |mib: u64| mib * MIB / 512;
        let partitions = partitions.iter().map(|(number, start, size, kind)| Partition {
            node: format!("/dev/mmcblk0p{number}"),
            start: sectors(*start),
            size: sectors(*size),
            kind: (*kind).to_owned(),
        });
        Table { label: label.to_owned(), sector_bytes: 512, partitions: partitions.collect() }
    }

    #[test]
    fn the_last_partition_grows_once_and_one_in_the_middle_never() {
        let small = table("gpt", &[(1, 1, 64, "x"), (2, 65, 500, "x"), (3, 565, 500, "x"), (4, 1065, 32, "x")]);
        assert_eq!(growth(&small, 4, 8000 * MIB), Ok(vec![4]));
        assert_eq!(growth(&small, 4, 1100 * MIB), Ok(vec![]));
        // A table that claims more than there is.
        assert_eq!(growth(&small, 4, 900 * MIB), Ok(vec![]));
        assert!(growth(&small, 3, 8000 * MIB).unwrap_err().contains("/dev/mmcblk0p4"));
        assert!(growth(&small, 7, 8000 * MIB).unwrap_err().contains("not in the table"));
    }

    #[test]
    fn a_logical_partition_grows_after_the_one_around_it_wherever_the_power_went() {
        let parts = |outer: u64, inner: u64| {
            table(
                "dos",
                &[(1, 1, 64, "c"), (2, 65, 64, "c"), (4, 200, outer, "f"), (5, 201, 400, "83"), (6, 602, inner, "83")],
            )
        };
        assert_eq!(growth(&parts(500, 97), 6, 8000 * MIB), Ok(vec![4, 6]));
        // The power went after the first of the two.
        assert_eq!(growth(&parts(7800, 97), 6, 8000 * MIB), Ok(vec![6]));
        assert_eq!(growth(&parts(7800, 7398), 6, 8000 * MIB), Ok(vec![]));
    }

    #[test]
    fn a_table_is_read_as_sfdisk_prints_it() {
        let text = r#"{"partitiontable": {"label": "dos", "id": "0x1", "device": "/dev/sda", "unit": "sectors", "sectorsize": 512,
            "partitions": [{"node": "/dev/sda1", "start": 2048, "size": 8192, "type": "c", "bootable": true}]}}"#;
        let printed: Printed = serde_json::from_str(text).unwrap();
        assert_eq!(growth(&printed.table, 1, 5 * MIB), Ok(vec![]));
        assert_eq!(growth(&printed.table, 1, 50 * MIB), Ok(vec![1]));
    }

    #[test]
    fn the_box_keeps_the_id_of_its_first_boot() {
        let (first, later) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        assert_eq!(machine_id(None, Some(&format!("{first}\n"))), Ok(MachineId::Keep(first.to_owned())));
        assert_eq!(machine_id(Some(first), Some(later)), Ok(MachineId::Use(first.to_owned())));
        assert_eq!(machine_id(Some(first), Some(first)), Ok(MachineId::Settled));
        // Torn, empty, in capitals: as none.
        for torn in ["", "0123", "\0\0\0", "0123456789ABCDEF0123456789ABCDEF", "00000000000000000000000000000000"] {
            assert_eq!(machine_id(Some(torn), Some(later)), Ok(MachineId::Keep(later.to_owned())), "{torn:?}");
        }
        assert_eq!(machine_id(Some(first), Some("uninitialized")), Ok(MachineId::Use(first.to_owned())));
        assert!(machine_id(None, None).is_err());
    }
}
