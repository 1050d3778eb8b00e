// The box around the gateway: which system runs, what became of its updates, its network, its card and its light, and the text
// that stands on the card. A gateway on an ordinary system has none of these.

import { get, may, post } from "./api.js";
import { announce, el, icon, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { busy, confirm, empty, facts, spoken, state } from "./parts.js";
import { moment, number, t, word } from "./words.js";

// Something is under way; nothing else is begun meanwhile.
const AT_WORK = ["fetching", "checking", "waiting_for_test", "installing", "restarting", "proving"];
// Between two looks at the report; it is put together anew for each.
const READ_MS = 10000;

export async function box(root, { signal }) {
  const cards = el("div.cardset");
  const told = el("div", { "aria-live": "polite" });
  const report = el("section");
  root.append(cards, told, report);
  let shown = null;
  let readAt = 0;
  const paint = (now) => {
    const { appliance } = now;
    const parts = [image, update, network, card, backup, light].map((part) => part(appliance)).filter(Boolean);
    morphChildren(cards, parts.length ? parts : [empty(t("box.none"))]);
    cards.classList.toggle("cardset", parts.length > 0);
    return parts.length > 0;
  };
  const read = async () => {
    if (Date.now() - readAt < READ_MS) return;
    readAt = Date.now();
    const text = await get("/api/report", signal, "text");
    if (text === shown) return;
    shown = text;
    morphChildren(report, [el("h2", t("box.report")), el("p.hint", t("box.report_about")),
      el("pre", { tabindex: "0", lang: "en", "aria-label": t("box.report") }, text)]);
  };
  // It may not be served here.
  const again = (now) => paint(now) && read().catch(() => {});
  live.addEventListener("overview", ({ detail }) => again(detail), { signal });
  cards.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (button) busy(button, told, () => ask(button.dataset.act, told));
  }, { signal });
  await again(overview ?? (await get("/api/status", signal)));
}

// What is asked for is begun by the box itself; this view shows what becomes of it.
async function ask(action, told) {
  const wanted = { action };
  if (action !== "check") {
    const source = el("select", { id: "source" }, el("option", { value: "" }, t("box.source_url")), el("option", { value: "usb" }, t("box.source_usb")));
    const from = action === "install" && el("div.field", el("label", { for: "source" }, t("box.source")), source);
    const lines = [t(`box.${action}_detail`), from, t("box.meanwhile")].filter(Boolean);
    if (!(await confirm(t(`box.${action}_title`), lines, t(`box.${action}`)))) return;
    if (from && source.value) wanted.source = source.value;
  }
  await post("/api/update", wanted);
  told.replaceChildren(el("p.well", icon("check"), t("box.asked")));
  announce(t("box.asked"));
}

const part = (name, ...content) => el("section.card", { "data-key": name }, el("h2", t(`box.${name}`)), ...content);

function image({ image }) {
  return image && part("image", el("p.big", image.version), facts([[t("box.slot"), image.slot], [t("box.hardware"), image.compatible]]));
}

function update({ image, update }) {
  if (!image && !update) return null;
  const phase = update?.phase ?? "none";
  const working = AT_WORK.includes(phase);
  const act = (name, symbol) => el("button", { type: "button", "data-act": name }, icon(symbol), t(`box.${name}`));
  const percent = update?.percent ?? null;
  return part("update", el("p.big", state("update_phase", phase)),
    working && el("progress", { max: 100, value: percent, "aria-label": t("box.progress") }),
    update?.reason ? el("p.reason", spoken(update.reason)) : null,
    facts([[t("box.percent"), working && percent !== null ? `${number(percent)} %` : null], [t("box.from"), update?.from],
      [t("box.to"), update?.to], [t("box.since"), update && phase !== "none" ? moment(update.at) : null]]),
    image && may("administer") && !working && el("div.buttons", act("check", "search"), act("install", "save"), act("rollback", "back")));
}

function network({ network }) {
  return network && part("network", el("p.big", state("network", network.in_force)), network.reason ? el("p.reason", spoken(network.reason)) : null,
    facts([[t("box.addresses"), network.addresses.length ? network.addresses.join(", ") : t("value.none")], [t("box.since"), moment(network.at)]]));
}

function card({ card }) {
  return card && part("card", el("p.big", state("card", card.written ? "written" : "refused")), card.reason ? el("p.reason", spoken(card.reason)) : null,
    facts([[t("box.since"), moment(card.at)]]));
}

function backup({ backup }) {
  if (!backup) return null;
  const how = backup.reason ? "refused" : backup.file ? "written" : "none";
  return part("backup", el("p.big", state("backup", how)), backup.reason ? el("p.reason", spoken(backup.reason)) : null,
    facts([[t("box.backup_file"), backup.file], [t("box.backup_made"), backup.made_at && moment(backup.made_at)]]));
}

function light({ light }) {
  return light && part("light", el("p.big", state("light", light)));
}
