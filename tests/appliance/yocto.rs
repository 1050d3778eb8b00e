//! The Yocto layer says what the rest of the project says: the crates of Cargo.lock, the version, the files of systemd/ and config/,
//! and names for partitions that its own cards have. Recipes and kas files are judged by oelint-adv, kas and yamllint.
//!
//! Nothing is built here: `yocto/bitbake-dry` lets bitbake resolve image and bundle where its trees are.

use super::system;
use gateway_core::appliance::layout;
use gateway_tests::binary;
use gateway_tests::judge::judge;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What chooses a copy of the system, and where updates go.
const CHOOSES: &str = "systemd/image/rauc";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn layer() -> PathBuf {
    root().join("yocto/meta-analyzer-gateway")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below the folder whose name ends so, sorted.
fn files(below: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What stands between the quotes of the last assignment to this variable in a file.
fn value(file: &Path, variable: &str) -> String {
    let text = text(file);
    let line = text.lines().rev().find(|line| line.split([' ', '?', '=']).next() == Some(variable));
    let line = line.unwrap_or_else(|| panic!("{} sets no {variable}", file.display()));
    line.split('"').nth(1).unwrap().to_owned()
}

/// The judge's verdict is the exit status; what it said is shown. Nothing is judged where it is not installed.
fn judged_by(program: &str, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) {
    let Some(program) = judge(&format!("python/bin/{program}")) else { return };
    let done = Command::new(program).args(arguments).current_dir(root().join("yocto")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

#[test]
fn the_recipe_fetches_what_the_lock_file_names() {
    let mut locked = BTreeSet::new();
    for package in text(&root().join("Cargo.lock")).split("[[package]]\n").skip(1) {
        let field = |name: &str| package.lines().find_map(|line| line.strip_prefix(name)?.split('"').nth(1));
        if field("source = ").is_some() {
            let (name, version) = (field("name = ").unwrap(), field("version = ").unwrap());
            let sum = field("checksum = ").unwrap_or_else(|| panic!("{name} does not come from crates.io"));
            locked.insert(format!("crate://crates.io/{name}/{version}"));
            locked.insert(format!("SRC_URI[{name}-{version}.sha256sum] = \"{sum}\""));
        }
    }
    let list = text(&layer().join("recipes-gateway/analyzer-gateway/analyzer-gateway-crates.inc"));
    let fetched = list.lines().map(|line| line.trim().trim_end_matches(" \\").to_owned());
    let fetched: BTreeSet<_> =
        fetched.filter(|line| line.starts_with("crate:") || line.contains("sha256sum")).collect();
    assert!(
        locked == fetched,
        "yocto/refresh-crates was not run: {:?}",
        locked.symmetric_difference(&fetched).collect::<Vec<_>>()
    );
}

#[test]
fn version_and_licence_are_the_projects() {
    let cargo = value(&root().join("Cargo.toml"), "version");
    assert_eq!(value(&layer().join("conf/distro/analyzer-gateway-box.conf"), "DISTRO_VERSION"), cargo);
    let recipe = value(&layer().join("recipes-gateway/analyzer-gateway/analyzer-gateway.bb"), "LIC_FILES_CHKSUM");
    let sum = Command::new("md5sum").arg(root().join("LICENSE")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(recipe, format!("file://LICENSE;md5={}", sum.split(' ').next().unwrap()));
}

/// The part of a path before what bitbake or the shell puts in.
fn fixed(path: &str) -> &str {
    let path = path.split(['"', '\'', ' ', ';', ')', ':']).next().unwrap();
    let upto = path.find(['*', '$']).unwrap_or(path.len());
    path[..upto].trim_end_matches('/')
}

#[test]
fn each_file_that_a_recipe_takes_is_there() {
    let mut missing = Vec::new();
    for recipe in files(&layer(), &[".bb", ".bbappend", ".inc"]) {
        let text = text(&recipe);
        for start in ["${S}/systemd/", "${GATEWAY_SOURCE}/"] {
            for path in
                text.split(start).skip(1).map(|rest| start[start.find('/').unwrap() + 1..].to_owned() + fixed(rest))
            {
                missing.extend((!root().join(&path).exists()).then(|| (recipe.clone(), path)));
            }
        }
        for path in text.split("file://").skip(1).map(fixed).filter(|path| *path != "LICENSE" && !path.is_empty()) {
            let places = [layer(), root().join(CHOOSES)];
            let named = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(path));
            let there = places.iter().flat_map(|place| files(place, &[""])).any(|file| named(&file));
            missing.extend((!there).then(|| (recipe.clone(), path.to_owned())));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_settings_to_begin_with_are_good() {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/card.yaml");
    let checked = Command::new(binary()).arg("check").arg(&settings).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn an_encrypted_image_takes_only_the_encrypted_partition_and_formats_only_zeros() {
    assert_eq!(mounted_from("tryboot", true), ["PARTLABEL=BOOT", "/dev/mapper/data"]);
    assert_eq!(mounted_from("uboot", true), ["/dev/mmcblk0p1", "/dev/mapper/data"]);
    // The conditions as the units have them, on files that stand for the partition.
    let files = tempfile::tempdir().unwrap();
    let (device, mapped) = (files.path().join("device"), files.path().join("mapped"));
    let zeros = |length: u64| fs::File::create(&device).unwrap().set_len(length).unwrap();
    fs::File::create(&mapped).unwrap().set_len(32 << 20).unwrap();
    let holds = |unit: &str| {
        let text = text(&layer().join("recipes-gateway/gateway-encryption/files").join(unit));
        let line = text.lines().find_map(|line| line.strip_prefix("ExecCondition=/bin/sh -c '")).unwrap();
        let line = line.trim_end_matches('\'').replace("$$", "$").replace("@DEVICE@", &device.to_string_lossy());
        let line = line.replace("/dev/mapper/data", &mapped.to_string_lossy());
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        Command::new("sh").args(["-c", &line]).env("PATH", path).status().unwrap().success()
    };
    for (unit, at) in
        [("analyzer-gateway-encrypt.service", 4096), ("analyzer-gateway-encrypted-data.service", 16 << 20)]
    {
        zeros(32 << 20);
        assert!(holds(unit), "{unit}: an empty partition");
        let file = fs::File::options().write(true).open(&device).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"x", at + 5).unwrap();
        assert!(!holds(unit), "{unit}: something is there");
        zeros(1 << 20);
        assert!(!holds(unit), "{unit}: it cannot be read to the end");
        fs::remove_file(&device).unwrap();
        assert!(!holds(unit), "{unit}: it cannot be read");
    }
}

/// The partitions of a card, in their order: the name where the table has names, else the label.
fn partitions(boot: &str) -> Vec<String> {
    let card = text(&layer().join(format!("files/wic/analyzer-gateway-{boot}.wks.in")));
    let named = |line: &str, option: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != option);
        words.nth(1).map(str::to_owned)
    };
    let parts = card.lines().filter(|line| line.starts_with("part "));
    parts.map(|line| named(line, "--part-name").or(named(line, "--label")).unwrap()).collect()
}

/// What the card's and the data's mount are made of in an image: fstab after the recipe's sed lines.
fn mounted_from(boot: &str, encrypted: bool) -> [String; 2] {
    let recipe = text(&layer().join("recipes-gateway/gateway-box/gateway-box.bb"));
    let mut fstab = text(&root().join("systemd/image/rootfs/etc/fstab"));
    let wanted = |line: &&str| match line.contains("/dev/mapper") {
        true => encrypted,
        false => boot == "uboot",
    };
    let edits = recipe.lines().filter_map(|line| line.trim().strip_prefix("sed -i '")).filter(wanted);
    for edit in edits {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &fstab).unwrap();
        let edited = Command::new("sed").arg(edit.split('\'').next().unwrap()).arg(file.path()).output().unwrap();
        fstab = String::from_utf8(edited.stdout).unwrap();
    }
    ["/boot/firmware", "/data"].map(|place| {
        let mut mounts = fstab.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        mounts.find(|words| words.get(1) == Some(&place)).unwrap()[0].to_owned()
    })
}

#[test]
fn partitions_are_found_even_if_a_cut_has_torn_their_file_systems() {
    assert_eq!(mounted_from("none", false), ["PARTLABEL=BOOT", "PARTLABEL=data"]);
    for boot in ["tryboot", "uboot"] {
        let there = partitions(boot);
        let found = mounted_from(boot, false).map(|device| match device.strip_prefix("PARTLABEL=") {
            Some(name) => name.to_owned(),
            None => there[device.strip_prefix("/dev/mmcblk0p").unwrap().parse::<usize>().unwrap() - 1].clone(),
        });
        assert_eq!(found, ["BOOT", "data"], "{boot}");
    }
    // Without it systemd-fsck(8) looks at no copy of a superblock.
    for line in [
        "yocto/meta-analyzer-gateway/dynamic-layers/raspberrypi/recipes-bsp/bootfiles/rpi-cmdline.bbappend",
        "tests/system/vm/grub.cfg",
    ] {
        assert!(text(&root().join(line)).contains(" fsck.repair=yes "), "{line}");
    }
}

#[test]
fn updates_are_written_to_partitions_that_the_card_has() {
    for boot in ["tryboot", "uboot", "none"] {
        let there = partitions(boot);
        assert_eq!(
            (there.first().unwrap().as_str(), there.last().unwrap().as_str()),
            ("BOOT", "data"),
            "data can grow"
        );
        let slots = text(&match boot {
            "none" => layer().join("recipes-core/rauc/rauc-conf/system-none.conf"),
            _ => root().join(CHOOSES).join(format!("system-{boot}.conf")),
        });
        let compatible =
            if boot == "none" { "analyzer-gateway-qemuarm64" } else { &format!("analyzer-gateway-rpi-{boot}") };
        assert!(
            slots.contains(&format!("\ncompatible={compatible}\n")),
            "{boot}: image.json and bundles say {compatible}"
        );
        let mut used: Vec<String> = Vec::new();
        for device in slots.lines().filter_map(|line| line.strip_prefix("device=")) {
            let name = match device.strip_prefix("/dev/disk/by-partlabel/") {
                Some(name) => name.to_owned(),
                None => there[device.strip_prefix("/dev/mmcblk0p").unwrap().parse::<usize>().unwrap() - 1].clone(),
            };
            assert!(there.contains(&name), "{boot}: {name} is not among {there:?}");
            used.push(name);
        }
        let copies = there.iter().filter(|name| !["BOOT", "data"].contains(&name.as_str()));
        assert_eq!(copies.collect::<BTreeSet<_>>(), used.iter().collect(), "{boot}: every copy is updated");
    }
}

#[test]
fn the_firmware_starts_the_boot_partition_of_the_first_copy() {
    let there = partitions("tryboot");
    let number = |name: &str| format!("boot_partition={}", there.iter().position(|part| part == name).unwrap() + 1);
    let chosen = text(&root().join(CHOOSES).join("autoboot.txt"));
    let chosen: Vec<_> =
        chosen.lines().filter(|line| line.starts_with('[') || line.starts_with("boot_partition")).collect();
    assert_eq!(chosen, ["[all]", &number("boot-a"), "[tryboot]", &number("boot-b")]);
    let config = layer().join("dynamic-layers/raspberrypi/recipes-bsp/bootfiles/rpi-config_git.bbappend");
    for slot in ["a", "b"] {
        let line = format!("[{}]\\ncmdline=cmdline-{slot}.txt", number(&format!("boot-{slot}")));
        assert!(text(&config).contains(&line), "{line}");
    }
}

#[test]
fn ubootenv_is_looked_for_where_uboot_keeps_it() {
    let options = text(&layer().join("dynamic-layers/raspberrypi/recipes-bsp/u-boot/files/gateway.cfg"));
    let option =
        |name: &str| options.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
    let size = option("CONFIG_ENV_SIZE");
    let wanted =
        ["CONFIG_ENV_OFFSET", "CONFIG_ENV_OFFSET_REDUND"].map(|copy| format!("/dev/mmcblk0 {} {size}", option(copy)));
    let tools = text(&root().join(CHOOSES).join("fw_env.config"));
    let lines = tools.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(), wanted);
}

#[test]
fn the_units_of_an_encrypted_data_are_what_systemd_reads() {
    let recipe = layer().join("recipes-gateway/gateway-encryption/gateway-encryption.bb");
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
    for program in ["usr/bin/sh", "usr/sbin/cryptsetup", "usr/sbin/mkfs.ext4"] {
        let program = root.path().join(program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    // systemd makes this one of /etc/crypttab; here its name is enough.
    fs::write(
        units.join("systemd-cryptsetup@data.service"),
        "[Service]\nType=oneshot\nExecStart=/usr/sbin/cryptsetup\n",
    )
    .unwrap();
    for target in ["basic", "shutdown", "sysinit"] {
        fs::write(units.join(format!("{target}.target")), "[Unit]\nDescription=there\n").unwrap();
    }
    let Ok(verify) = Command::new("systemd-analyze").arg("--version").output() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "systemd-analyze is needed in CI");
        eprintln!("SKIPPED: there is no systemd-analyze; the units are not read");
        return;
    };
    assert!(verify.status.success());
    let unit = value(&recipe, "DATA_UNIT").replace("\\\\", "\\");
    for key in ["KEY_FILE", "KEY_FILE:key-usb"] {
        let mut given = Vec::new();
        for file in files(&recipe.parent().unwrap().join("files"), &[".service", ".mount"]) {
            let text = text(&file).replace("@KEY@", &value(&recipe, key)).replace("@DEVICE_UNIT@", &unit);
            let text = text.replace("@DEVICE@", &value(&recipe, "DATA_DEVICE"));
            assert!(
                !text
                    .lines()
                    .any(|line| !line.starts_with('#') && line.contains('@') && !line.contains("@data.service")),
                "{text}"
            );
            given.push(units.join(file.file_name().unwrap()));
            fs::write(given.last().unwrap(), text).unwrap();
        }
        let root = format!("--root={}", root.path().display());
        let read = Command::new("systemd-analyze").args(["verify", "--man=no", &root]).args(&given).output().unwrap();
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success() && said.is_empty(), "{key}: {said}");
    }
}

#[test]
fn rauc_is_configured_where_the_gateway_looks() {
    let folder = Path::new(layout::RAUC_CONFIGURATION).parent().unwrap();
    let recipe = text(&layer().join("recipes-core/rauc/rauc-conf.bbappend"));
    let image = text(&root().join("tests/system/image"));
    let of_recipe = format!("${{D}}${{sysconfdir}}/{}", folder.strip_prefix("/etc").unwrap().display());
    assert!(recipe.contains(&of_recipe), "{of_recipe}");
    assert!(image.contains(&format!("$root{}", layout::RAUC_CONFIGURATION)));
}

#[test]
fn there_is_no_key_in_the_layer() {
    for file in files(&root().join("yocto"), &[""]) {
        assert!(!text(&file).contains("PRIVATE KEY--"), "{}", file.display());
    }
}

#[test]
fn recipes_are_clean_to_oelint() {
    let recipes = files(&layer(), &[".bb", ".bbappend"]);
    let arguments = ["--quiet", "--relpaths"].map(PathBuf::from).into_iter().chain(recipes);
    judged_by("oelint-adv", arguments);
}

#[test]
fn kas_files_are_what_kas_reads() {
    let yaml = files(&root().join("yocto/kas"), &[".yml"]);
    assert!(yaml.len() > 6, "four boards, qemuarm64, and what they share");
    judged_by("yamllint", ["--strict".as_ref(), "kas".as_ref()] as [&Path; 2]);
    let script = root().join("tests/judges/python/kas_schema.py");
    judged_by("python", [script].into_iter().chain(yaml.iter().cloned()));
    for file in &yaml {
        for include in text(file).lines().filter_map(|line| line.trim().strip_prefix("- yocto/kas/").map(str::to_owned))
        {
            assert!(root().join("yocto/kas").join(&include).exists(), "{}: {include}", file.display());
        }
    }
}

#[test]
fn what_is_signed_with_the_keys_that_are_made_is_trusted_by_a_box() {
    let (Some(rauc), Some(_)) = (system("rauc"), system("mksquashfs")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = Command::new(root().join("yocto/make-keys")).arg(path("keys")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::create_dir(path("content")).unwrap();
    // Larger than RAUC's least size when it is packed.
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(path("content/rootfs.ext4"), bytes).unwrap();
    let manifest =
        "[update]\ncompatible=vm\nversion=1.3.0\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.ext4\n";
    fs::write(path("content/manifest.raucm"), manifest).unwrap();
    let option = |name: &str, file: &str| format!("--{name}={}", path(file).display());
    let mut bundle = Command::new(&rauc);
    bundle.args([option("cert", "keys/cert.pem"), option("key", "keys/key.pem"), "bundle".to_owned()]);
    let bundle = bundle.args([path("content"), path("box.raucb")]).output().unwrap();
    assert!(bundle.status.success(), "{}", String::from_utf8_lossy(&bundle.stderr));
    let mut info = Command::new(&rauc);
    info.args([option("keyring", "keys/keyring.pem"), "info".to_owned()]);
    let info = info.arg(path("box.raucb")).output().unwrap();
    assert!(info.status.success(), "{}", String::from_utf8_lossy(&info.stderr));
}
