// The frame around the views: who is here, where we are, whether the gateway can be heard. Addresses stand behind `#`, so
// that the gateway never sees them.

import { changes, knowSession, leave, may, session } from "./api.js";
import { announce, el, icon, morphChildren } from "./dom.js";
import { connect, disconnect, live, overview } from "./live.js";
import { chooseLanguage, language, languages, loadWords, moment, t } from "./words.js";
import { audit } from "./audit.js";
import { box } from "./box.js";
import { configuration } from "./configuration.js";
import { dead } from "./dead.js";
import { destinations } from "./destinations.js";
import { me } from "./me.js";
import { overviewView } from "./overview.js";
import { people } from "./people.js";
import { registrations } from "./registrations.js";
import { signIn } from "./sign_in.js";
import { system } from "./system.js";
import { test } from "./test.js";
import { tests } from "./tests.js";
import { failure } from "./parts.js";

// Path, view, the message with its title, and for the menu its icon.
const VIEWS = [
  ["", overviewView, "overview.title", "home"],
  ["tests", tests, "tests.title", "list"],
  ["registrations", registrations, "registrations.title", "scan"],
  ["destinations", destinations, "destinations.title", "send"],
  ["dead", dead, "dead.title", "held"],
  ["system", system, "system.title", "gear"],
  ["test", test, "test.title"],
  ["box", box, "box.title"],
  ["me", me, "me.title"],
  ["people", people, "people.title"],
  ["audit", audit, "audit.title"],
  ["configuration", configuration, "configuration.title"],
];
// What one may not do is not shown.
const ADMINISTER = ["people", "audit"];
// Below which entry of the menu the others are.
const BELOW = { test: "tests", box: "system", people: "system", audit: "system", configuration: "system" };

const at = (id) => document.getElementById(id);
let leaving = new AbortController();

function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return { name, rest, query: new URLSearchParams(query) };
}

function show(moved) {
  leaving.abort();
  leaving = new AbortController();
  // A question that belongs to where we were is not asked any more.
  for (const dialog of document.querySelectorAll("dialog")) dialog.close("");
  const { signal } = leaving;
  const place = here();
  const signedIn = session.state === "signed_in";
  const known = ADMINISTER.includes(place.name) && !may("administer") ? "" : place.name;
  const [name, view, title] = signedIn ? (VIEWS.find(([name]) => name === known) ?? VIEWS[0]) : ["", signIn, "signin.title"];
  frame(signedIn, BELOW[name] ?? name);
  document.title = [t(title), session.gateway].filter(Boolean).join(" · ");
  const heading = el("h1", { tabindex: "-1" }, t(title));
  const root = el(`div.view.view-${name || (signedIn ? "overview" : "signin")}`);
  at("main").replaceChildren(heading, root);
  if (moved) heading.focus();
  view(root, { ...place, signal, heading, title: (text) => retitle(heading, text) }).catch((error) => {
    if (!signal.aborted) root.replaceChildren(failure(error, () => show(false)));
  });
}

function retitle(heading, text) {
  heading.textContent = text;
  document.title = [text, session.gateway].filter(Boolean).join(" · ");
}

function frame(signedIn, current) {
  at("skip").textContent = t("frame.skip");
  const who = signedIn && el("div.who", el("a.who-name", { href: "#/me" }, session.name), el("span.who-role", t(`role.${session.role}`)),
    el("button.quiet", { type: "button", onclick: signOut }, t("frame.sign_out")));
  at("bar").replaceChildren(el("a.brand", { href: "#/" }, icon("run"), el("span", session.gateway || t("frame.gateway"))), who || "");
  at("nav").setAttribute("aria-label", t("frame.menu"));
  const entry = ([name, , title, symbol]) => symbol && el("li", el("a", {
    href: `#/${name}`, "aria-current": name === current && "page", "data-badge": name || "overview",
  }, icon(symbol), el("span", t(`${title}_short`))));
  at("nav").replaceChildren(signedIn ? el("ul", VIEWS.map(entry)) : "");
  at("nav").hidden = !signedIn;
  badges();
  at("foot").replaceChildren(
    choice("language", t("frame.language"), languages(), language, chooseLanguage),
    choice("theme", t("frame.theme"), ["auto", "light", "dark"].map((word) => [word, t(`theme.${word}`)]), theme(), (word) => {
      localStorage.setItem("theme", word);
      useTheme();
    }),
    el("span.version", session.version && t("frame.version", { version: session.version })),
  );
}

function choice(id, label, options, chosen, choose) {
  const option = ([value, text]) => el("option", { value, selected: value === chosen }, text);
  const select = el("select", { id: `choose-${id}`, onchange: (event) => choose(event.target.value) }, options.map(option));
  return el("label.choice", { for: `choose-${id}` }, el("span", label), select);
}

// How many wait for a person, beside the entry where they are.
function badges() {
  if (!overview) return;
  const waiting = {
    overview: overview.troubles.filter((trouble) => trouble.urgency !== "watch").length,
    dead: overview.destinations.reduce((sum, one) => sum + one.dead + one.held, 0),
  };
  for (const [name, n] of Object.entries(waiting)) {
    const link = document.querySelector(`#nav [data-badge=${name}]`);
    link?.querySelector(".badge")?.remove();
    if (n) link?.append(el("span.badge", String(Math.min(n, 999)), el("span.unseen", ` ${t("frame.waiting", { n })}`)));
  }
}

const theme = () => localStorage.getItem("theme") ?? "auto";

function useTheme() {
  document.documentElement.dataset.theme = theme();
}

async function signOut() {
  disconnect();
  await leave().catch(() => location.reload());
}

function connection(since) {
  const told = since ? [icon("unplug"), el("span", t("frame.lost", { since: moment(since) }))] : [];
  at("connection").hidden = !since;
  morphChildren(at("connection"), told);
  document.body.classList.toggle("is-lost", Boolean(since));
  if (!since) announce(t("frame.back"));
}

async function start() {
  useTheme();
  await loadWords();
  live.addEventListener("connection", ({ detail }) => connection(detail));
  live.addEventListener("overview", badges);
  changes.addEventListener("session", () => {
    if (session.state === "signed_in") connect();
    else disconnect();
    show(true);
  });
  window.addEventListener("hashchange", () => show(true));
  const begin = async () => {
    try {
      await knowSession();
      // The session's event has shown it, unless nothing has changed.
      if (session.state === "signed_out" && !at("main").querySelector("h1")) show(false);
    } catch (error) {
      frame(false, "");
      at("main").replaceChildren(failure(error, begin));
    }
  };
  await begin();
}

start();
