// What the gateway tells by itself (server-sent events). Invariant: while nothing can be heard, the page says since when.

import { knowSession, session } from "./api.js";

const RETRY_MS = 3000;
// Its machine is measured every 10 s, so something is heard more often than this.
const SILENCE_MS = 45000;

// `overview` (detail: the overview), `event` (detail: one of the log), `connection` (detail: null, or since when there is none).
export const live = new EventTarget();
export let overview = null;
let source = null;
let lostSince = null;
let heardAt = 0;
// The place in the log of the newest event heard: a new connection goes on behind it.
let place = null;
let retry = null;

const tell = (type, detail) => live.dispatchEvent(new CustomEvent(type, { detail }));

function heard() {
  heardAt = Date.now();
  if (lostSince === null) return;
  lostSince = null;
  tell("connection", null);
}

function lost() {
  if (lostSince !== null) return;
  lostSince = new Date(heardAt || Date.now()).toISOString();
  tell("connection", lostSince);
}

export function connect() {
  clearTimeout(retry);
  source?.close();
  heardAt = Date.now();
  source = new EventSource(place === null ? "/api/stream" : `/api/stream?after=${place}`);
  source.onopen = heard;
  source.addEventListener("overview", (message) => {
    heard();
    overview = JSON.parse(message.data);
    tell("overview", overview);
  });
  source.addEventListener("event", (message) => {
    heard();
    const event = JSON.parse(message.data);
    place = event.seq;
    tell("event", event);
  });
  // The browser tries again by itself after a break, but not after a refusal.
  source.onerror = () => {
    lost();
    if (source?.readyState === EventSource.CLOSED) again();
  };
}

function again() {
  clearTimeout(retry);
  retry = setTimeout(async () => {
    try {
      await knowSession();
      if (session.state === "signed_in") connect();
    } catch {
      again();
    }
  }, RETRY_MS);
}

export function disconnect() {
  clearTimeout(retry);
  source?.close();
  source = null;
  if (lostSince !== null) tell("connection", null);
  lostSince = null;
}

window.addEventListener("offline", lost);
// Sooner than the browser would try by itself.
window.addEventListener("online", () => source && connect());

// A connection may die without a word. Whether it has is asked; if it has not, it is made anew.
setInterval(async () => {
  if (!source || Date.now() - heardAt < SILENCE_MS) return;
  try {
    await knowSession();
    if (session.state === "signed_in") connect();
  } catch {
    lost();
  }
}, SILENCE_MS / 3);
