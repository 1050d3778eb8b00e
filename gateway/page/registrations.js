// Samples expected or received. The field takes what a scanner types: the id and Enter. A known sample is shown, a new one is
// registered; nothing else needs to be touched.

import { get, may, part, post } from "./api.js";
import { announce, el, icon, morphChildren } from "./dom.js";
import { live } from "./live.js";
import { busy, confirm, empty, failure, field, table } from "./parts.js";
import { moment, t } from "./words.js";

const PAGE = 100;
// Beyond every number.
const NEWEST = 4294967295;

export async function registrations(root, { signal }) {
  let rows = [];
  let before = null;
  let chosen = null;
  const told = el("div", { "aria-live": "polite" });
  const list = el("section");
  const more = el("button", { type: "button", hidden: true }, t("action.older"));
  const scan = el("form.scan", field("scan", t("registrations.scan"), { inputmode: "text", enterkeyhint: "done", maxlength: 128, spellcheck: "false", autocapitalize: "off" }, t("registrations.scan_hint")),
    el("button.primary", { type: "submit" }, icon("scan"), t("registrations.find")));
  root.append(scan, told, list, more);
  const input = scan.querySelector("input");
  input.focus({ preventScroll: true });

  const paint = () => {
    morphChildren(list, [el("h2", t("registrations.known")), rows.length ? rowsOf(rows, chosen) : empty(t("registrations.none"))]);
    more.hidden = before === null;
  };
  const page = async (from) => {
    const answer = await get(`/api/registrations?limit=${PAGE}&before=${from ?? NEWEST}`, signal);
    const found = answer.registrations.map((one) => one.registration);
    rows = from ? [...rows, ...found] : found;
    before = found.length === PAGE ? found.at(-1).number : null;
    paint();
  };
  const say = (symbol, text) => {
    told.replaceChildren(el("p.well", icon(symbol), el("span", text)));
  };
  scan.addEventListener("submit", (event) => {
    event.preventDefault();
    const id = input.value.trim();
    if (!id) return;
    busy(scan.querySelector("button"), told, async () => {
      const known = await get(`/api/registrations?limit=100&sample_id=${part(id)}`, signal);
      const found = known.registrations.map((one) => one.registration).findLast((one) => !one.cancelled_at);
      const registered = found ?? (await post("/api/registrations", { sample_ids: [id] }, { key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` }));
      chosen = registered.id;
      await page(null);
      if (!rows.some((row) => row.id === chosen) && found) rows.unshift(found);
      paint();
      say(found ? "info" : "check", t(found ? "registrations.is_known" : "registrations.registered", { sample: id, id: registered.id }));
      input.value = "";
    }).then(() => input.focus());
  }, { signal });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    const { act, id } = button.dataset;
    busy(button, told, async () => {
      if (act === "cancel" && !(await confirm(t("registrations.cancel_title", { id }), t("registrations.cancel_detail"), t("registrations.cancel")))) return;
      await post(`/api/registrations/${part(id)}/${act}`, act === "cancel" || act === "rerun" ? undefined : {});
      chosen = id;
      await page(null);
      announce(t(`registrations.done_${act}`, { id }));
    });
  }, { signal });
  more.addEventListener("click", () => busy(more, told, () => page(before)));
  live.addEventListener("event", ({ detail }) => {
    if (/^(REGISTRATION|SAMPLE)_/.test(detail.event) && rows.length <= PAGE) page(null).catch(() => {});
  }, { signal });
  await page(null).catch((error) => list.replaceChildren(failure(error)));
}

function stage(one) {
  if (one.erased_at) return ["erased", one.erased_at];
  if (one.cancelled_at) return ["cancelled", one.cancelled_at];
  if (one.verified_at) return ["verified", one.verified_at];
  if (one.results_at) return ["results", one.results_at];
  if (one.sample_received_at) return ["received", one.sample_received_at];
  return ["expected", one.created_at];
}

function rowsOf(rows, chosen) {
  const columns = ["sample", "id", "stage", "do"].map((name) => t(`registrations.column_${name}`));
  const act = (one, act, primary) => el(primary ? "button.small.primary" : "button.small", { type: "button", "data-act": act, "data-id": one.id }, t(`registrations.${act}`));
  const buttons = (one, name) => may("operate") && !one.erased_at && !one.cancelled_at ? el("span.buttons",
    name === "results" ? act(one, "verify", true) : null,
    one.sample_received_at || one.results_at ? null : act(one, "sample_received"),
    one.results_at ? act(one, "rerun") : act(one, "cancel")) : "";
  const row = (one) => {
    const [name, at] = stage(one);
    const samples = one.sample_ids.join(", ") || t("value.none");
    return { key: one.id, cells: [
      [el(one.id === chosen ? "mark" : "span", samples), one.retest_of && el("span.muted", ` ${t("registrations.retest_of", { id: one.retest_of })}`)],
      [one.id, one.lab_id && el("span.muted", ` ${one.lab_id}`)],
      el("span", one.test ? el("a", { href: `#/test/${one.test}` }, t(`stage.${name}`)) : t(`stage.${name}`), el("span.muted", ` ${moment(at)}`),
        name === "verified" && el("span.muted", ` ${one.verified_by ?? ""}`)),
      buttons(one, name)] };
  };
  return table(t("registrations.known"), columns, rows.map(row));
}
