// Who may use this page, and how much.

import { get, part, post, remove, session } from "./api.js";
import { el, morphChildren } from "./dom.js";
import { busy, confirm, field, table } from "./parts.js";
import { moment, t } from "./words.js";

const ROLES = ["view", "operate", "administer"];

export async function people(root, { signal }) {
  const list = el("section");
  const told = el("div", { "aria-live": "polite" });
  const role = el("div.field", el("label", { for: "role" }, t("people.role")), el("select", { id: "role" }, ROLES.map((role) => el("option", { value: role }, t(`role.${role}`)))));
  const add = el("form.form", el("h2", t("people.add")), field("name", t("signin.name"), { required: true, autocapitalize: "off" }),
    field("passphrase", t("signin.passphrase"), { type: "password", required: true, autocomplete: "new-password" }, t("signin.passphrase_hint")), role,
    el("p.hint", t("people.roles")), el("button.primary", { type: "submit" }, t("people.add")));
  root.append(list, told, add);
  const fetchAll = async () => {
    const { people } = await get("/api/people", signal);
    const act = (one, act) => el("button.small", { type: "button", "data-act": act, "data-name": one.name }, t(`people.${act}`));
    const row = (one) => ({ key: one.name, cells: [one.name, t(`role.${one.role}`), moment(one.added_at),
      el("span.buttons", act(one, "new_passphrase"), one.name === session.name ? t("people.you") : act(one, "remove"))] });
    morphChildren(list, [table(t("people.title"), ["name", "role", "since", "do"].map((name) => t(`people.column_${name}`)), people.map(row))]);
  };
  add.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = (id) => add.querySelector(`#${id}`).value;
    busy(add.querySelector("button"), told, async () => {
      await post("/api/people", { name: value("name").trim(), passphrase: value("passphrase"), role: value("role") });
      add.reset();
      await fetchAll();
    });
  }, { signal });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    const { act, name } = button.dataset;
    busy(button, told, async () => {
      if (act === "remove") {
        if (!(await confirm(t("people.remove_title", { name }), t("people.ends"), t("people.remove")))) return;
        await remove(`/api/people/${part(name)}`);
      } else {
        const asked = field("new-passphrase", t("signin.passphrase"), { type: "password", autocomplete: "new-password" }, t("signin.passphrase_hint"));
        if (!(await confirm(t("people.new_title", { name }), [t("people.ends"), asked], t("people.new_passphrase")))) return;
        await post(`/api/people/${part(name)}`, { passphrase: asked.querySelector("input").value });
      }
      await fetchAll();
    });
  }, { signal });
  await fetchAll();
}

