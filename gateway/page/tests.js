// The tests of all analyzers, newest first, a page at a time.

import { get } from "./api.js";
import { el, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { busy, empty, outcome, sample, table } from "./parts.js";
import { moment, t } from "./words.js";

const PAGE = 50;

export async function tests(root, { signal, query }) {
  let rows = [];
  let next = null;
  const chosen = { analyzer: query.get("analyzer") ?? "", state: "", qc: "" };
  const list = el("div");
  const more = el("button", { type: "button", hidden: true }, t("action.older"));
  const place = el("div");
  const select = (name, label, options) => el("label.choice", { for: `filter-${name}` }, el("span", label),
    el("select", { id: `filter-${name}`, onchange: (event) => filter(name, event.target.value) },
      options.map(([value, text]) => el("option", { value, selected: chosen[name] === value }, text))));
  const analyzers = (overview?.analyzers ?? (await get("/api/status", signal)).analyzers).map((one) => [one.id, one.id]);
  root.append(el("div.filters", { role: "search", "aria-label": t("tests.filter") },
    select("analyzer", t("tests.analyzer"), [["", t("tests.all")], ...analyzers]),
    select("state", t("tests.state"), [["", t("tests.all")], ["TESTING", t("test_state.running")], ["DONE", t("test_state.DONE")]]),
    select("qc", t("tests.kind"), [["", t("tests.all")], ["false", t("tests.patients")], ["true", t("test.control")]])), list, more, place);

  const paint = () => {
    more.hidden = next === null;
    const columns = ["sample", "analyzer", "outcome", "time"].map((name) => t(`tests.column_${name}`));
    const row = (test) => ({ key: test.id, cells: [
      el("a", { href: `#/test/${test.id}` }, sample(test)), test.analyzer,
      el("span", outcome(test), test.version > 1 && el("span.muted", ` ${t("test.version", { n: test.version })}`)), moment(test.finished_at ?? test.received_at)] });
    morphChildren(list, [rows.length ? table(t("tests.title"), columns, rows.map(row)) : empty(t("tests.none"))]);
  };
  const page = async (before) => {
    const asked = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of Object.entries(chosen)) if (value) asked.set(name, value);
    if (before !== null) asked.set("before", before);
    const answer = await get(`/api/tests?${asked}`, signal);
    rows = before === null ? answer.tests : [...rows, ...answer.tests];
    next = answer.next;
    paint();
  };
  const filter = (name, value) => {
    chosen[name] = value;
    page(null).catch(() => {});
  };
  more.addEventListener("click", () => busy(more, place, () => page(next)));
  live.addEventListener("event", ({ detail }) => {
    if (detail.test && detail.event !== "NEW_DATA" && rows.length <= PAGE) page(null).catch(() => {});
  }, { signal });
  await page(null);
}
