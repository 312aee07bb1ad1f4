//! The scenario's disks as part of the node's base configuration.

use serde_json::json;

use crate::mco::{self, MachineConfig};
use crate::scenario::Disk;

const NAME: &str = "00-day1-node-disks";

/// The MachineConfig that makes a file system on each disk with a mount point, and mounts it; none without
/// such a disk. The mount units are those that Butane writes for `with_mount_unit`.
pub(super) fn machine_config(role: &str, disks: &[Disk]) -> Result<Option<MachineConfig>, mco::Error> {
    let mounted: Vec<(&Disk, String)> =
        disks.iter().filter_map(|disk| Some((disk, disk.mount.as_ref()?.to_string()))).collect();
    if mounted.is_empty() {
        return Ok(None);
    }
    let filesystems: Vec<_> = mounted
        .iter()
        .map(|(disk, path)| {
            json!({
                "device": format!("/dev/disk/by-id/virtio-{}", disk.id),
                "format": "ext4",
                "label": disk.id.to_string(),
                "path": path,
            })
        })
        .collect();
    let units: Vec<_> = mounted
        .iter()
        .map(|(disk, path)| {
            json!({ "name": unit_name(path), "enabled": true, "contents": unit(&disk.id.to_string(), path) })
        })
        .collect();
    let text = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": { "name": NAME, "labels": { mco::ROLE_LABEL: role } },
        "spec": { "config": {
            "ignition": { "version": "3.2.0" },
            "storage": { "filesystems": filesystems },
            "systemd": { "units": units },
        } },
    });
    Ok(MachineConfig::parse(&text.to_string(), "the node's disks")?.pop())
}

fn unit(label: &str, path: &str) -> String {
    format!(
        "[Unit]\n\
         Before=local-fs.target\n\
         [Mount]\n\
         Where={path}\n\
         What=/dev/disk/by-label/{label}\n\
         Type=ext4\n\
         [Install]\n\
         RequiredBy=local-fs.target\n"
    )
}

/// A mount unit's name: the path with `-` for `/`, and what else is no plain character as `\xNN`
/// (`systemd.unit(5)`, "String Escaping").
fn unit_name(path: &str) -> String {
    let mut name = String::new();
    for (index, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'.' | b'_' | b':' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    format!("{name}.mount")
}

#[cfg(test)]
mod tests {
    use super::unit_name;

    #[test]
    fn a_mount_unit_is_named_as_systemd_wants_it() {
        assert_eq!(unit_name("/var"), "var.mount");
        assert_eq!(unit_name("/var/lib/containers"), "var-lib-containers.mount");
        assert_eq!(unit_name("/srv/a-b"), "srv-a\\x2db.mount");
    }
}
