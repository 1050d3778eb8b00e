// The settings in force, and what is wrong with the file on the card if it is not in force.

import { get, may } from "./api.js";
import { el } from "./dom.js";
import { facts, table } from "./parts.js";
import { t } from "./words.js";

const STATES = { in_force: "ready", refused: "alert", missing: "alert", changed: "wait" };

export async function configuration(root, { signal }) {
  const { hash, in_force: text, file } = await get("/api/config", signal);
  const mistakes = file.mistakes ?? [];
  const row = (one, at) => ({ key: at, cells: [one.line === null ? "" : t("configuration.place", { line: one.line, column: one.column }), el("code", one.path), one.problem, one.suggestion] });
  root.append(...[
    el("p.big", el(`span.state.state-${STATES[file.verdict]}`, t(`configuration.${file.verdict}`))),
    facts([[t("configuration.file"), file.path && el("code", file.path)], [t("configuration.hash"), hash && el("code", hash.slice(0, 16))]]),
    mistakes.length && el("section", el("h2", t("configuration.mistakes", { n: mistakes.length })),
      table(t("configuration.mistakes", { n: mistakes.length }), ["place", "path", "problem", "suggestion"].map((name) => t(`configuration.column_${name}`)), mistakes.map(row))),
    text !== null && el("section", el("h2", t("configuration.text")), el("p.hint", t("configuration.secrets")),
      el("pre", { tabindex: "0", "aria-label": t("configuration.text") }, text)),
    text === null && !may("administer") && el("p.hint", t("configuration.administer")),
  ].filter(Boolean));
}

