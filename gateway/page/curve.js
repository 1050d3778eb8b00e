// The drawing of a run: a line for each channel, below it the temperature; a slider below reads the values, for the mouse,
// the finger and the keyboard alike. The same values stand in a table for those who do not see it.

import { draw, el, morphChildren } from "./dom.js";
import { marks, nearest, thinned } from "./run.js";
import { number, t } from "./words.js";

const [LEFT, RIGHT, TOP, STRIP, FOOT] = [52, 78, 12, 70, 34];
const LABEL_PX = 14;
const TEMPERATURES_MAX = 400;
const COLOURS = 8;

export class Curve {
  #run = null;
  #facts = { control: null, gaps: [] };
  #seconds = null;
  #follows = true;

  constructor() {
    this.svg = draw("svg", { class: "plot", role: "img", "aria-label": t("curve.about") });
    this.slider = el("input.scrub", { type: "range", min: 0, max: 1, step: "any", value: 1, "aria-label": t("curve.time") });
    this.legend = el("ul.legend.plain", { "aria-label": t("curve.values") });
    this.table = el("div.scroll", { tabindex: "0", role: "region", "aria-label": t("curve.table") });
    this.element = el("figure.curve", el("div.canvas", this.svg, this.slider), this.legend,
      el("details.values", el("summary", t("curve.table")), this.table));
    this.slider.addEventListener("input", () => this.#look(Number(this.slider.value)));
    this.slider.addEventListener("keydown", (event) => this.#step(event));
    const point = (event) => this.#look(this.#secondsAt(event.clientX));
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    new ResizeObserver(() => this.paint()).observe(this.svg);
  }

  // `facts`: the control channel or null, and gaps in seconds.
  show(run, facts) {
    this.#run = run;
    this.#facts = facts;
    this.paint();
  }

  #look(seconds) {
    this.#seconds = Math.min(Math.max(seconds, 0), this.end);
    this.#follows = this.#seconds >= this.end;
    this.#read();
  }

  // An arrow key goes to the next round.
  #step(event) {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const rounds = [...new Set([...this.channels.values()].flat().map((point) => point.seconds))].sort((a, b) => a - b);
    const now = this.#seconds ?? this.end;
    this.#look((way > 0 ? rounds.find((at) => at > now + 0.05) : rounds.findLast((at) => at < now - 0.05)) ?? now);
  }

