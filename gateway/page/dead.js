// What was given up or waits for a person: why, what to do, and the button that sends it again once that is done.

import { get, may, part, post } from "./api.js";
import { announce, el, icon, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { because, busy, confirm, destinationName, empty, state, table } from "./parts.js";
import { moment, next, number, t, why, word } from "./words.js";

const PAGE = 100;

export async function dead(root, { signal }) {
  let letters = [];
  let further = null;
  const held = el("section");
  const list = el("section");
  const more = el("button", { type: "button", hidden: true }, t("action.older"));
  const place = el("div");
  root.append(place, held, list, more);
  const paint = () => {
    morphChildren(held, heldList());
    morphChildren(list, groups(letters));
    more.hidden = further === null;
  };
  const page = async (after) => {
    const answer = await get(`/api/dead?limit=${PAGE}${after ? `&after=${part(after)}` : ""}`, signal);
    letters = after ? [...letters, ...answer.dead] : answer.dead;
    further = answer.next;
    paint();
  };
  more.addEventListener("click", () => busy(more, place, () => page(further)));
  live.addEventListener("overview", () => letters.length <= PAGE && page(null).catch(() => {}), { signal });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    const { act, destination, reason, id } = button.dataset;
    if (act === "attempts") return void busy(button, place, () => attempts(button, destination, id));
    const asked = id ? { ids: [id], destination } : { destination, reason };
    busy(button, place, () => redrive(asked, place, () => page(null)));
  }, { signal });
  await page(null);
}

// First what would go where; then, if the person says so, it goes.
async function redrive(asked, place, afterwards) {
  const would = await post("/api/redrive", { ...asked, dry_run: true });
  if (!would.count) return place.replaceChildren(empty(t("dead.nothing")));
  const lines = would.destinations.map((one) => t("dead.would_go", { n: one.events.length, destination: destinationName(one.destination) }));
  if (!(await confirm(t("dead.confirm"), lines, t("dead.redrive")))) return;
  const done = await post("/api/redrive", asked);
  const told = t("dead.redriven", { n: done.count });
  place.replaceChildren(el("p.well", icon("check"), told));
  announce(told);
  await afterwards();
}

async function attempts(button, destination, id) {
  const answer = await get(`/api/dead/${part(destination)}/${part(id)}`);
  const columns = ["number", "time", "answer", "why"].map((name) => t(`dead.attempt_${name}`));
  const row = (one) => ({ key: one.number, cells: [number(one.number), moment(one.at), one.status ?? t("value.none"), one.reason ? because(one.reason.code, one.reason.detail) : t("delivery.delivered")] });
  const shown = answer.attempts.length ? table(t("dead.attempts"), columns, answer.attempts.map(row)) : empty(t("dead.no_attempts"));
  await confirm(t("dead.attempts"), [shown], t("action.close"));
}

function heldList() {
  const waiting = (overview?.destinations ?? []).filter((one) => one.held > 0);
  if (!waiting.length) return [];
  const one = (one) => el("li.trouble.urgency-today", { "data-key": one.id }, state("delivery", "held"), el("div",
    el("p.reason", el("strong", destinationName(one.id)), ": ", t("dead.held", { n: one.held })), one.reason && el("p", because(one.code, one.reason)),
    el("p.next", next(overview.troubles.find((trouble) => trouble.subject === one.id && trouble.code === one.code) ?? { code: one.code }))));
  return [el("h2", t("dead.held_title")), el("ul.plain", waiting.map(one))];
}

// By destination and reason: what is mended once is sent again once.
function groups(letters) {
  if (!letters.length) return [el("h2", t("dead.dead_title")), empty(t("dead.none"))];
  const groups = new Map();
  for (const letter of letters) {
    const key = `${letter.destination} ${letter.reason.code}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(letter);
  }
  const columns = ["event", "analyzer", "received", "attempts", "do"].map((name) => t(`dead.column_${name}`));
  const row = (letter) => ({ key: `${letter.destination} ${letter.event}`, cells: [word("event", letter.name), letter.analyzer, moment(letter.received_at), number(letter.attempts),
    may("operate") ? el("span.buttons",
      el("button.small", { type: "button", "data-act": "attempts", "data-destination": letter.destination, "data-id": letter.event }, t("dead.attempts")),
      el("button.small", { type: "button", "data-act": "one", "data-destination": letter.destination, "data-id": letter.event }, t("dead.redrive"))) : ""] });
  const group = ([key, [first, ...others]]) => el("article.card", { "data-key": key },
    el("h3", destinationName(first.destination), ": ", because(first.reason.code, first.reason.detail)), el("p.next", next(first.reason)),
    may("operate") ? el("button.primary", { type: "button", "data-act": "all", "data-destination": first.destination, "data-reason": first.reason.code }, icon("send"), t("dead.redrive_all")) : null,
    table(why(first.reason.code) ?? first.reason.detail, columns, [first, ...others].map(row)));
  return [el("h2", t("dead.dead_title")), ...[...groups].map(group)];
}

