//! A box that is lost and comes back: backups onto a marked stick, a new card that becomes the old box, and a box that forgets
//! everything when a file asks for it. The stick and the box's files are folders here.

use super::box_::{Box, Said};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

const SECRET: &str = "a-secret-for-the-stick";

/// A folder that stands for the whole box, with the settings on its card.
struct Root {
    folder: PathBuf,
}

impl Root {
    fn new(the_box: &Box, name: &str) -> Root {
        let root = Root { folder: the_box.home.path(name) };
        for folder in ["boot/firmware", "var/lib/analyzer-gateway", "data/system"] {
            fs::create_dir_all(root.folder.join(folder)).expect("a folder of our own");
        }
        root
    }

    fn card(&self, name: &str) -> PathBuf {
        self.folder.join("boot/firmware").join(name)
    }

    fn state(&self, name: &str) -> PathBuf {
        self.folder.join("var/lib/analyzer-gateway").join(name)
    }

    fn order(&self, name: &str, text: &str) {
        fs::write(self.card(name), text).expect("a folder of our own");
    }

    fn answer(&self, name: &str) -> String {
        fs::read_to_string(self.card(name)).unwrap_or_else(|_| panic!("{name} is on the card"))
    }

    async fn appliance(&self, the_box: &Box, arguments: &[&str]) -> Said {
        let root = self.folder.to_string_lossy();
        let arguments: Vec<&str> =
            ["appliance"].iter().chain(arguments).copied().chain(["--root", root.as_ref()]).collect();
        the_box.say_bare(&arguments).await
    }

    async fn reset(&self, the_box: &Box, stick: &Path) -> Said {
        self.appliance(the_box, &["reset", "--stick", &stick.to_string_lossy()]).await
    }
}

fn tests_in(database: &Path) -> i64 {
    let connection = Connection::open(database).expect("a database");
    let sql = "SELECT count(*) FROM events WHERE name = 'TEST_FINISHED'";
    connection.query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// A backup of which only the manifest is there: how far it reaches, and whose it is.
fn pretend(stick: &Path, name: &str, gateway: &str, head: i64) {
    let manifest = serde_json::json!({
        "format": "analyzer-gateway-backup", "schema": 1, "gateway": gateway, "version": "0.1.0",
        "made_at": "2026-01-01T00:00:00.000Z", "head": head, "events": 0, "database_version": 1, "secrets": true, "files": [],
    });
    let text = serde_json::to_vec(&manifest).expect("JSON");
    let file = fs::File::create(stick.join("analyzer-gateway-backups").join(name)).expect("a folder of our own");
    let mut archive = tar::Builder::new(file);
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, "manifest.json", text.as_slice()).expect("an archive");
    archive.into_inner().expect("a whole archive");
}

fn backups(stick: &Path) -> Vec<String> {
    let entries = fs::read_dir(stick.join("analyzer-gateway-backups")).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".tar"));
    names.sort();
    names
}

