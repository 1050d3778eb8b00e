// The way in: the pairing code while nobody is known here, else name and passphrase.

import { enter, session } from "./api.js";
import { el } from "./dom.js";
import { busy, field } from "./parts.js";
import { t } from "./words.js";

// Where somebody is known already, a new code is for one who has lost the passphrase; the others sign in as ever.
export async function signIn(root, { title }, first = session.state === "unpaired" && !session.again) {
  title(t(!first ? "signin.title" : session.again ? "signin.again_title" : "signin.pair_title"));
  const told = el("div", { "aria-live": "assertive" });
  const form = el("form.form",
    el("p", t(!first ? "signin.about" : session.again ? "signin.again_about" : "signin.pair_about")),
    first && field("code", t("signin.code"), { required: true, inputmode: "numeric", placeholder: "1234-5678", maxlength: 16, autocomplete: "one-time-code" }, t("signin.code_hint")),
    field("name", t("signin.name"), { required: true, autocomplete: "username", autocapitalize: "off", spellcheck: "false" }, first && t("signin.name_hint")),
    field("passphrase", t("signin.passphrase"), { type: "password", required: true, autocomplete: first ? "new-password" : "current-password" }, first && t("signin.passphrase_hint")),
    el("label.check", el("input", { type: "checkbox", onchange: (event) => {
      form.querySelector("#passphrase").type = event.target.checked ? "text" : "password";
    } }), t("signin.show")),
    el("button.primary", { type: "submit" }, t(first ? "signin.pair" : "signin.enter")),
    session.state === "unpaired" && session.again && el("button", { type: "button", onclick: () => {
      root.replaceChildren();
      signIn(root, { title }, !first);
    } }, t(first ? "signin.to_passphrase" : "signin.to_code")), told);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = (id) => form.querySelector(`#${id}`)?.value;
    const body = { name: value("name").trim(), passphrase: value("passphrase") };
    if (first) body.code = value("code").trim();
    busy(form.querySelector("[type=submit]"), told, () => enter(first ? "/api/session/pair" : "/api/session", body));
  });
  root.append(form);
  form.querySelector("input").focus();
}
