// Small charts of the last hour: SVG paths over a fixed number of samples, a cursor for pointer and keyboard.

const HEIGHT = 100;
const LEAST = 120;

// The next "round" number: 1, 2 or 5 times a power of ten.
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const factor of [1, 2, 5, 10]) if (value <= factor * power) return factor * power;
  return value;
}

export class Chart {
  // lines: [{name, title, kind: "one"|"two"|"three"}]; format(value) words a value; least: lowest top of the scale.
  constructor(parent, title, lines, format, least = 1) {
    this.lines = lines;
    this.format = format;
    this.least = least;
    this.samples = { times: [], series: {} };
    this.cursor = null;
    this.figure = document.createElement("figure");
    this.figure.className = "chart";
    const caption = document.createElement("figcaption");
    const strong = document.createElement("strong");
    strong.textContent = title;
    caption.append(strong);
    this.keys = lines.map((line) => {
      const key = document.createElement("span");
      key.className = `key ${line.kind}`;
      caption.append(key);
      return key;
    });
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.title = title;
    this.width = LEAST;
    this.svg = make("svg", { viewBox: `0 0 ${LEAST} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const y of [0, 50, 100]) this.svg.append(make("line", { x1: 0, x2: 1e6, y1: y, y2: y }));
    this.areas = lines.map((line) => make("path", { class: `area ${line.kind}` }));
    this.paths = lines.map((line) => make("path", { class: line.kind }));
    this.mark = make("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg.append(...this.areas, ...this.paths, this.mark);
    this.top = document.createElement("span");
    this.top.className = "top";
    const zero = document.createElement("span");
    zero.className = "zero";
    zero.textContent = "0";
    this.plot.append(this.svg, this.top, zero);
    const axis = document.createElement("div");
    axis.className = "axis";
    axis.setAttribute("aria-hidden", "true");
    this.from = document.createElement("span");
        const until = document.createElement("span");
    until.textContent = "now";
    axis.append(this.from, until);
    this.said = document.createElement("p");
    this.said.className = "unseen";
    this.said.setAttribute("aria-live", "polite");
    this.figure.append(caption, this.plot, axis, this.said);
    parent.append(this.figure);
    this.listen();
  }

  listen() {
    this.plot.addEventListener("pointermove", (event) => {
      const box = this.plot.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * this.width - this.offset();
      this.point(Math.round(place));
    });
    this.plot.addEventListener("pointerleave", () => this.point(null));
    this.plot.addEventListener("blur", () => this.point(null));
    this.plot.addEventListener("keydown", (event) => {
      const last = this.samples.times.length - 1;
      const at = this.cursor === null ? last : this.cursor;
      const places = { ArrowLeft: at - 12, ArrowRight: at + 12, Home: 0, End: last, Escape: null };
      if (!(event.key in places)) return;
      event.preventDefault();
      this.point(places[event.key]);
      if (this.cursor !== null) {
        const values = this.lines.map((line, index) => this.keys[index].textContent);
        this.said.textContent = `${this.ago()}: ${values.join(", ")}`;
      }
    });
  }

  offset() {
    return this.width - this.samples.times.length;
  }

  ago() {
    const { times } = this.samples;
    const seconds = Math.round(times[times.length - 1] - times[this.cursor]);
    return seconds < 60 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
  }

  point(place) {
    const count = this.samples.times.length;
    this.cursor = place === null || !count ? null : Math.max(0, Math.min(count - 1, place));
    this.showKeys();
  }

  showKeys() {
    const { times, series } = this.samples;
    const at = this.cursor === null ? times.length - 1 : this.cursor;
    this.lines.forEach((line, index) => {
      const value = series[line.name]?.[at];
      const text = value === undefined ? line.title : `${line.title} ${this.format(value)}`;
      const when = this.cursor === null || index ? "" : ` (${this.ago()})`;
      this.keys[index].textContent = text + when;
    });
    if (this.cursor === null) {
      this.mark.setAttribute("visibility", "hidden");
    } else {
      const x = this.offset() + this.cursor + 0.5;
      this.mark.setAttribute("x1", x);
      this.mark.setAttribute("x2", x);
      this.mark.setAttribute("visibility", "visible");
    }
  }

  draw(samples) {
    this.samples = samples;
    // While the hour is young, what there is gets the room.
    this.width = Math.max(LEAST, samples.times.length);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.from.textContent = `${Math.round((this.width * samples.step) / 60)} min ago`;
    const all = this.lines.map((line) => samples.series[line.name] || []);
    const highest = Math.max(this.least, ...all.map((values) => values.reduce((a, b) => Math.max(a, b), 0)));
    const top = roundUp(highest);
    this.top.textContent = this.format(top);
    const start = this.offset();
    all.forEach((values, index) => {
      const points = values.map((value, n) => `${start + n + 0.5} ${(HEIGHT * (1 - value / top)).toFixed(2)}`);
      const d = points.length ? `M${points.join("L")}` : "";
      this.paths[index].setAttribute("d", d);
      const first = start + 0.5;
      const last = start + values.length - 0.5;
      this.areas[index].setAttribute("d", d && `${d}L${last} ${HEIGHT}L${first} ${HEIGHT}Z`);
    });
    if (this.cursor !== null) this.cursor = Math.min(this.cursor, samples.times.length - 1);
    this.showKeys();
    const now = this.lines.map((line, index) => {
      const values = all[index];
      const most = values.reduce((a, b) => Math.max(a, b), 0);
      return values.length ? `${line.title}: now ${this.format(values[values.length - 1])}, most ${this.format(most)}` : "";
    });
    this.plot.setAttribute("aria-label", `${this.title}, last hour. ${now.join(". ")}. Arrow keys read earlier values.`);
  }
}

export function make(name, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
