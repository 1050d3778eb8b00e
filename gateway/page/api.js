// Requests to this gateway. Invariant: a refusal is always a `Problem` with a sentence; nothing is tried again by itself.

import { t } from "./words.js";

const RANKS = ["view", "operate", "administer"];
export let session = { state: "signed_out", name: null, role: null, csrf: null, gateway: "", version: "" };
export const changes = new EventTarget();

// What the gateway refused, in its words (RFC 9457).
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? t("problem.unreachable"));
    this.status = status;
    this.faults = body?.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

export function may(role) {
  return RANKS.indexOf(session.role) >= RANKS.indexOf(role);
}

export async function knowSession() {
  take(await call("GET", "/api/session"));
}

function take(fresh) {
  const before = `${session.state} ${session.name} ${session.role}`;
  session = fresh;
  if (before !== `${session.state} ${session.name} ${session.role}`) changes.dispatchEvent(new Event("session"));
}

export async function enter(path, body) {
  take(await call("POST", path, body));
}

export async function leave() {
  await call("DELETE", "/api/session");
  await knowSession();
}

export const get = (path, signal, as) => call("GET", path, undefined, { signal, as });
export const post = (path, body, more) => call("POST", path, body, more);
export const put = (path, body) => call("PUT", path, body);
export const remove = (path) => call("DELETE", path);

// The answer's JSON, or what else it is.
async function call(method, path, body, { signal, key, as = "json" } = {}) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && session.csrf) headers["x-csrf-token"] = session.csrf;
  if (key) headers["idempotency-key"] = key;
  let answer;
  try {
    const asked = { method, headers, signal, credentials: "same-origin", cache: "no-store" };
    answer = await fetch(path, body === undefined ? asked : { ...asked, body: JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, null);
  }
  if (answer.ok) {
    if (answer.status === 204) return null;
    return as === "json" ? answer.json() : answer[as]();
  }
  const told = await answer.json().catch(() => null);
  const problem = new Problem(answer.status, told, Number(answer.headers.get("retry-after")) || null);
  if (answer.status === 401 && session.state === "signed_in") await knowSession();
  throw problem;
}

// Each part of a path that is somebody's word.
export const part = encodeURIComponent;
