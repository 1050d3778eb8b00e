// One test: live while it runs, its curves, its results with flags, where they went, and what ran before it.

import { get, may, part, post } from "./api.js";
import { Curve } from "./curve.js";
import { announce, el, icon, morphChildren } from "./dom.js";
import { live } from "./live.js";
import { busy, empty, facts, outcome, sample, sent, state, table, ticks } from "./parts.js";
import { Run } from "./run.js";
import { exactly, moment, t, word } from "./words.js";

const PAST = 6;
// After these something of the run may be missing; where, the gateway tells once it has heard more.
const BREAKS = ["GAP", "ANALYZER_DISCONNECTED", "ANALYZER_CONNECTED"];

export async function test(root, { signal, rest: [id], title }) {
  const address = `/api/tests/${part(id ?? "")}`;
  let view = null;
  let run = null;
  // Up to where in the log the view is, and up to where it should be.
  let newest = 0;
  let heard = 0;
  let loading = false;
  let broken = false;
  const curve = new Curve();
  const head = el("div.head");
  const places = { results: el("section"), sent: el("section"), registration: el("section"), facts: el("section"), past: el("section") };
  const drawing = el("section", { "aria-labelledby": "curves" }, el("h2", { id: "curves" }, t("test.curves")), curve.element, downloads(address));
  root.append(head, drawing, places.results, places.sent, places.registration, places.facts, places.past);

  const paint = () => {
    const { test } = view;
    title(sample(test));
    const running = test.state === "TESTING";
    morphChildren(head, [el("p.lead", running ? state("test_state", "running") : verdict(view)),
      el("p.muted", [view.analyzer, view.device?.model, running ? t("test.so_far", { n: rounds(run) }) : moment(test.finished_at ?? view.updated_at)].filter(Boolean).join(" · ")),
      el("ul.marks.plain", [test.qc && t("test.control"), test.calibration && t("test.calibration"), test.version > 1 && t("test.version", { n: test.version })]
        .filter(Boolean).map((mark) => el("li", mark)))]);
    drawing.hidden = !view.data && !run.samples.length;
    curve.show(run, { control: view.control_channel ?? null, gaps: view.gaps ?? [] });
    morphChildren(places.results, results(test));
    morphChildren(places.facts, [el("h2", t("test.facts")), facts([
      [t("test.sample"), test.sample_id], [t("test.instrument_sample"), test.instrument_sample_id], [t("test.patient"), test.patient_id],
      [t("test.analyzer"), view.analyzer], [t("test.model"), view.device?.model], [t("test.serial"), view.device?.sn],
      [t("test.started"), test.started_at], [t("test.finished"), test.finished_at], [t("test.stored"), exactly(view.updated_at)], [t("test.id"), view.id],
    ])]);
  };
  const load = async () => {
    loading = true;
    try {
      let asked;
      do {
        asked = heard;
        view = await get(address, signal);
        run = new Run(view.data);
        newest = view.seq;
        paint();
        // What was told while the answer was on its way may not be in it.
      } while (heard > newest && heard > asked);
    } finally {
      loading = false;
    }
    await around();
  };
  const around = async () => {
    const now = view;
    if (now.test.state === "DONE") morphChildren(places.sent, [el("h2", t("sent.title")), ticks(await sent(id, signal))]);
    await Promise.all([registration(places.registration, now.test, signal), past(places.past, now, signal)]);
  };
  const quietly = (work) => work().catch(() => {});
  live.addEventListener("event", ({ detail }) => {
    if (BREAKS.includes(detail.event) && detail.analyzer === view?.analyzer) broken = true;
    if (detail.test?.id !== id) return;
    heard = detail.seq;
    if (loading || detail.seq <= newest) return;
    newest = detail.seq;
    const known = run.channels().size;
    // Which channel is the control is known only once it has told something.
    if (detail.event !== "NEW_DATA" || !detail.run || !run.add(detail.run) || run.channels().size > known || broken) {
      broken = false;
      if (detail.event === "TEST_FINISHED") announce(t("test.has_finished"));
      quietly(load);
    } else {
      paint();
    }
  }, { signal });
  live.addEventListener("overview", () => quietly(async () => {
    if (view?.test.state === "DONE") morphChildren(places.sent, [el("h2", t("sent.title")), ticks(await sent(id, signal))]);
  }), { signal });
  await load();
}