  #secondsAt(clientX) {
    const box = this.svg.getBoundingClientRect();
    const share = (clientX - box.left - this.inner[0]) / (this.inner[1] - this.inner[0]);
    return (getComputedStyle(this.svg).direction === "rtl" ? 1 - share : share) * this.end;
  }

  paint() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!this.#run || width < 50) return;
    this.channels = this.#run.channels();
    this.warmth = this.#run.warmth();
    const last = [...this.channels.values(), this.warmth].map((points) => points.at(-1)?.seconds ?? 0);
    this.end = Math.max(60, ...last);
    const narrow = width < 420;
    this.inner = [narrow ? 40 : LEFT, width - (narrow ? 34 : RIGHT)];
    const bottom = height - FOOT;
    const split = bottom - (height < 220 ? 40 : STRIP);
    const x = (seconds) => this.inner[0] + ((this.inner[1] - this.inner[0]) * seconds) / this.end;
    this.x = x;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = [
      ...this.#gaps(x, bottom), ...this.#time(x, bottom),
      ...this.#fluorescence(x, split - 14), ...this.#temperature(x, split, bottom),
      draw("line", { class: "cursor", y1: TOP, y2: bottom }),
    ];
    morphChildren(this.svg, parts);
    this.slider.max = this.end;
    this.slider.style.marginInlineStart = `${this.inner[0] - 8}px`;
    this.slider.style.width = `${this.inner[1] - this.inner[0] + 16}px`;
    if (this.#follows || this.#seconds === null) this.#seconds = this.end;
    this.#read();
    this.#tabulate();
  }

  #gaps(x, bottom) {
    return this.#facts.gaps.map(({ from_seconds: from, to_seconds: to }) => draw("rect", {
      class: "gap", x: x(from), y: TOP, width: Math.max(2, x(Math.min(to, this.end)) - x(from)), height: bottom - TOP,
    }, draw("title", {}, t("curve.gap"))));
  }

  #time(x, bottom) {
    const minutes = marks(0, this.end / 60, (this.inner[1] - this.inner[0]) / 80);
    return [...minutes.map((minute) => draw("g", { class: "tick" },
      draw("line", { x1: x(minute * 60), x2: x(minute * 60), y1: TOP, y2: bottom }),
      draw("text", { x: x(minute * 60), y: bottom + 15, "text-anchor": "middle" }, number(minute)))),
    draw("text", { class: "axis", x: this.inner[1], y: bottom + 30, "text-anchor": "end" }, t("curve.minutes"))];
  }

  #fluorescence(x, bottom) {
    const highest = Math.max(1, ...[...this.channels.values()].flat().map((point) => point.value));
    const y = (value) => bottom - ((bottom - TOP) * value) / (highest * 1.04);
    const scale = marks(0, highest, Math.max(2, (bottom - TOP) / 50)).map((value) => draw("g", { class: "tick" },
      draw("line", { x1: this.inner[0], x2: this.inner[1], y1: y(value), y2: y(value) }),
      draw("text", { x: this.inner[0] - 6, y: y(value) + 4, "text-anchor": "end" }, this.#short(value))));
    const lines = [...this.channels].map(([channel, points]) => draw("path", {
      class: this.#classes(channel), d: path(points, x, y), "data-channel": channel,
    }));
    return [...scale, ...lines, ...this.#labels(y)];
  }

  // Each channel's number at the end of its line, none upon another.
  #labels(y) {
    const ends = [...this.channels].map(([channel, points]) => ({ channel, at: y(points.at(-1).value) }));
    ends.sort((one, other) => one.at - other.at);
    for (let index = 1; index < ends.length; index++) {
      ends[index].at = Math.max(ends[index].at, ends[index - 1].at + LABEL_PX);
    }
    const over = ends.length ? ends.at(-1).at - y(0) : 0;
    return ends.map(({ channel, at }) => draw("text", {
      class: `label ${this.#classes(channel)}`, x: this.inner[1] + 6, y: at - Math.max(0, over) + 4,
    }, channel === this.#facts.control && this.svg.clientWidth >= 420 ? t("curve.control_label", { channel: String(channel) }) : String(channel)));
  }

  #temperature(x, top, bottom) {
    if (!this.warmth.length) return [];
    const values = this.warmth.map((point) => point.value);
    const [low, high] = [Math.min(...values) - 0.5, Math.max(...values) + 0.5];
    const y = (value) => bottom - ((bottom - top - 4) * (value - low)) / (high - low);
    const scale = [Math.ceil(low), Math.floor(high)].filter((value, at, all) => all.indexOf(value) === at).map((value) => draw("text", {
      x: this.inner[0] - 6, y: y(value) + 4, "text-anchor": "end", class: "temperature-mark",
    }, `${number(value)} °C`));
    return [draw("line", { class: "divider", x1: this.inner[0], x2: this.inner[1], y1: top, y2: top }), ...scale,
      draw("path", { class: "line temperature", d: path(thinned(this.warmth, TEMPERATURES_MAX), x, y) })];
  }

  #classes(channel) {
    return `line c${channel % COLOURS}${channel === this.#facts.control ? " control" : ""}`;
  }

  #short(value) {
    return value >= 10000 ? `${number(value / 1000)}k` : number(value);
  }

  // The values at the slider's place.
  #read() {
    if (!this.channels) return;
    const seconds = this.#seconds;
    this.slider.value = seconds;
    const minutes = number(seconds / 60);
    this.slider.setAttribute("aria-valuetext", t("curve.at", { minutes }));
    const cursor = this.svg.querySelector(".cursor");
    cursor.setAttribute("x1", this.x(seconds));
    cursor.setAttribute("x2", this.x(seconds));
    const sample = (classes) => draw("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" }, draw("path", { class: classes, d: "M1 5H27" }));
    const shown = [...this.channels].map(([channel, points]) => el("li", { "data-key": `c${channel}` }, sample(this.#classes(channel)),
      el("span", t("curve.channel", { channel: String(channel) }), channel === this.#facts.control && ` (${t("curve.control")})`),
      el("output", { "data-channel": channel }, number(nearest(points, seconds)?.value))));
    const warmth = nearest(this.warmth, seconds);
    if (warmth) {
      shown.push(el("li", { "data-key": "temperature" }, sample("line temperature"), el("span", t("curve.temperature")), el("output", `${number(warmth.value, 1)} °C`)));
    }
    morphChildren(this.legend, [el("li.when", { "data-key": "when" }, t("curve.at", { minutes })), ...shown]);
  }

  #tabulate() {
    const rounds = new Map();
    for (const [channel, points] of this.channels) {
      for (const { seconds, value } of points) {
        if (!rounds.has(seconds)) rounds.set(seconds, new Map());
        rounds.get(seconds).set(channel, value);
      }
    }
    const channels = [...this.channels.keys()];
    const heads = [t("curve.seconds"), ...channels.map((channel) => t("curve.channel", { channel: String(channel) })), t("curve.temperature")];
    const row = ([seconds, values]) => el("tr", { "data-key": `s${seconds}` }, el("th", { scope: "row" }, number(seconds)),
      channels.map((channel) => el("td", { "data-channel": channel, "data-value": values.get(channel) }, values.has(channel) ? number(values.get(channel)) : t("value.none"))),
      el("td", this.warmth.length ? number(nearest(this.warmth, seconds).value, 2) : t("value.none")));
    const sorted = [...rounds].sort(([one], [other]) => one - other);
    morphChildren(this.table, [el("table.figures", el("caption.unseen", t("curve.table")),
      el("thead", el("tr", heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", sorted.map(row)))]);
  }
}

function path(points, x, y) {
  return points.map((point, at) => `${at ? "L" : "M"}${x(point.seconds).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
}
