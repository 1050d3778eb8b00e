//! What shells and manuals know of the commands, and `docs/commands.md`.

use super::box_::Box;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

const HEAD: &str = "# The commands\n\n\
    Made from the program's own help by `UPDATE=1 cargo test -p gateway-tests --test tools`; `analyzer-gateway man --to DIR`\n\
    writes the same as manual pages, `analyzer-gateway completions bash|zsh|fish` what a shell completes.\n\n\
    Exit statuses: 0 fine, 1 something needs a person, is refused or is not there, 2 wrong arguments, 3 nobody answers or\n\
    something cannot be read or written, 78 the settings cannot be used. `--json` is for programs: fields may be added, none\n\
    changes its meaning. The commands ask the gateway that runs over `<state_dir>/control.sock`; while none runs they open its\n\
    store themselves, where that makes sense. Who has read a person's data stands in the audit log.\n\n\
    A backup is one moment of the log, taken beside the gateway that writes it, so nothing waits for it. It holds patients' data\n\
    and, with `--with-secrets`, every secret: keep it accordingly. What was delivered after it was made is delivered again by a\n\
    restored gateway, under the same ids, so receivers drop it as a repeat; what was stored after it is not in it, and a `GAP`\n\
    says so. Numbers of events and registrations leap by a million, so that none is given out twice. A second box made from\n\
    another one's backup is restored with `--new-identity`.\n\n";

#[test]
fn the_page_of_the_commands_is_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    let text = format!("{HEAD}{}", gateway_daemon::commands::pages::reference().trim_end()) + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("a folder of the project");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/commands.md is not as the commands are: UPDATE=1 rewrites it");
}

#[tokio::test]
async fn shells_take_the_completions_and_every_command_has_a_page() {
    let the_box = Box::new("");
    for (shell, flag) in [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")] {
        let script = the_box.say_bare(&["completions", shell]).await.expect(0).out;
        for command in ["doctor", "explain", "with-secrets"] {
            assert!(script.contains(command), "{shell} knows no {command}");
        }
        let judge = tokio::process::Command::new(shell).arg(flag).stdin(Stdio::piped()).kill_on_drop(true).spawn();
        // A shell that is not here judges nothing; bash always is.
        let Ok(mut judge) = judge else {
            assert!(shell != "bash", "bash is needed");
            continue;
        };
        let mut input = judge.stdin.take().expect("a pipe");
        input.write_all(script.as_bytes()).await.expect("it reads");
        drop(input);
        assert!(judge.wait().await.expect("it ends").success(), "{shell} does not take its completion");
    }
    the_box.say_bare(&["completions", "tcsh"]).await.expect(2);

    let folder = the_box.home.path("man1");
    let said = the_box.say_bare(&["man", "--to", &folder.to_string_lossy()]).await.expect(0);
    let names: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(said.out.starts_with(&names.len().to_string()), "{}", said.out);
    for page in ["analyzer-gateway.1", "analyzer-gateway-doctor.1", "analyzer-gateway-captures-export.1"] {
        assert!(names.iter().any(|name| name == page), "{page} in {names:?}");
        assert!(std::fs::read_to_string(folder.join(page)).expect("a page").contains(".TH "), "{page}");
    }
    let page = the_box.say_bare(&["man", "dead", "list"]).await.expect(0).out;
    assert!(page.contains("Only at this destination"), "{page}");
    the_box.say_bare(&["man", "nothing"]).await.expect(2);
}
