// The gateway and its machine: clock, disk, versions, what the machine says, certificates, diagnostics; and the ways to the box, people,
// audit log and configuration.

import { get, may, post, session } from "./api.js";
import { el, icon, morphChildren } from "./dom.js";
import { live, overview } from "./live.js";
import { busy, facts, table } from "./parts.js";
import { bytes, duration, exactly, moment, number, t, word } from "./words.js";

export async function system(root, { signal }) {
  const box = el("div.cardset");
  const link = (name, symbol) => el("li", el("a.button", { href: `#/${name}` }, icon(symbol), t(`${name}.title`)));
  const ways = el("ul.plain.buttons", link("box", "home"), link("configuration", "gear"), may("administer") && link("people", "person"), may("administer") && link("audit", "book"));
  const diagnostics = el("section");
  root.append(ways, box, diagnostics);
  const paint = (now) => now && morphChildren(box, [clock(now), store(now), machine(now), certificates(now), versions(now)].filter(Boolean));
  live.addEventListener("overview", ({ detail }) => paint(detail), { signal });
  paint(overview ?? (await get("/api/status", signal)));
  if (may("operate")) bundle(diagnostics);
}

const card = (name, ...content) => el("section.card", { "data-key": name }, el("h2", t(`system.${name}`)), ...content);

function clock(now) {
  const shift = Math.round((Date.parse(now.at) - Date.now()) / 1000);
  const far = Math.abs(shift) > 30 && el("p.reason", t("system.clock_differs", { by: duration(Math.abs(shift)) }));
  return card("clock", el("p.big", word("clock", now.clock)), facts([[t("system.now"), exactly(now.at)], [t("system.runs_since"), moment(now.since)]]), far || null);
}

function meter(share, label) {
  return el("meter", { min: 0, max: 1, high: 0.85, optimum: 0, value: share.toFixed(3), "aria-label": label });
}

function store(now) {
  const { disk_total_bytes: total, disk_free_bytes: free, disk_days_left: days, card_wear_percent: wear } = now.machine;
  return card("disk", total ? meter(1 - free / total, t("system.disk_used")) : null, facts([
    [t("system.disk_free"), total ? t("system.of", { part: bytes(free), whole: bytes(total) }) : null],
    [t("system.disk_days"), days === null || days === undefined ? null : t("value.days", { n: Math.floor(days) })], [t("system.card_wear"), wear === null || wear === undefined ? null : `${number(wear)} %`],
    [t("system.store"), bytes(now.store.bytes)], [t("system.events"), number(now.store.head)]]));
}

function machine({ machine }) {
  const { memory_total_bytes: total, memory_available_bytes: left } = machine;
  return card("machine", facts([
    [t("system.temperature"), machine.cpu_celsius === null ? null : `${number(machine.cpu_celsius)} °C`],
    [t("system.throttled"), machine.throttled.map((one) => word("throttled", one)).join(", ") || null],
    [t("system.throttled_since_boot"), machine.throttled_since_boot.map((one) => word("throttled", one)).join(", ") || null],
    [t("system.load"), machine.load === null ? null : number(machine.load, 2)],
    [t("system.memory"), total ? t("system.of", { part: bytes(left), whole: bytes(total) }) : null],
    [t("system.process"), machine.process_bytes ? bytes(machine.process_bytes) : null],
    [t("system.uptime"), machine.uptime_seconds ? duration(machine.uptime_seconds) : null]]));
}

function certificates({ machine }) {
  if (!machine.certificates.length) return null;
  return card("certificates", facts(machine.certificates.map((one) => [`${one.of} ${one.what}`, t("value.days", { n: one.days_left })])));
}

function versions(now) {
  return card("versions", facts([[t("system.gateway"), now.gateway], [t("system.version"), now.version], [t("system.boot"), now.boot],
    [t("system.settings_hash"), now.configuration.hash.slice(0, 16)], [t("system.settings_refused"), now.configuration.refused],
    [t("system.who"), session.name ? `${session.name} (${t(`role.${session.role}`)})` : null]]));
}

// First what would be in it; the file itself only when the person has seen that.
function bundle(root) {
  const place = el("div", { "aria-live": "polite" });
  const preview = el("button", { type: "button" }, icon("book"), t("diagnostics.preview"));
  root.append(el("h2", t("diagnostics.title")), el("p", t("diagnostics.about")), preview, place);
  preview.addEventListener("click", () => busy(preview, place, async () => {
    const manifest = await post("/api/diagnostics/preview");
    const rows = manifest.files.map((file) => ({ key: file.name, cells: [file.name, bytes(file.bytes), file.about] }));
    const out = manifest.left_out;
    const collect = el("button.primary", { type: "button" }, icon("save"), t("diagnostics.collect"));
    const told = el("div");
    collect.addEventListener("click", () => busy(collect, told, () => save(manifest.name)));
    place.replaceChildren(table(t("diagnostics.files"), ["file", "size", "about"].map((name) => t(`diagnostics.column_${name}`)), rows),
      ...(out.length ? [el("h3", t("diagnostics.left_out")), el("ul", out.map((one) => el("li", `${one.what}: ${one.why}`)))] : []),
      el("p", collect), told);
  }));
}

async function save(name) {
  const blob = await post("/api/diagnostics", undefined, { as: "blob" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