/// A box with two tests that no receiver has, its files where an appliance has them.
async fn used(name: &str) -> (Box, Root) {
    let the_box = Box::new(&format!("sources:\n  - {{ id: other, dialect: session, secret: {SECRET} }}\n"));
    let (gateway, mut cable) = the_box.start().await;
    Box::tell(&mut cable, "KEEP-0001").await;
    Box::tell(&mut cable, "KEEP-0002").await;
    the_box.stored(2).await;
    gateway.stop().await;
    let root = Root::new(&the_box, name);
    fs::remove_dir(root.state("")).expect("an empty folder");
    fs::rename(the_box.home.state_dir(), root.state("")).expect("a folder of our own");
    fs::copy(the_box.home.settings_path(), root.card("gateway.yaml")).expect("a file of our own");
    (the_box, root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_card_becomes_the_lost_box_by_the_newest_backup_of_its_stick() {
    let (the_box, old) = used("old").await;
    let stick = the_box.home.path("stick");
    fs::create_dir(&stick).expect("a folder of our own");
    // A stick that nobody has marked stays as it is.
    old.appliance(&the_box, &["stick", "--folder", &stick.to_string_lossy()]).await.expect(0);
    assert_eq!(fs::read_dir(&stick).expect("a folder").count(), 0);
    fs::create_dir(stick.join("analyzer-gateway-backups")).expect("a folder of our own");
    for number in 10..18 {
        pretend(&stick, &format!("analyzer-gateway-box-202601{number}T000000Z.tar"), "box", number - 30);
    }
    let other = "analyzer-gateway-elsewhere-20260101T000000Z.tar";
    pretend(&stick, other, "elsewhere", 1);
    // A new card that nobody has restored puts nothing beside backups that reach farther.
    pretend(&stick, "farther.tar", "box", 1_000_000_000);
    let said = old.appliance(&the_box, &["stick", "--folder", &stick.to_string_lossy()]).await.expect(1);
    assert!(said.err.contains("reach farther") && said.err.contains("restore.txt"), "{}", said.err);
    assert_eq!(backups(&stick).len(), 10);
    fs::remove_file(stick.join("analyzer-gateway-backups/farther.tar")).expect("a file of our own");
    old.appliance(&the_box, &["stick", "--folder", &stick.to_string_lossy()]).await.expect(0).holds(&["is whole"]);
    let names = backups(&stick);
    assert_eq!(names.iter().filter(|name| name.contains("-box-")).count(), 7, "the oldest made room: {names:?}");
    assert!(names.iter().any(|name| name == other) && !names.iter().any(|name| name.contains("20260110")), "{names:?}");
    let said = fs::read_to_string(stick.join("analyzer-gateway-backups/last-backup.txt")).expect("it says how it went");
    assert!(said.contains("is whole") && !said.contains(SECRET), "{said}");
    let shown = old.appliance(&the_box, &["show"]).await.expect(0).json();
    assert!(shown["backup"]["file"].as_str().is_some_and(|file| names.iter().any(|name| name == file)), "{shown}");
    assert_eq!(shown["backup"]["reason"], "");

    let new = Root::new(&the_box, "new");
    new.order("gateway.yaml", &include_str!("../../config/card.yaml").replace('\n', "\r\n"));
    // The names do not say which one reaches farthest.
    for name in backups(&stick).iter().filter(|name| name.contains("202601") && name.contains("-box-")) {
        fs::remove_file(stick.join("analyzer-gateway-backups").join(name)).expect("a file of our own");
    }
    pretend(&stick, "analyzer-gateway-box-20990101T000000Z.tar", "box", 0);
    new.order("restore.txt", "same\r\n");
    let said = new.reset(&the_box, &stick).await.expect(1);
    assert!(said.err.contains("box, elsewhere"), "whose backup? {}", said.err);
    assert!(new.answer("restore.refused.txt").contains("second line"));
    assert!(!new.card("restore.txt").exists() && !new.state("events.db").exists());
    new.order("restore.txt", "same # the old card is dead\r\nbox\r\n");
    new.reset(&the_box, &stick).await.expect(0);
    assert!(!new.card("restore.txt").exists());
    assert!(new.answer("restore.done.txt").contains("restored"));
    assert_eq!(tests_in(&new.state("events.db")), 2);
    let settings = fs::read_to_string(new.card("gateway.yaml")).expect("settings");
    let taken = settings.contains(SECRET) && settings.contains("Change them here") && !settings.contains("overwritten");
    assert!(taken, "the untouched file of the image gave way to the settings of the backup: {settings}");
    // A second start has nothing to obey.
    new.reset(&the_box, &stick).await.expect(0);

    new.order("restore.txt", "same\nbox\n");
    let said = new.reset(&the_box, &stick).await.expect(1);
    assert!(said.err.contains("events of its own") && said.err.contains("factory-reset.txt"), "{}", said.err);
    assert_eq!(tests_in(&new.state("events.db")), 2);

    // Nothing is forgotten for a restore that cannot be done; both together begin anew from the stick.
    let no_stick = the_box.home.path("no-stick");
    fs::create_dir(&no_stick).expect("a folder of our own");
    new.order("restore.txt.txt", "same\nbox\n");
    new.order("factory-reset.txt", "box\neverything\n");
    new.reset(&the_box, &no_stick).await.expect(1);
    assert!(new.answer("factory-reset.refused.txt").contains("nothing was forgotten"));
    assert_eq!(tests_in(&new.state("events.db")), 2);
    new.order("restore.txt", "same\nbox\n");
    new.order("factory-reset.txt", "box\neverything\n");
    new.reset(&the_box, &stick).await.expect(0);
    assert_eq!(tests_in(&new.state("events.db")), 2);

    // Another box beside the old one needs a name of its own, and gets nothing of the old one's settings.
    new.order("factory-reset.txt", "box\neverything\n");
    new.order("restore.txt", "new\nbox\n");
    new.reset(&the_box, &stick).await.expect(1);
    assert!(new.answer("restore.refused.txt").contains("another gateway.id"));
    new.order("gateway.yaml", "gateway:\n  id: bench-2\n");
    new.order("factory-reset.txt", "bench-2\neverything\n");
    new.order("restore.txt", "new\nbox\n");
    new.reset(&the_box, &stick).await.expect(0);
    assert!(!new.state("last-good.yaml").exists() && tests_in(&new.state("events.db")) == 2);
    new.order("factory-reset.txt", "bench-2\neverything\n");
    new.order("restore.txt", "same\nbox\n");
    let said = new.reset(&the_box, &stick).await.expect(1);
    assert!(said.err.contains("bench-2") && said.err.contains("is of box"), "{}", said.err);
}

/// A copy with one bit of its database turned over. Of two that reach as far the later name is taken for the newer.
fn torn(stick: &Path, name: &str, copy: &str) {
    let folder = stick.join("analyzer-gateway-backups");
    let mut bytes = fs::read(folder.join(name)).expect("a backup");
    let at = bytes.windows(15).position(|window| window == b"SQLite format 3").expect("a database") + 2000;
    bytes[at] ^= 1;
    fs::write(folder.join(copy), bytes).expect("a folder of our own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_costs_nothing_and_an_older_whole_one_is_taken() {
    let (the_box, root) = used("box").await;
    let stick = the_box.home.path("stick");
    let folder = stick.join("analyzer-gateway-backups");
    fs::create_dir_all(&folder).expect("a folder of our own");
    root.appliance(&the_box, &["stick", "--folder", &stick.to_string_lossy()]).await.expect(0);
    let whole = backups(&stick).remove(0);
    torn(&stick, &whole, "zz-newer.tar");
    let put_away = the_box.home.path("whole.tar");
    fs::rename(folder.join(&whole), &put_away).expect("a file of our own");
    let order = || {
        root.order("factory-reset.txt", "box\neverything\n");
        root.order("restore.txt", "same\n");
    };
    order();
    root.reset(&the_box, &stick).await.expect(1);
    let refused = root.answer("factory-reset.refused.txt");
    let told = ["nothing was forgotten, because", "zz-newer.tar", "damaged", "another stick", "SHA-256"];
    assert!(told.iter().all(|words| refused.contains(words)), "{refused}");
    assert!(root.answer("restore.refused.txt").contains("damaged"));
    assert_eq!(tests_in(&root.state("events.db")), 2);
    assert!(!root.state("restoring").exists() && !root.card("factory-reset.done.txt").exists());

    fs::rename(&put_away, folder.join(&whole)).expect("a file of our own");
    order();
    root.reset(&the_box, &stick).await.expect(0);
    let done = root.answer("restore.done.txt");
    let told = [whole.as_str(), "damaged: zz-newer.tar", "older backup was taken", "own and stays"];
    assert!(told.iter().all(|words| done.contains(words)), "{done}");
    assert!(
        !done.contains("goes before") && !done.contains("another gateway.id"),
        "one account of the settings: {done}"
    );
    assert_eq!(tests_in(&root.state("events.db")), 2);
    assert!(root.answer("factory-reset.done.txt").contains("forgotten everything"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_secrets_does_not_run_under_the_name_of_a_new_card() {
    let (the_box, old) = used("old").await;
    let stick = the_box.home.path("stick");
    let folder = stick.join("analyzer-gateway-backups");
    fs::create_dir_all(&folder).expect("a folder of our own");
    let (settings, state) = (old.card("gateway.yaml"), old.state(""));
    let [to, config, home] = [&folder, &settings, &state].map(|path| path.to_string_lossy());
    the_box.say_bare(&["backup", "--to", &to, "--config", &config, "--state-dir", &home]).await.expect(0);

    let new = Root::new(&the_box, "new");
    new.order("gateway.yaml", include_str!("../../config/card.yaml"));
    new.order("restore.txt", "same\n");
    new.reset(&the_box, &stick).await.expect(1);
    let refused = new.answer("restore.refused.txt");
    assert!(refused.contains("holds no secrets") && refused.contains("gateway.id: box"), "{refused}");
    assert_eq!(fs::read_dir(new.state("")).expect("a folder").count(), 0, "nothing was touched");
    fs::copy(&settings, new.card("gateway.yaml")).expect("a file of our own");
    new.order("restore.txt", "same\n");
    new.reset(&the_box, &stick).await.expect(0);
    assert_eq!(tests_in(&new.state("events.db")), 2);
    let done = new.answer("restore.done.txt");
    assert!(done.contains("own and stays") && !done.contains("Put your settings"), "{done}");

    // A reset that found no events does not claim to have forgotten them.
    let empty = Root::new(&the_box, "empty");
    empty.order("gateway.yaml", "gateway:\n  id: box\n");
    empty.order("factory-reset.txt", "box\n");
    empty.reset(&the_box, &stick).await.expect(0);
    let done = empty.answer("factory-reset.done.txt");
    assert!(done.contains(empty.state("").to_string_lossy().trim_end_matches('/')), "where it looked: {done}");
    assert!(done.contains("nothing was there") && !done.contains("forgotten everything"), "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stick_loses_no_older_backup_and_is_told_about() {
    let (the_box, root) = used("box").await;
    // Not a folder one can write a file into: the name of every backup is taken by what cannot be replaced.
    let stick = the_box.home.path("stick");
    fs::create_dir_all(stick.join("analyzer-gateway-backups")).expect("a folder of our own");
    let earlier = stick.join("analyzer-gateway-backups/analyzer-gateway-box-20260110T000000Z.tar");
    fs::write(&earlier, "an old one").expect("a folder of our own");
    fs::remove_file(root.state("events.db")).expect("a file of our own");
    let said = root.appliance(&the_box, &["stick", "--folder", &stick.to_string_lossy()]).await.expect(1);
    assert!(said.err.contains("no backup could be made"), "{}", said.err);
    assert!(earlier.exists());
    let shown = root.appliance(&the_box, &["show"]).await.expect(0).json();
    assert!(shown["backup"]["reason"].as_str().is_some_and(|reason| reason.contains("nothing to back up")), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_forgets_everything_only_when_it_is_named_and_nothing_would_be_lost_unasked() {
    let (the_box, root) = used("box").await;
    let stick = the_box.home.path("no-stick");
    fs::create_dir(&stick).expect("a folder of our own");
    fs::write(root.folder.join("data/system/machine-id"), "0123").expect("a folder of our own");
    root.order("factory-reset.txt", "another-box\n");
    root.reset(&the_box, &stick).await.expect(1);
    assert!(root.answer("factory-reset.refused.txt").contains("box"));
    root.order("factory-reset.txt", "box\n");
    root.reset(&the_box, &stick).await.expect(1);
    assert!(root.answer("factory-reset.refused.txt").contains("not reached"));
    assert_eq!(tests_in(&root.state("events.db")), 2);
    root.order("factory-reset.txt", "box\neverything\n");
    root.reset(&the_box, &stick).await.expect(0);
    assert!(root.answer("factory-reset.done.txt").contains("forgotten"));
    assert_eq!(fs::read_dir(root.state("")).expect("a folder").count(), 0);
    assert!(!root.folder.join("data/system/machine-id").exists());
    assert!(root.card("gateway.yaml").is_file(), "the settings stay");
}
