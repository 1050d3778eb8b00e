//! A trial and its end, by a clock that the tests make pass.

use super::*;
use crate::platform::BoxFuture;
use gateway_core::event::Id;
use gateway_core::time::Now;
use std::path::PathBuf;
use tokio::time::Instant;

/// Tokio's clock, which a test can make pass.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Now {
        Now { mono: Mono(0).after(self.0.elapsed()), ..Now::default() }
    }

    fn boot(&self) -> Id {
        Id([0; 16])
    }

    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(due.since(self.now().mono)))
    }
}

/// A state folder of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("desk-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn desk(folder: &Path) -> (Desk, mpsc::Receiver<Order>) {
    let file = folder.join("gateway.yaml");
    fs::write(&file, "gateway: { id: box }\n").expect("a folder of our own");
    let state_dir = Some(folder.to_owned());
    let source = Source { file: Some(file), state_dir, environment: Vec::new(), usual: Vec::new() };
    let Ok(current) = configuration::load(&source) else { panic!("the settings are good") };
    let (orders, ordered) = mpsc::channel(4);
    let clock = Arc::new(Paused(Instant::now()));
    (
        Desk { source, orders, clock, current, file_refused: None, trial: None, other_half: None, echo_awaited: false },
        ordered,
    )
}

async fn ask(desk: &mut Desk, wish: Wish) -> Result<Granted, Refused> {
    let (answer, answered) = oneshot::channel();
    desk.hear(Asked { wish, answer }).await.expect("orders are taken");
    answered.await.expect("an answer")
}

/// The same on a box, whose privileged half does not run.
fn on_a_box(folder: &Path) -> (Desk, mpsc::Receiver<Order>) {
    let (mut desk, ordered) = desk(folder);
    for folder in ["run/analyzer-gateway", "boot/firmware", "usr/lib/analyzer-gateway"].map(|path| folder.join(path)) {
        fs::create_dir_all(folder).expect("a folder of our own");
    }
    fs::write(folder.join("usr/lib/analyzer-gateway/image.json"), "{}").expect("a folder of our own");
    let card = folder.join("boot/firmware/gateway.yaml");
    fs::rename(folder.join("gateway.yaml"), &card).expect("a folder of our own");
    desk.source.file = Some(card);
    desk.other_half = OtherHalf::of(folder);
    (desk, ordered)
}

fn by() -> By {
    By { client: "lead".to_owned(), door: "HTTP" }
}

