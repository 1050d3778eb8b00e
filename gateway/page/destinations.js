// Where events go: how much waits for each destination, what it answered last, and the button that tries it out.

import { get, may, part, post } from "./api.js";
import { el, icon, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { because, busy, destinationName, empty, facts, state } from "./parts.js";
import { duration, moment, next, number, said, t, word } from "./words.js";

export async function destinations(root, { signal }) {
  let counted = [];
  const list = el("div.destinations");
  root.append(list);
  const paint = () => {
    const seen = new Map((overview?.destinations ?? []).map((one) => [one.id, one]));
    const cards = counted.map((one) => card({ ...seen.get(one.id), ...one, glance: seen.get(one.id) }));
    morphChildren(list, cards.length ? cards : [empty(t("destinations.none"))]);
  };
  const fetchAll = async () => {
    ({ destinations: counted } = await get("/api/destinations", signal));
    paint();
  };
  live.addEventListener("overview", () => fetchAll().catch(() => {}), { signal });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    const { act, id } = button.dataset;
    const place = button.closest("article").querySelector(".report");
    busy(button, place, async () => {
      const answer = await post(`/api/webhooks/${part(id)}/${act}`);
      if (act === "test") place.replaceChildren(report(answer));
      else await fetchAll();
    });
  }, { signal });
  await fetchAll();
}

function card(one) {
  const reason = one.reason;
  const webhook = one.id.startsWith("webhook:") && one.state !== "removed";
  const name = one.id.replace(/^webhook:/, "");
  const act = (act, symbol) => el("button", { type: "button", "data-act": act, "data-id": name }, icon(symbol), t(`destinations.${act}`));
  return el(`article.card.is-${one.state}`, { "data-key": one.id }, el("h2", destinationName(one.id)), el("p.big", state("destination", one.state)),
    reason ? el("p.reason", because(reason.code, reason.detail)) : null, reason?.next_step ? el("p.next", next(reason)) : null,
    facts([
      [t("destinations.waiting"), number(one.undone)], [t("destinations.held"), one.held ? number(one.held) : null],
      [t("destinations.dead"), one.dead ? el("a", { href: "#/dead" }, number(one.dead)) : null],
      [t("destinations.oldest"), one.undone && one.glance?.oldest_unacked_seconds ? duration(one.glance.oldest_unacked_seconds) : null],
      [t("destinations.last"), one.glance?.last_delivered_at ? moment(one.glance.last_delivered_at) : null],
      [t("destinations.given"), number(one.ordinal)],
    ]),
    webhook && may("operate") ? el("div.buttons", act("test", "send"), one.state === "paused" ? act("resume", "run") : act("pause", "pause")) : null,
    el("div.report", { "aria-live": "polite", "data-keep": true }));
}

// Hop by hop, as the gateway went.
function report(answer) {
  const hop = (hop) => el("li", state("hop_state", hop.ok ? "delivered" : "dead"), el("div", el("strong", word("hop", hop.hop)), ` ${hop.told} `,
    el("span.muted", t("destinations.milliseconds", { n: hop.milliseconds })), hop.next_step && el("p.next", said(hop.next_step))));
  return el("div.hops", el("p", el("strong", t(answer.ok ? "destinations.test_good" : "destinations.test_bad"))), el("ol.plain", answer.hops.map(hop)));
}
