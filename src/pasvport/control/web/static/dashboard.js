// Keeps the page up to date: asks every two seconds, changes only what changed, so that focus and selection stay.

import { Chart, make } from "./charts.js";

const EVERY = 2000;
const PATIENCE = 10000;
const body = document.body;
const uri = body.dataset.uri;
const mayOrder = body.dataset.admin === "yes";
const $ = (id) => document.getElementById(id);
// Options in the address, as HAProxy writes them: `;up`, `;no-maint`, `;scope=TEXT`.
const options = new Map((location.pathname + location.search).split(";").slice(1).map((each) => each.split("=").map(decoded)));
const RANKS = ["not known", "up", "in maintenance", "draining", "up, but failing checks", "down"];

// A relative address would inherit a password from the page's (http://user:password@host/), which fetch refuses.
const absolute = (path) => location.origin + path;

function decoded(text) {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}

// --- words ------------------------------------------------------------------------------------------------------

function bytes(value) {
  if (typeof value !== "number") return "";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

const rate = (value) => `${bytes(value)}/s`;
const count = (value) => (typeof value === "number" ? Math.round(value).toLocaleString("en") : "");

function duration(seconds) {
  if (typeof seconds !== "number" || seconds < 0) return "";
  let rest = Math.floor(seconds);
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole || (unit === "s" && !parts.length)) parts.push(`${whole}${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// --- tables that change in place --------------------------------------------------------------------------------

// A cell is a text, or {sign, make}: what it shows is made anew only when its sign changed.
function fill(cell, content) {
  const rich = content !== null && typeof content === "object";
  const sign = rich ? content.sign : String(content ?? "");
  if (cell.sign === sign) return;
  cell.sign = sign;
  if (rich) cell.replaceChildren(...content.make());
  else cell.textContent = sign;
}

// rows: [{key, state, words, cells: [[label, className, content]]}]; the first cell heads its row.
function table(tbody, rows) {
  const known = new Map();
  if (!tbody.adopted) tbody.replaceChildren();
  tbody.adopted = true;
  for (const row of tbody.rows) known.set(row.key, row);
  rows.forEach((wanted, place) => {
    let row = known.get(wanted.key);
    if (row) known.delete(wanted.key);
    else row = freshRow(wanted);
    row.dataset.state = wanted.state || "";
    row.words = wanted.words;
    wanted.cells.forEach(([, , content], index) => fill(row.cells[index], content));
    if (tbody.rows[place] !== row) tbody.insertBefore(row, tbody.rows[place] || null);
  });
  for (const row of known.values()) row.remove();
}

function freshRow(wanted) {
  const row = element("tr");
  row.key = wanted.key;
  wanted.cells.forEach(([label, className], index) => {
    const cell = element(index ? "td" : "th", className);
    if (!index) cell.scope = "row";
    cell.dataset.label = label;
    row.append(cell);
  });
  return row;
}

// --- long lists -------------------------------------------------------------------------------------------------

const whole = new Set();
const few = () => (matchMedia("(max-width: 780px)").matches ? 6 : 25);

// Rows to show of a section: all once somebody asked for all, or filters.
function shortened(name, rows) {
  const button = $(`${name}-all`);
  const most = name === "logins" ? 6 : few();
  button.hidden = rows.length <= most || needle !== "";
  button.textContent = whole.has(name) ? "Show fewer" : `Show all ${rows.length}`;
  button.setAttribute("aria-expanded", String(whole.has(name)));
  return whole.has(name) || needle !== "" ? rows : rows.slice(0, most);
}

// --- the filter -------------------------------------------------------------------------------------------------

let needle = "";

function applyFilter() {
  for (const row of document.querySelectorAll("tbody tr, #event-list li")) {
    row.hidden = needle !== "" && !(row.words || row.textContent).toLowerCase().includes(needle);
  }
}

// --- servers ----------------------------------------------------------------------------------------------------

function strip(minutes) {
  const svg = make("svg", { class: "strip", role: "img", viewBox: `0 0 ${minutes.length} 10`, preserveAspectRatio: "none" });
  let start = 0;
  for (let at = 1; at <= minutes.length; at += 1) {
    if (at === minutes.length || minutes[at] !== minutes[start]) {
      svg.append(make("rect", { class: `rank${minutes[start]}`, x: start, y: 0, width: at - start, height: 10 }));
      start = at;
    }
  }
  const words = RANKS.map((text, rank) => [text, minutes.filter((each) => each === rank).length])
    .filter(([, many]) => many)
    .map(([text, many]) => `${text} ${many} min`)
    .join(", ");
  svg.setAttribute("aria-label", `Last hour: ${words}`);
  const title = make("title");
  title.textContent = `Last hour: ${words}`;
  svg.prepend(title);
  return svg;
}

function badge(state, status) {
  const made = element("span", "badge", status);
  made.dataset.state = state;
  return made;
}

// A detail in parentheses only says which kind of check it was.
function checkWords(server) {
  if (!server.check) return "not checked";
  const words = [server.check_words, server.check_text?.startsWith("(") ? "" : server.check_text];
  if (typeof server.check_ms === "number") words.push(`${server.check_ms} ms`);
  return words.filter(Boolean).join(", ");
}

function checkCell(server) {
  const words = checkWords(server);
  const checks = (server.checks || []).slice(-16);
  const sign = words + checks.map((each) => `${each.when}`).join();
  return {
    sign,
    make() {
      const parts = [];
      if (checks.length) {
        const dots = element("span", "dots");
        dots.setAttribute("role", "img");
        const bad = checks.filter((each) => !each.passed).length;
        dots.setAttribute("aria-label", `Last ${checks.length} checks: ${bad ? `${bad} failed` : "all passed"}`);
        for (const each of checks) {
          const dot = element("i", each.passed ? "" : "bad");
          dot.title = `${clock(each.when)} ${each.status} ${each.text} ${each.ms >= 0 ? `${each.ms} ms` : ""}`;
          dots.append(dot);
        }
        parts.push(dots);
      }
      parts.push(element("span", "words", words));
      return parts;
    },
  };
}

const ORDERS = [
  ["ready", "Ready", "UP"],
  ["drain", "Drain", "DRAIN"],
  ["maint", "Maint", "MAINT"],
];

function orderCell(backend, server) {
  return {
    sign: `${backend.name}/${server.name}/${server.state}`,
    make() {
      return ORDERS.flatMap(([action, title, state]) => {
        const button = element("button", "", title);
        button.type = "button";
        const on = server.state === state || (action === "ready" && ["DOWN", "NOLB"].includes(server.state));
        button.setAttribute("aria-pressed", String(on));
        button.setAttribute("aria-label", `${title}: ${backend.name}/${server.name}`);
        button.addEventListener("click", () => order(action, backend.name, server.name));
        return [button, " "];
      });
    },
  };
}

const ofLimit = (item) => `${count(item.sessions)}${item.sessions_limit ? ` / ${count(item.sessions_limit)}` : ""}`;
function pair(item) {
  const [down, up] = [bytes(item.bytes_out), bytes(item.bytes_in)];
  return {
    sign: `${down} ${up}`,
    make() {
      const [to, from] = [element("span", "", `\u2193 ${down}`), element("span", "", `\u2191 ${up}`)];
      to.title = "to clients";
      from.title = "from clients";
      return [to, " ", from];
    },
  };
}

function withSmall(text, small) {
  return { sign: `${text} ${small}`, make: () => [text, " ", element("small", "", small)] };
}

function stateCell(server) {
  const since = duration(server.since);
  return {
    sign: `${server.status} ${since}`,
    make: () => [badge(server.state, server.status), " ", element("small", "", since)],
  };
}

function serverRow(backend, server) {
  const name = server.address ? `${server.name} ${server.address}` : server.name;
  const cells = [
    ["Server", "", server.address ? withSmall(server.name, server.address) : server.name],
    ["State", "state", stateCell(server)],
    ["Last check", "check", checkCell(server)],
    ["Last hour", "wide", { sign: server.minutes.join(), make: () => [strip(server.minutes)] }],
    ["Sessions", "number", withSmall(ofLimit(server), `${count(server.sessions_total)} served`)],
    ["Queue", "number", count(server.queued)],
    ["Transfers", "number", count(server.transfers)],
    ["Traffic", "number traffic", pair(server)],
    ["Errors", "number", count((server.connect_errors || 0) + (server.response_errors || 0))],
    ["Weight", "number", count(server.weight)],
  ];
  if (mayOrder) cells.push(["Orders", "act", orderCell(backend, server)]);
  const words = [backend.name, name, server.status, checkWords(server)].join(" ");
  return { key: server.name, state: server.state, words, cells };
}

// A reload has changed which backends there are. Should that not be the reason, the page must not load for ever.
function renderAnew() {
  const last = Number(sessionStorage.getItem("rendered") || 0);
  if (Date.now() - last < 30000) return;
  sessionStorage.setItem("rendered", String(Date.now()));
  location.reload();
}

function showServers(backends) {
  const bodies = new Map();
  for (const each of document.querySelectorAll("#servers table")) bodies.set(each.dataset.backend, each.tBodies[0]);
  if (backends.length !== bodies.size || backends.some((backend) => !bodies.has(backend.name))) {
    renderAnew();
    return;
  }
  for (const backend of backends) {
    table(bodies.get(backend.name), backend.servers.map((server) => serverRow(backend, server)));
  }
}

function showFrontends(frontends) {
  const rows = frontends
    .filter((each) => each.mode !== "http")
    .map((each) => ({
      key: each.name,
      words: `${each.name} ${each.description ?? ""} ${each.mode} ${each.status}`,
      cells: [
        ["Frontend", "", each.description ? withSmall(each.name, each.description) : each.name],
        ["Mode", "", each.mode],
        ["State", "", { sign: each.status, make: () => [badge(each.status === "OPEN" ? "UP" : "DOWN", each.status)] }],
        ["Sessions", "number", ofLimit(each)],
        ["New per second", "number", count(each.rate)],
        ["Served", "number", count(each.sessions_total)],
        ["Transfers", "number", count(each.transfers)],
        ["Traffic", "number traffic", pair(each)],
        ["Logins", "number", count(each.logins)],
        ["Failed logins", "number", count(each.login_failures)],
        ["Data ports", "number", each.pool === undefined ? "" : `${count(inUse([each]))} (pool ${count(each.pool)})`],
      ],
    }));
  table(document.querySelector("#frontends tbody"), rows);
}

// --- transfers and sessions -------------------------------------------------------------------------------------

const speeds = new Map();
const SPEED_OVER = 10;

// Since a change of at least SPEED_OVER seconds ago, for a slow receiver takes its bytes in lumps, many seconds apart.
// A transfer that stands still sinks towards 0. `now` is when the workers were asked.
function speed(transfer, now) {
  const key = `${transfer.session} ${transfer.started}`;
  const changes = speeds.get(key) ?? [{ size: 0, now: transfer.started }];
  speeds.set(key, changes);
  if (transfer.size !== changes.at(-1).size) changes.push({ size: transfer.size, now });
  while (changes.length > 2 && now - changes[1].now > SPEED_OVER) changes.shift();
  const span = now - changes[0].now;
  return span > 0.5 ? rate(Math.max(0, transfer.size - changes[0].size) / span) : "";
}

function fileCell(transfer) {
  const down = transfer.direction === "download";
  const part = transfer.expected > 0 ? Math.min(1, transfer.size / transfer.expected) : null;
  return {
    sign: `${transfer.verb} ${transfer.path} ${part === null ? "" : part.toFixed(3)}`,
    make() {
      const way = element("span", "way", down ? "↓" : "↑");
      way.setAttribute("aria-hidden", "true");
      const parts = [way, element("span", "unseen", down ? "download" : "upload"), ` ${transfer.path || transfer.verb}`];
      if (transfer.verb !== "RETR") parts.push(" ", element("small", "", transfer.verb));
      if (part !== null) {
        const progress = element("progress");
        progress.max = 1;
        progress.value = part;
        progress.setAttribute("aria-label", `${Math.round(part * 100)} % moved`);
        parts.push(progress);
      }
      return parts;
    },
  };
}

function showTransfers(transfers, now, cut) {
  const rows = transfers.map((each) => ({
    key: `${each.session} ${each.started}`,
    words: [each.path, each.user, each.client, each.server, each.backend, each.direction, each.verb].join(" "),
    cells: [
      ["File", "file", fileCell(each)],
      ["User", "", each.user || "-"],
      ["Client", "", each.client],
      ["Server", "", `${each.backend}/${each.server}`],
      ["Moved", "number", each.expected > 0 ? `${bytes(each.size)} of ${bytes(each.expected)}` : bytes(each.size)],
      ["Rate", "number", speed(each, now)],
      ["Since", "number", duration(now - each.started)],
    ],
  }));
  table(document.querySelector("#transfers tbody"), shortened("transfers", rows));
  $("transfers-count").textContent = rows.length ? `${rows.length}${cut ? " of more" : ""}` : "";
  $("transfers").classList.toggle("is-empty", !rows.length);
  const running = new Set(rows.map((row) => row.key));
  for (const key of speeds.keys()) if (!running.has(key)) speeds.delete(key);
}

function showSessions(sessions, cut) {
  const rows = sessions.map((each) => ({
    key: each.session,
    words: [each.user, each.client, each.server, each.backend, each.doing, each.last_command].join(" "),
    cells: [
      ["User", "", each.user || "-"],
      ["Client", "", each.client],
      ["Server", "", `${each.backend}/${each.server}`],
      ["Doing", "", each.doing],
      ["Last command", "", each.last_command],
      ["Open", "number", duration(each.age)],
      ["Idle", "number", duration(each.idle)],
      ["Transfers", "number", count(each.transfers)],
      ["To client", "number", bytes(each.bytes_out)],
      ["From client", "number", bytes(each.bytes_in)],
    ],
  }));
  table(document.querySelector("#sessions tbody"), shortened("sessions", rows));
  $("sessions-count").textContent = rows.length ? `${rows.length}${cut ? " of more" : ""}` : "";
  $("sessions").classList.toggle("is-empty", !rows.length);
}

function showFailures(failures) {
  const rows = failures.map((each) => ({
    key: `${each.when} ${each.client} ${each.user}`,
    words: [each.user, each.client, each.frontend, each.backend, each.server].join(" "),
    cells: [
      ["User", "", each.user || "-"],
      ["Client", "", each.client],
      ["When", "", clock(each.when)],
      ["Frontend", "", each.frontend],
      ["Server", "", each.server ? `${each.backend}/${each.server}` : "none"],
    ],
  }));
  table(document.querySelector("#logins tbody"), shortened("logins", rows));
  $("logins-count").textContent = rows.length || "";
  $("logins").classList.toggle("is-empty", !rows.length);
}

// --- events -----------------------------------------------------------------------------------------------------

const clock = (when) => new Date(when * 1000).toLocaleTimeString("en-GB");
let newest = -1;

function showEvents(events) {
  $("events").classList.toggle("is-empty", !events.length);
  const last = events.length ? events[0].number : 0;
  if (last === newest) return;
  newest = last;
  $("event-list").replaceChildren(
    ...events.map((each) => {
      const item = element("li");
      item.dataset.level = each.level;
      const time = element("time", "", clock(each.when));
      time.dateTime = new Date(each.when * 1000).toISOString();
      const who = [each.proxy, each.server].filter(Boolean).join("/") || "pasvport";
      const what = element("span", "", each.text);
      if (each.count > 1) what.append(" ", element("span", "times", `(${count(each.count)} times)`));
      item.append(time, element("b", "", who), what);
      return item;
    }),
  );
}

// --- tiles ------------------------------------------------------------------------------------------------------

const tiles = new Map();

function tile(name, title, value, more = "", level = "", part = null) {
  let each = tiles.get(name);
  if (!each) {
    each = element("div", "tile");
    each.append(element("dt", "", title), element("dd", "value"), element("dd", "more"));
    tiles.set(name, each);
    $("tiles").append(each);
  }
  fill(each.children[1], value);
  each.dataset.level = level;
  if (part === null) {
    fill(each.children[2], more);
    return;
  }
  const sign = `${more} ${part}`;
  fill(each.children[2], {
    sign,
    make() {
      const meter = element("meter", "pool");
      Object.assign(meter, { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, value: part });
      meter.setAttribute("aria-label", title);
      return [meter, more];
    },
  });
}

// Ports that have a transfer, and those whose client is awaited.
const inUse = (entrances) => sum(entrances, "leases") + sum(entrances, "passive");
const sum = (items, name) => items.reduce((total, each) => total + (each[name] || 0), 0);
const newestOf = (name) => hour.series[name]?.at(-1) ?? 0;

function showTiles(shown) {
  const { about } = shown;
  const entrances = shown.frontends.filter((each) => each.mode !== "http");
  const servers = shown.backends.flatMap((backend) => backend.servers);
  const up = servers.filter((each) => each.state === "UP").length;
  tile("servers", "Servers up", `${up} / ${servers.length}`, problems(shown), servers.some((each) => each.state === "DOWN") ? "bad" : "");
  tile("sessions", "Sessions", count(sum(entrances, "sessions")), `${count(sum(entrances, "rate"))} new per second`);
  if (shown.history) {
    tile("down", "To clients", rate(newestOf("download")), `${bytes(sum(entrances, "bytes_out"))} in all`);
    tile("up", "From clients", rate(newestOf("upload")), `${bytes(sum(entrances, "bytes_in"))} in all`);
  }
  if (about.ftp) {
    const failed = sum(entrances, "transfers_failed");
    const done = count(sum(entrances, "transfers_total"));
    tile("transfers", "Transfers", count(sum(entrances, "transfers")), `${done} in all, ${count(failed)} failed`);
    const wrong = sum(entrances, "login_failures");
    tile("logins", "Logins", count(sum(entrances, "logins")), `${count(wrong)} failed`);
    const pool = sum(entrances, "pool");
    // Clients share ports with each other: only those that are awaited can use the pool up.
    const awaited = sum(entrances, "leases");
    const more = `${count(awaited)} awaited, pool ${count(pool)}`;
    if (pool) tile("pool", "Data ports in use", count(inUse(entrances)), more, awaited >= pool ? "bad" : "", awaited / pool);
  }
  const workers = `${about.workers_alive} / ${about.workers}`;
  tile("workers", "Workers", workers, `${about.idle} % idle, ${bytes(about.memory)}`, about.workers_alive < about.workers ? "bad" : "");
}

function problems(shown) {
  const counts = new Map();
  for (const server of shown.backends.flatMap((backend) => backend.servers)) {
    if (server.state !== "UP") counts.set(server.state, (counts.get(server.state) || 0) + 1);
  }
  return [...counts].map(([state, many]) => `${many} ${state.toLowerCase()}`).join(", ") || "all of them";
}

function showSummary(shown) {
  const servers = shown.backends.flatMap((backend) => backend.servers);
  const up = servers.filter((each) => each.state === "UP").length;
  const dead = shown.backends.filter((each) => each.servers.length && each.status !== "UP").map((each) => each.name);
  let [text, level] = [`All ${servers.length} servers up`, "good"];
  if (!servers.length) [text, level] = ["No servers", ""];
  else if (up < servers.length) [text, level] = [`${up} of ${servers.length} servers up`, "note"];
  if (dead.length) [text, level] = [`No server for ${dead.join(", ")}`, "bad"];
  if (shown.about.paused) [text, level] = ["Paused", "bad"];
  const summary = $("summary");
  if (summary.textContent !== text) summary.textContent = text;
  summary.dataset.level = level;
  document.title = `${level === "bad" ? "▼ " : ""}${text} - pasvport`;
}

// --- the last hour ----------------------------------------------------------------------------------------------

const hour = { next: 0, step: 5, times: [], series: {} };
let charts = null;

function keep(history) {
  if (history.first !== hour.next || history.next < hour.next) {
    hour.times = [];
    hour.series = {};
  }
  hour.times.push(...history.times);
  const extra = hour.times.length - history.length;
  if (extra > 0) hour.times.splice(0, extra);
  for (const [name, values] of Object.entries(history.series)) {
    const series = (hour.series[name] ??= []);
    series.push(...values);
    if (extra > 0) series.splice(0, extra);
  }
  hour.next = history.next;
  hour.step = history.step;
}

function makeCharts(ftp) {
  const parent = $("charts");
  const second = (value) => `${value >= 10 ? Math.round(value) : value.toFixed(1)}/s`;
  const flows = [
    { name: "download", title: "to clients", kind: "one" },
    { name: "upload", title: "from clients", kind: "two" },
  ];
  const crowd = [{ name: "sessions", title: "sessions", kind: "one" }];
  if (ftp) {
    crowd.push({ name: "transfers", title: "transfers", kind: "two" });
    crowd.push({ name: "leases", title: "data ports", kind: "three" });
  }
  const wrong = [
    { name: "errors", title: "server errors", kind: "one" },
    { name: "login_failures", title: "failed logins", kind: "two" },
    { name: "transfers_failed", title: "failed transfers", kind: "three" },
  ].slice(0, ftp ? 3 : 1);
  return [
    new Chart(parent, "Throughput", flows, rate, 1000),
    new Chart(parent, ftp ? "Sessions and transfers" : "Sessions", crowd, count, 5),
    new Chart(parent, "Errors", wrong, second, 1),
  ];
}

function showHistory(shown) {
  if (!shown.history) {
    $("charts").closest("section").hidden = true;
    return;
  }
  const before = hour.next;
  if (shown.history.next !== hour.next) keep(shown.history);
  charts ??= makeCharts(shown.about.ftp);
  if (hour.next !== before) for (const chart of charts) chart.draw(hour);
}

// --- orders -----------------------------------------------------------------------------------------------------

function say(text, level) {
  const said = $("said");
  said.textContent = text;
  said.className = `notice ${level}`;
  said.hidden = !text;
}

function confirmed(title, text) {
  const ask = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  ask.returnValue = "no";
  ask.showModal();
  return new Promise((resolve) => {
    ask.addEventListener("close", () => resolve(ask.returnValue === "yes"), { once: true });
  });
}

async function order(action, backend, server) {
  const words = {
    drain: [`Drain ${server}?`, "New sessions go to other servers. Transfers finish; FTP sessions then end with 421 once they are idle, unless ftp-drain-idle says otherwise. Other sessions go on."],
    maint: [`Take ${server} out?`, "It gets no new sessions and is not checked. Transfers finish; FTP sessions then end with 421 once they are idle, unless ftp-drain-idle says otherwise. Other sessions go on."],
  }[action];
  if (words && !(await confirmed(...words))) return;
  try {
    const form = new URLSearchParams({ s: server, b: backend, action });
    const response = await fetch(absolute(uri), { method: "POST", body: form, signal: AbortSignal.timeout(PATIENCE) });
    const word = /;st=([A-Z]+)/.exec(response.url)?.[1] ?? "UNKN";
    say(word === "DONE" ? `${backend}/${server}: ${action} done.` : `${backend}/${server}: ${action} was refused (${word}).`, word === "DONE" ? "good" : "bad");
  } catch (error) {
    say(`${backend}/${server}: ${action} did not reach the balancer (${error.message}).`, "bad");
  }
  refresh();
}

// --- keeping up -------------------------------------------------------------------------------------------------

let timer = 0;
let busy = false;
let paused = false;
let failures = 0;
let last = null;

function live(state, text) {
  $("live").dataset.state = state;
  if ($("live").textContent !== text) $("live").textContent = text;
}

// What the options of the address leave.
function selected(shown) {
  const scope = options.get("scope") ?? "";
  const hidden = options.has("up") ? ["DOWN", "MAINT"] : options.has("no-maint") ? ["MAINT"] : [];
  const inScope = (each) => each.name.includes(scope);
  for (const backend of shown.backends) backend.servers = backend.servers.filter((each) => !hidden.includes(each.state));
  return { ...shown, frontends: shown.frontends.filter(inScope), backends: shown.backends.filter(inScope) };
}

function show(shown) {
  last = shown;
  $("uptime").textContent = duration(shown.about.now - shown.about.started);
  showHistory(shown);
  showSummary(shown);
  showTiles(shown);
  showServers(shown.backends);
  showFrontends(shown.frontends);
  showEvents(shown.events);
  for (const name of ["transfers", "sessions", "logins"]) $(name).hidden = !shown.about.ftp;
  if (shown.about.ftp) {
    showTransfers(shown.transfers, shown.taken || shown.about.now, shown.cut.transfers);
    showSessions(shown.ftp_sessions, shown.cut.ftp_sessions);
    showFailures(shown.login_failures);
  }
  applyFilter();
}

async function refresh() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  try {
    const response = await fetch(absolute(`/dashboard/data?after=${hour.next}`), { signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(selected(await response.json()));
    failures = 0;
    live("on", "Live");
  } catch (error) {
    failures += 1;
    live("off", "Not reachable");
    console.warn(error);
  }
  busy = false;
  if (!paused && !document.hidden) timer = setTimeout(refresh, Math.min(EVERY * 2 ** failures, 30000));
}

function begin() {
  for (const each of document.querySelectorAll("[data-script]")) each.hidden = false;
  for (const each of document.querySelectorAll(".orders")) each.remove();
  $("filter").addEventListener("input", (event) => {
    needle = event.target.value.trim().toLowerCase();
    if (last) show(last);
  });
  for (const name of ["transfers", "sessions", "logins"]) {
    $(`${name}-all`).addEventListener("click", () => {
      if (!whole.delete(name)) whole.add(name);
      if (last) show(last);
    });
  }
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
    if (paused) {
      clearTimeout(timer);
      live("", "Paused");
    } else refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) refresh();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("filter").focus();
    }
  });
  refresh();
}

begin();
