// Every word of the page, from messages.<language>.json. Invariant: no sentence stands in the code.

const LANGUAGES = ["en", "de"];
let messages = {};
export let language = "en";

// The language that was chosen here, else the first one of the browser that there is.
export async function loadWords() {
  const wanted = [localStorage.getItem("language"), ...navigator.languages.map((tag) => tag.split("-")[0])];
  language = wanted.find((tag) => LANGUAGES.includes(tag)) ?? "en";
  const answer = await fetch(`/messages.${language}.json`);
  messages = await answer.json();
  document.documentElement.lang = language;
  document.documentElement.dir = t("language.direction");
}

export function chooseLanguage(tag) {
  localStorage.setItem("language", tag);
  location.reload();
}

export function languages() {
  return LANGUAGES.map((tag) => [tag, t(`language.${tag}`)]);
}

// The message of this key; `{name}` in it becomes `values.name`. A message with several forms takes the one for `values.n`.
export function t(key, values = {}) {
  let message = messages[key];
  if (message !== null && typeof message === "object") {
    message = message[new Intl.PluralRules(language).select(values.n)] ?? message.other;
  }
  if (message === undefined) return key;
  return message.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name] ?? ""));
}

// The message of a word that the gateway may say; the word itself if it is a new one.
export function word(group, said) {
  return messages[`${group}.${said}`] ?? String(said);
}

// A sentence of the gateway, which says everything in English: in this page's language if it knows the sentence, or what stands
// before its colon.
export function said(english) {
  const [, before, detail] = /^(.*?): (.*)$/s.exec(english) ?? [];
  const known = before && messages[`said.${before}`];
  return messages[`said.${english}`] ?? (known ? `${known}: ${said(detail)}` : english);
}

// What to do about it: in the page's own words where it has a button for it.
export function next({ code, next_step: english }) {
  return messages[`next.${code}`] ?? said(english ?? "");
}

// Why, in words of this page's language for the gateway's code; undefined where the gateway's own are all there is.
export function why(code) {
  return messages[`said.why.${code}`];
}

export function number(value, digits = 1) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

// 10:42, or with its day if that is not today.
export function moment(text) {
  if (!text) return t("value.none");
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text);
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? {} : { day: "numeric", month: "short", ...(at.getFullYear() !== new Date().getFullYear() && { year: "numeric" }) };
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...day }).format(at);
}

// The same to the second, with its day.
export function exactly(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text ?? "");
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }).format(at);
}

export function duration(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const at = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[at < 0 ? 3 : at];
  const said = (value, unit) => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(value);
  const rest = Math.floor((seconds % size) / (units[at + 1]?.[1] ?? 1));
  const first = said(Math.floor(seconds / size), unit);
  return at >= 0 && at < 2 && rest > 0 ? `${first} ${said(rest, units[at + 1][0])}` : first;
}

export function bytes(count) {
  if (count === null || count === undefined) return t("value.none");
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const at = Math.min(units.length - 1, count < 1 ? 0 : Math.floor(Math.log10(count) / 3));
  return new Intl.NumberFormat(language, { style: "unit", unit: units[at], unitDisplay: "short", maximumFractionDigits: at > 2 ? 1 : 0 })
    .format(count / 1000 ** at);
}