#[tokio::test(start_paused = true)]
async fn the_former_settings_come_back_when_the_time_of_a_trial_is_over_and_not_before() {
    let folder = Folder::new("over");
    let (mut desk, mut ordered) = desk(&folder.0);
    let former = desk.current.hash.clone();
    let push = || Wish::Push {
        yaml: "gateway: { id: box }\nretention: { events_kept_days: 77 }\n".to_owned(),
        trial: Duration::from_secs(300),
        by: by(),
    };
    let pushed = ask(&mut desk, push()).await.expect("good settings");
    assert_eq!(pushed.confirm_by, Some(Timestamp(300_000)));
    let Some(Order::Try { config, done, .. }) = ordered.recv().await else { panic!("they are tried") };
    assert_eq!(config.hash, pushed.hash);
    done.send(Ok(())).expect("somebody waits for it");

    let began = Instant::now();
    let turn = desk.turn().await;
    assert!(matches!(turn, Turn::Applied(Ok(()))));
    desk.take(turn).await.expect("orders are taken");
    let turn = desk.turn().await;
    assert!(matches!(turn, Turn::Over));
    assert_eq!(began.elapsed().as_secs(), 300);
    desk.take(turn).await.expect("orders are taken");
    let Some(Order::Lapsed { hash, why, former: Some(back) }) = ordered.recv().await else { panic!("they lapse") };
    assert_eq!((hash, &back.hash), (pushed.hash.clone(), &former));
    assert!(why.contains("lead") && why.contains("in time"), "{why}");

    // Too late to keep them; the card and the state folder know nothing of them, and others may be pushed.
    let confirm = Wish::Confirm { hash: None, served: pushed.hash, by: by() };
    let Err(Refused::Now { code, .. }) = ask(&mut desk, confirm).await else { panic!("it is too late") };
    assert_eq!(code, "nothing_to_confirm");
    let Ok(file) = configuration::load(&desk.source) else { panic!("the file is as it was") };
    assert!(file.hash == former && !folder.0.join(NOTE).exists());
    ask(&mut desk, push()).await.expect("they may be tried again");
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_not_in_force_when_their_time_is_over_lapse_too() {
    let folder = Folder::new("never");
    let (mut desk, mut ordered) = desk(&folder.0);
    let yaml = "gateway: { id: box }\nretention: { events_kept_days: 77 }\n".to_owned();
    ask(&mut desk, Wish::Push { yaml, trial: Duration::from_secs(60), by: by() }).await.expect("good settings");
    let Some(Order::Try { done, .. }) = ordered.recv().await else { panic!("they are tried") };
    let turn = desk.turn().await;
    assert!(matches!(turn, Turn::Over));
    desk.take(turn).await.expect("orders are taken");
    assert!(matches!(ordered.recv().await, Some(Order::Lapsed { former: Some(_), .. })));
    assert!(done.send(Ok(())).is_err(), "nobody waits for it any more");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_puts_onto_the_card_is_taken_back_and_may_be_confirmed_again() {
    let folder = Folder::new("card");
    let (mut desk, mut ordered) = on_a_box(&folder.0);
    let yaml = "gateway: { id: box }\nretention: { events_kept_days: 77 }\n".to_owned();
    let push = Wish::Push { yaml: yaml.clone(), trial: Duration::from_secs(300), by: by() };
    let pushed = ask(&mut desk, push).await.expect("good settings");
    let Some(Order::Try { done, .. }) = ordered.recv().await else { panic!("they are tried") };
    done.send(Ok(())).expect("somebody waits for it");
    let request = folder.0.join("run/analyzer-gateway/requests/settings.json");
    for _ in 0..2 {
        let (answer, mut answered) = oneshot::channel();
        let wish = Wish::Confirm { hash: None, served: pushed.hash.clone(), by: by() };
        desk.hear(Asked { wish, answer }).await.expect("orders are taken");
        assert!(request.exists() && desk.is_writing() && answered.try_recv().is_err());
        let turn = desk.turn().await;
        desk.take(turn).await.expect("orders are taken");
        let Ok(Err(Refused::Now { code, detail })) = answered.await else { panic!("it is not kept") };
        assert!(code == "not_writable" && detail.contains("keep-settings"), "{detail}");
        assert!(!request.exists() && !desk.is_writing());
    }
    // Root has written the file and was stopped before it could say so.
    let (answer, answered) = oneshot::channel();
    let wish = Wish::Confirm { hash: None, served: pushed.hash.clone(), by: by() };
    desk.hear(Asked { wish, answer }).await.expect("orders are taken");
    fs::remove_file(request).expect("a request");
    fs::write(folder.0.join("boot/firmware/gateway.yaml"), yaml).expect("a folder of our own");
    let turn = desk.turn().await;
    desk.take(turn).await.expect("orders are taken");
    assert_eq!(answered.await.expect("an answer").expect("they are kept").hash, pushed.hash);
    assert!(matches!(ordered.recv().await, Some(Order::Kept)));
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_kept_settings_ends_no_trial_and_a_signal_after_it_does() {
    let folder = Folder::new("echo");
    let (mut desk, mut ordered) = desk(&folder.0);
    desk.echo_awaited = true;
    let yaml = "gateway: { id: box }\nretention: { events_kept_days: 77 }\n".to_owned();
    ask(&mut desk, Wish::Push { yaml, trial: Duration::from_secs(60), by: by() }).await.expect("good settings");
    let Some(Order::Try { .. }) = ordered.recv().await else { panic!("they are tried") };
    desk.read_again().await.expect("nothing to do");
    assert!(desk.trial.is_some() && ordered.try_recv().is_err());
    desk.read_again().await.expect("orders are taken");
    assert!(desk.trial.is_none() && matches!(ordered.recv().await, Some(Order::Lapsed { .. })));
}
