// What a nurse asks: does my analyzer run, did the result go out, what must I do? Readable from two metres.

import { get } from "./api.js";
import { el, icon, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { because, destinationName, empty, hasName, outcome, sample, sent, spoken, state, ticks } from "./parts.js";
import { moment, next, t } from "./words.js";

const LATEST = 8;
const TROUBLES_SHOWN = 4;

export async function overviewView(root, { signal }) {
  // Not known yet, which is another thing than none.
  let tests = null;
  const deliveries = new Map();
  const troubles = el("section.troubles", { "aria-labelledby": "troubles" });
  const analyzers = el("section", { "aria-labelledby": "analyzers" });
  const latest = el("section", { "aria-labelledby": "latest" });
  root.append(troubles, analyzers, latest);

  const paint = (now) => {
    if (!now) return;
    morphChildren(troubles, troubleList(now));
    const cards = now.analyzers.map((one) => analyzerCard(one, tests?.find((test) => test.analyzer === one.id)));
    morphChildren(analyzers, [el("h2", { id: "analyzers" }, t("overview.analyzers")),
      cards.length ? el("div.analyzers", cards) : empty(t("overview.no_analyzers"))]);
    morphChildren(latest, [el("h2", { id: "latest" }, t("overview.latest")), tests && latestList(tests, deliveries)].filter(Boolean));
  };
  const went = async () => {
    const finished = (tests ?? []).filter((test) => test.state === "DONE");
    await Promise.all(finished.map(async (test) => deliveries.set(test.id, await sent(test.id, signal))));
    paint(overview);
  };
  const fetchTests = async () => {
    ({ tests } = await get(`/api/tests?limit=${LATEST}`, signal));
    paint(overview);
    await went();
  };
  const quietly = (work) => work().catch(() => {});
  live.addEventListener("overview", ({ detail }) => {
    paint(detail);
    quietly(went);
  }, { signal });
  live.addEventListener("event", ({ detail }) => {
    if (detail.test && detail.event !== "NEW_DATA") quietly(fetchTests);
  }, { signal });
  paint(overview ?? (await get("/api/status", signal)));
  await fetchTests();
}

// Its sentence without the code, which is for programs.
function plain({ code, reason }) {
  return because(code, reason.startsWith(`${code}: `) ? reason.slice(code.length + 2) : reason);
}

function troubleList(now) {
  const heading = el("h2", { id: "troubles" }, t("overview.troubles"));
  if (!now.troubles.length) {
    const clear = now.destinations.every((one) => one.waiting === 0);
    return [el("h2.unseen", { id: "troubles" }, t("overview.troubles")),
      el("p.well", icon("check"), el("span", t(clear ? "overview.all_sent" : "overview.well")))];
  }
  const shown = (trouble) => el(`li.trouble.urgency-${trouble.urgency}`, { "data-key": `${trouble.code} ${trouble.subject}` },
    state("urgency", trouble.urgency),
    el("div", el("p.reason", trouble.subject !== "gateway" && el("strong", `${destinationName(trouble.subject)}: `), plain(trouble)),
      el("p.next", next(trouble), trouble.since && el("span.muted", ` · ${t("value.since", { at: moment(trouble.since) })}`))));
  const rest = now.troubles.slice(TROUBLES_SHOWN);
  return [heading, el("ul.plain", now.troubles.slice(0, TROUBLES_SHOWN).map(shown)),
    rest.length > 0 && el("details", el("summary", t("overview.more_troubles", { n: rest.length })), el("ul.plain", rest.map(shown)))].filter(Boolean);
}

// What the analyzer does, from its link and from its test.
function doing(analyzer) {
  if (analyzer.state === "ready" && analyzer.test_state === "TESTING") return "running";
  return analyzer.state;
}

function analyzerCard(analyzer, test) {
  const name = doing(analyzer);
  const blocked = analyzer.test_state.startsWith("BLOCKED") && el("p.reason", t(`test_state.${analyzer.test_state}`));
  const last = test && el("p", el("a", { href: `#/test/${test.id}` }, t("overview.last_test", { sample: sample(test) })), " ", outcome(test));
  const running = name === "running" && test?.state === "TESTING";
  return el(`article.analyzer.is-${name}`, { "data-key": analyzer.id },
    el("h3", analyzer.id), el("p.muted", [analyzer.model, analyzer.serial_number].filter(Boolean).join(" · ") || analyzer.port),
    el("p.big", state("analyzer", name)),
    analyzer.reason ? el("p.reason", spoken(analyzer.reason)) : null, blocked,
    el("p.muted", t("value.since", { at: moment(analyzer.since) }),
      analyzer.last_event_at && ` · ${t("overview.last_heard", { at: moment(analyzer.last_event_at) })}`),
    running ? el("p", el("a.button", { href: `#/test/${test.id}` }, icon("run"), hasName(test) ? t("overview.watch", { sample: sample(test) }) : t("overview.watch_run"))) : last);
}

function latestList(tests, deliveries) {
  if (!tests.length) return empty(t("overview.no_tests"));
  const one = (test) => el("li.row", { "data-key": test.id },
    el("a.what", { href: `#/test/${test.id}` }, el("strong", sample(test)), el("span.muted", `${test.analyzer} · ${moment(test.received_at)}`)),
    el("span.came", outcome(test)),
    el("span.went", test.state === "DONE" ? (deliveries.has(test.id) ? ticks(deliveries.get(test.id)) : "") : el("span.muted", t("sent.not_yet"))));
  return el("ul.rows.plain", tests.map(one));
}