// `N` says that nothing is unusual.
const flags = (one) => (one.flags ?? []).filter((flag) => flag !== "" && flag !== "N");
const rounds = (run) => Math.max(0, ...[...run.channels().values()].map((points) => points.length));

// The one word of a test that has one, as its last result says it.
function verdict({ test }) {
  const whole = test.result?.detectionResult ?? (test.results.length === 1 ? test.results[0].value : null);
  if (typeof whole === "string" && whole) return el("strong.verdict", word("result", whole));
  return outcome({ ...test, results: test.results.length, flagged: test.results.filter((one) => flags(one).length).length });
}

function results(test) {
  const heading = el("h2", t("test.results"));
  if (!test.results.length) return [heading, empty(t(test.state === "DONE" ? "test.no_results" : "test.results_later"))];
  const columns = ["name", "value", "unit", "reference", "flags"].map((name) => t(`test.column_${name}`));
  const row = (one, at) => ({ key: `${one.code} ${one.run ?? at}`, cells: [
    [one.name || one.code, one.loinc && el("span.muted", ` ${one.loinc}`), test.corrected?.includes(one.code) && el("span.flag", t("test.corrected"))],
    one.omitted ? t("test.omitted") : el("strong", word("result", one.value)), one.unit, one.reference,
    flags(one).length ? el("span.flag", icon("alert"), flags(one).join(", ")) : ""] });
  return [heading, table(t("test.results"), columns, test.results.map(row)),
    test.comments?.length && el("ul", test.comments.map((comment) => el("li", comment)))].filter(Boolean);
}

function downloads(address) {
  const link = (kind) => el("li", el("a.button", { href: `${address}/curve.${kind}`, download: `curve.${kind}` }, icon("save"), kind.toUpperCase()));
  return el("ul.plain.buttons", ["svg", "png", "csv"].map(link),
    el("li", el("a.button", { href: `${address}/report.html`, target: "_blank", rel: "noopener" }, icon("book"), t("test.report"))));
}

// The registration of its sample, which a person may verify here.
async function registration(place, test, signal) {
  if (!test.sample_id) return;
  const { registrations } = await get(`/api/registrations?limit=20&sample_id=${part(test.sample_id)}`, signal);
  const found = registrations.map((one) => one.registration).findLast((one) => one.test === test.id);
  if (!found) return;
  const told = el("div");
  const button = !found.verified_at && test.state === "DONE" && may("operate") && el("button.primary", { type: "button", "data-verify": found.id }, icon("check"), t("registrations.verify"));
  button?.addEventListener?.("click", () => busy(button, told, async () => {
    await post(`/api/registrations/${part(found.id)}/verify`, {});
    await registration(place, test, signal);
  }));
  place.replaceChildren(el("h2", t("test.registration")), facts([[t("registrations.id"), found.id],
    [t("registrations.verified"), found.verified_at && t("registrations.verified_by", { who: found.verified_by ?? "", at: moment(found.verified_at) })]]),
  ...[button, told].filter(Boolean));
}

// What ran on this analyzer before and after.
async function past(place, view, signal) {
  const { tests } = await get(`/api/tests?analyzer=${part(view.analyzer)}&limit=${PAST}`, signal);
  const others = tests.filter((one) => one.id !== view.id);
  const row = (one) => el("li.row", { "data-key": one.id }, el("a.what", { href: `#/test/${one.id}` }, el("strong", sample(one)),
    el("span.muted", moment(one.finished_at ?? one.received_at))), el("span.came", outcome(one)));
  morphChildren(place, [el("h2", t("test.past")), others.length ? el("ul.rows.plain", others.map(row)) : empty(t("test.no_past")),
    el("p", el("a", { href: `#/tests?analyzer=${part(view.analyzer)}` }, t("test.all_past")))]);
}
