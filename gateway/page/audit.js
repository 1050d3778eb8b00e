// Who read or did what, newest first.

import { get } from "./api.js";
import { el, morphChildren } from "./dom.js";
import { busy, empty, table } from "./parts.js";
import { exactly, t } from "./words.js";

const PAGE = 100;
// Beyond every number.
const NEWEST = 4294967295;

export async function audit(root, { signal }) {
  let rows = [];
  const list = el("div");
  const place = el("div");
  const more = el("button", { type: "button", hidden: true }, t("action.older"));
  root.append(list, more, place);
  const page = async (before) => {
    const { entries } = await get(`/api/audit?limit=${PAGE}&before=${before ?? NEWEST}`, signal);
    rows = [...rows, ...entries];
    more.hidden = entries.length < PAGE;
    const row = (one) => ({ key: one.number, cells: [exactly(one.at), one.client, one.action, one.object, one.outcome] });
    morphChildren(list, [rows.length ? table(t("audit.title"), ["time", "client", "action", "object", "outcome"].map((name) => t(`audit.column_${name}`)), rows.map(row)) : empty(t("audit.none"))]);
  };
  more.addEventListener("click", () => busy(more, place, () => page(rows.at(-1).number)));
  await page(null);
}
