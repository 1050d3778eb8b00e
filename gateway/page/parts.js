// Parts that several views have: states in words with an icon, failures, lists of facts, confirmation.

import { Problem, get, part } from "./api.js";
import { el, icon } from "./dom.js";
import { overview } from "./live.js";
import { language, moment, said, t, why, word } from "./words.js";

const ICONS = {
  init: "wait", ready: "check", disconnected: "unplug", sleeping: "pause", lost: "unplug", alert: "alert",
  running: "run", done: "check", paused: "pause", trouble: "alert", removed: "info",
  now: "alert", today: "alert", watch: "info",
  none: "info", fetching: "wait", checking: "wait", waiting_for_test: "pause", installing: "run", restarting: "wait", proving: "wait",
  good: "check", rolled_back: "alert", failed: "cross", system: "info", settings: "check", trying: "wait", fallback: "alert",
  written: "check", refused: "cross", starting: "wait", fine: "check", degraded: "alert", config_error: "cross", no_network: "unplug",
  updating: "run", behind: "wait", behind_pause: "pause",
  delivered: "check", queued: "wait", waiting: "wait", held: "held", dead: "cross", never: "info",
};

// A state in a word with an icon; its colour is only a third sign.
export function state(group, name, more) {
  return el(`span.state.state-${name}`, icon(ICONS[name] ?? "info"), el("span", word(group, name)), more);
}

// What was refused, and what can be done about it.
export function failure(error, again) {
  console.assert(error instanceof Problem, error);
  const faults = error.faults ?? [];
  const detail = error instanceof Problem ? (faults.length === 1 ? fault(faults[0]) : spoken(error.message)) : t("problem.page", { detail: String(error.message ?? error) });
  return el("div.failure", { role: "alert" }, icon("alert"), el("div",
    el("p", detail),
    error.retryAfter && el("p", t("problem.wait", { n: error.retryAfter })),
    faults.length > 1 && el("ul", faults.map((one) => el("li", fault(one)))),
    again && el("button", { type: "button", onclick: again }, t("action.again"))));
}

// What is wrong with one of the fields, by the name that it has in the form.
function fault({ path, problem }) {
  const name = path.split("/")[1];
  return [name ? `${word("field", name)}: ` : "", spoken(problem)];
}

// A sentence of the gateway: in this page's language if it knows the sentence, else marked as English.
export function spoken(english) {
  const text = said(english);
  return text !== english || language === "en" ? text : el("span", { lang: "en" }, english);
}

// Why something is as it is. Where another language has words for the code, the gateway's own follow them.
export function because(code, english) {
  const known = why(code);
  if (!known || said(english) !== english) return spoken(english);
  return [known, el("span.muted", { lang: "en" }, ` (${english})`)];
}

// Names and values, without those that are not known.
export function facts(pairs) {
  const known = pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "");
  return el("dl.facts", known.map(([name, value]) => el("div", el("dt", name), el("dd", value))));
}

export function empty(text) {
  return el("p.empty", text);
}

// A table that a narrow screen shows as cards: `columns` are headings, `rows` are `{key, cells}`.
export function table(caption, columns, rows) {
  return el("table.cards", el("caption.unseen", caption),
    el("thead", el("tr", columns.map((column) => el("th", { scope: "col" }, column)))),
    el("tbody", rows.map(({ key, cells }) => el("tr", { "data-key": key },
      cells.map((cell, at) => el("td", { "data-label": columns[at] }, cell))))));
}

// Does `work` while the button shows that it does, and shows beside it what goes wrong.
export async function busy(button, place, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  place?.replaceChildren();
  try {
    return await work();
  } catch (error) {
    place?.replaceChildren(failure(error));
    return undefined;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

// Asks before something is done. Gives whether it shall be.
export function confirm(title, detail, yes) {
  return new Promise((resolve) => {
    const cancel = el("button", { type: "button", onclick: () => dialog.close("") }, t("action.cancel"));
    const go = el("button.primary", { type: "button", onclick: () => dialog.close("yes") }, yes);
    const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, el("h2", { id: "dialog-title" }, title),
      [detail].flat().map((line) => (line instanceof Node ? line : el("p", line))), el("div.buttons", go, cancel));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}

export function field(id, label, attributes, hint) {
  return el("div.field", el("label", { for: id }, label), el("input", { id, name: id, autocomplete: "off", ...attributes,
    "aria-describedby": hint && `${id}-hint` }), hint && el("p.hint", { id: `${id}-hint` }, hint));
}

// What a destination is called: `mqtt`, or its own id.
export function destinationName(id) {
  return id === "mqtt" ? t("destination.broker") : id.replace(/^webhook:/, "");
}

const settled = new Map();

// Where the results of a test have gone: a tick, a clock or a cross for each destination.
export async function sent(id, signal) {
  if (settled.has(id)) return settled.get(id);
  const { deliveries } = await get(`/api/tests/${part(id)}/deliveries`, signal);
  if (deliveries.length && deliveries.every((one) => one.state === "delivered")) {
    if (settled.size > 500) settled.clear();
    settled.set(id, deliveries);
  }
  return deliveries;
}

export function ticks(deliveries) {
  if (!deliveries.length) return el("span.muted", t("sent.nowhere"));
  const tick = (one) => {
    const how = standing(one);
    return el("li", { "data-key": one.destination },
      el(`span.state.state-${how}`, { title: [word("delivery", how), one.at && moment(one.at), one.reason && (why(one.reason.code) ?? one.reason.detail)].filter(Boolean).join(" · ") },
        icon(ICONS[how] ?? "info"), el("span", destinationName(one.destination)), el(how === "delivered" ? "span.unseen" : "em", word("delivery", how))));
  };
  return el("ul.ticks", { "aria-label": t("sent.title") }, deliveries.map(tick));
}

// What was not tried yet is on its way only if its destination takes anything.
function standing({ state, destination }) {
  const at = overview?.destinations.find((one) => one.id === destination)?.state;
  if (at === "paused" && (state === "queued" || state === "waiting")) return "behind_pause";
  return at === "trouble" && state === "queued" ? "behind" : state;
}

// A test's state, or what came of it.
export function outcome(test) {
  if (test.erased) return el("span.muted", t("test.erased"));
  if (test.state === "TESTING") return state("test_state", "running");
  if (test.state !== "DONE") return el("span", word("test_state", test.state));
  const flagged = test.flagged > 0 && el("span.flag", icon("alert"), t("tests.flagged", { n: test.flagged }));
  const summary = test.summary ? el("strong", word("result", test.summary)) : el("span", t("tests.results", { n: test.results }));
  return el("span.outcome", summary, flagged);
}

// Whether a test is called by something of its own.
export function hasName(test) {
  return Boolean(test.qc || test.calibration || test.sample_id || test.instrument_sample_id);
}

// What a test is called: its sample, else when it was.
export function sample(test) {
  if (test.qc) return t("test.control");
  if (test.calibration) return t("test.calibration");
  return test.sample_id ?? test.instrument_sample_id ?? t("test.no_sample");
}
