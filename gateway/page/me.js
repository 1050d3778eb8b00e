// The person who is signed in: another passphrase of one's own.

import { enter, session } from "./api.js";
import { announce, el, icon } from "./dom.js";
import { connect, disconnect } from "./live.js";
import { busy, facts, field } from "./parts.js";
import { t } from "./words.js";

export async function me(root) {
  const told = el("div", { "aria-live": "polite" });
  const form = el("form.form", el("h2", t("me.passphrase")),
    field("current", t("me.current"), { type: "password", required: true, autocomplete: "current-password" }),
    field("passphrase", t("me.new"), { type: "password", required: true, autocomplete: "new-password" }, t("signin.passphrase_hint")),
    el("p.hint", t("me.ends")), el("button.primary", { type: "submit" }, t("me.change")), told);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = (id) => form.querySelector(`#${id}`).value;
    busy(form.querySelector("button"), told, async () => {
      // The session is another one from then on, so what is told live has to be asked for anew.
      disconnect();
      try {
        await enter("/api/session/passphrase", { current: value("current"), passphrase: value("passphrase") });
      } finally {
        connect();
      }
      form.reset();
      told.replaceChildren(el("p.well", icon("check"), t("me.changed")));
      announce(t("me.changed"));
    });
  });
  root.append(facts([[t("signin.name"), session.name], [t("people.role"), t(`role.${session.role}`)]]), form);
}
