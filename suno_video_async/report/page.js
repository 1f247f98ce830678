"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data"), stills = read("stills");
  const at = Object.fromEntries(data.columns.map((name, n) => [name, n]));
  const words = {
    downloaded: "on disk", succeeded: "made, not on disk", submitted: "being made", submitting: "being submitted",
    planned: "to be bought", unknown: "unknown", failed: "failed", refused: "refused",
  };
  const urgent = ["unknown", "submitting", "failed", "refused", "planned", "submitted", "succeeded", "downloaded"];

  // Nothing here parses HTML: foreign text is only inserted as text.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const draw = (tag, attributes = {}, text = null) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== null) element.textContent = text;
    return element;
  };
  const own = (text, tag = "span") => make(tag, { dir: "auto" }, text);

  const plain = (value, most = 2) => value.toLocaleString("en", { maximumFractionDigits: most });
  const span = (seconds) => seconds === null ? "–" : seconds < 10 ? `${plain(seconds, 1)} s`
    : seconds < 600 ? `${plain(seconds, 0)} s` : `${plain(seconds / 60, 0)} min`;
  const two = (n) => String(n).padStart(2, "0");
  const day = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const clock = (d, exact) => `${two(d.getHours())}:${two(d.getMinutes())}${exact ? `:${two(d.getSeconds())}` : ""}`;
  const moment = (seconds, exact) => {
    if (seconds === null) return "–";
    const date = new Date(seconds * 1000);
    return Number.isNaN(date.getTime()) ? String(seconds) : `${day(date)} ${clock(date, exact)}`;
  };
  const bytes = (size) => size < 1e6 ? `${plain(size / 1e3, 0)} kB` : `${plain(size / 1e6, 1)} MB`;

  // Times are written in UTC; the script shows them in the reader's time zone.
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = Date.parse(time.dateTime) / 1000;
    if (!Number.isNaN(seconds)) { time.title = time.textContent; time.textContent = moment(seconds); }
  }

  // Light and dark
  const root = document.documentElement, theme = document.getElementById("theme");
  const kept = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a page without a store */ } } };
  if (["light", "dark"].includes(kept.get())) root.dataset.theme = kept.get();
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept.set(root.dataset.theme);
  });

  // Commands
  const copyable = (pre) => {
    const text = pre.textContent;
    const button = make("button", { type: "button", "aria-label": "Copy the command" }, "Copy");
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch {
        getSelection().selectAllChildren(pre.querySelector("code")); button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    pre.classList.add("copies");
    pre.append(button);
  };
  document.querySelectorAll("pre.cmd").forEach(copyable);

  // Charts
  const nice = (top, parts = 4) => {
    const power = 10 ** Math.floor(Math.log10(top / parts || 1));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n * parts >= top);
    return { step, top: Math.ceil(top / step - 1e-9) * step };
  };
  const frame = (box, top, unit, above = 18) => {
    const width = Math.max(240, box.clientWidth), height = box.clientHeight || 230;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": box.dataset.label });
    const area = { left: 34, right: width - 8, top: above, bottom: height - 24 };
    const y = (value) => area.bottom - (area.bottom - area.top) * value / top.top;
    for (let value = 0; value <= top.top + 1e-9; value += top.step) {
      svg.append(draw("line", { class: "grid", x1: area.left, x2: area.right, y1: y(value), y2: y(value) }));
      svg.append(draw("text", { x: area.left - 6, y: y(value) + 4, "text-anchor": "end" }, plain(value)));
    }
    svg.append(draw("text", { x: 0, y: 8 }, unit));
    return { svg, area, y, width };
  };
  const tip = make("div", { class: "tip", hidden: true });
  const tooltip = (box, hit, text) => {
    hit.append(draw("title", {}, text));
    hit.addEventListener("pointerenter", () => {
      hit.querySelector("title")?.remove();
      tip.textContent = text; tip.hidden = false; box.append(tip);
      const x = hit.getBBox().x + hit.getBBox().width / 2;
      tip.style.left = `${Math.max(0, Math.min(x - tip.offsetWidth / 2, box.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = "0";
    });
    hit.addEventListener("pointerleave", () => { tip.hidden = true; });
  };
  const drawLine = (box) => {
    const { step, stretches } = data.line, limit = data.rate ? 60 * data.rate.requests / data.rate.per : 0;
    box.textContent = "";
    if (!stretches.length) { box.append(make("p", { class: "none" }, "Nothing was submitted yet.")); return; }
    const rate = (count) => count * 60 / step;
    const peak = Math.max(...stretches.map((s) => Math.max(...s.sent, ...s.ended)));
    // Far below the limit, the line at the top would flatten everything else.
    const far = rate(peak) < limit / 5, top = nice(far ? Math.max(rate(peak) * 1.25, 1) : Math.max(limit, rate(peak), 1) * 1.02);
    const { svg, area, y } = frame(box, top, "a minute");
    const bars = stretches.reduce((sum, s) => sum + s.sent.length, 0), gap = stretches.length > 1 ? 16 : 0;
    const unit = Math.min(46, (area.right - area.left - gap * (stretches.length - 1)) / bars);
    let x = area.left, labelled = -Infinity;
    for (const [n, stretch] of stretches.entries()) {
      if (n) svg.append(draw("line", { class: "grid", x1: x - gap / 2, x2: x - gap / 2, y1: area.top, y2: area.bottom, "stroke-dasharray": "2 3" }));
      const points = [];
      for (let bar = 0; bar < stretch.sent.length; bar += 1, x += unit) {
        const [sent, ended] = [rate(stretch.sent[bar]), rate(stretch.ended[bar])], start = stretch.start + bar * step;
        if (sent) svg.append(draw("rect", { class: "sent", x: x + unit * 0.1, width: unit * 0.8, y: y(sent), height: area.bottom - y(sent), rx: Math.min(2, unit / 4) }));
        points.push(`${x + unit / 2},${y(ended)}`);
        const hit = draw("rect", { class: "hit", x, width: unit, y: area.top, height: area.bottom - area.top });
        tooltip(box, hit, `${moment(start, step < 60)}\n${plain(stretch.sent[bar])} submitted, ${plain(stretch.ended[bar])} ended\n`
          + `${plain(sent, 1)} and ${plain(ended, 1)} a minute`);
        hit.dataset.late = ""; svg.append(hit);
      }
      svg.append(points.length > 1 ? draw("polyline", { class: "ended", points: points.join(" ") })
        : draw("circle", { class: "dots", cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 3.5 }));
      const first = x - unit * stretch.sent.length, date = new Date(stretch.start * 1000);
      const dated = n === 0 || day(date) !== day(new Date(stretches[n - 1].start * 1000));
      const label = Number.isNaN(date.getTime()) ? "" : `${dated ? `${day(date)} ` : ""}${clock(date, step < 60)}`;
      if (first > labelled && first + label.length * 6 < area.right + 8) {
        svg.append(draw("text", { x: first, y: area.bottom + 17 }, label)); labelled = first + label.length * 6.6 + 8;
      }
      x += gap;
    }
    const last = stretches.at(-1), end = new Date((last.start + last.sent.length * step) * 1000), edge = x - gap;
    if (edge - 44 > labelled && !Number.isNaN(end.getTime())) svg.append(draw("text", { x: edge, y: area.bottom + 17, "text-anchor": "end" }, clock(end, step < 60)));
    for (const [value, name] of limit ? [[limit, "limit"], [limit / 2, "half"]] : []) {
      if (value <= top.top) svg.append(draw("line", { class: name, x1: area.left, x2: area.right, y1: y(value), y2: y(value) }));
    }
    for (const hit of svg.querySelectorAll("[data-late]")) svg.append(hit);
    box.append(svg);
    const legend = box.parentElement.querySelector(".legend");
    if (!legend) box.before(make("ul", { class: "legend" },
      make("li", {}, make("i", { class: "l-sent" }), "submitted"), make("li", {}, make("i", { class: "l-ended" }), "ended"),
      ...(!limit ? [] : far ? [make("li", {}, `the limit is at ${plain(limit)} requests, far above`)] : [
        make("li", {}, make("i", { class: "l-limit" }), `limit: ${plain(limit)} requests`),
        make("li", {}, make("i", { class: "l-half" }), `${plain(limit / 2)} videos, at two requests each`)])));
  };
  const drawSpread = (box) => {
    const took = data.took;
    box.textContent = "";
    if (!took) return;
    const { svg, area, y } = frame(box, nice(Math.max(...took.counts, 1)), "videos", 32);
    const unit = (area.right - area.left) / took.counts.length;
    const x = (seconds) => area.left + Math.min((seconds - took.start) / took.width, took.counts.length) * unit;
    took.counts.forEach((count, n) => {
      const from = took.start + n * took.width, left = area.left + n * unit, open = took.open_end && n === took.counts.length - 1;
      if (count) svg.append(draw("rect", { class: "bin", x: left + unit * 0.06, width: unit * 0.88, y: y(count), height: area.bottom - y(count), rx: Math.min(2, unit / 4) }));
      const hit = draw("rect", { class: "hit", x: left, width: unit, y: area.top, height: area.bottom - area.top });
      tooltip(box, hit, `${open ? `${span(from)} or more` : `${span(from)} to ${span(from + took.width)}`}\n${plain(count)} videos`);
      svg.append(hit);
    });
    const close = x(took.most) - x(took.median) < 78;
    for (const [name, seconds, anchor] of [["median", took.median, close ? "end" : "middle"], ["90 %", took.most, close ? "start" : "middle"]]) {
      svg.append(draw("line", { class: "mark1", x1: x(seconds), x2: x(seconds), y1: area.top, y2: area.bottom, "stroke-dasharray": "3 3" }));
      const shift = close ? (anchor === "end" ? 3 : -3) : 0;
      svg.append(draw("text", { class: "name", x: Math.max(area.left + 20, Math.min(x(seconds) + shift, area.right - 6)), y: area.top - 6, "text-anchor": anchor }, `${name} ${span(seconds)}`));
    }
    const ends = took.start + took.counts.length * took.width;
    svg.append(draw("text", { x: area.left, y: area.bottom + 17 }, span(took.start)));
    svg.append(draw("text", { x: area.right, y: area.bottom + 17, "text-anchor": "end" }, took.open_end ? `${span(took.longest)} at most` : span(ends)));
    box.append(svg);
  };
  const charts = [[document.getElementById("line"), drawLine, "Submissions and completions a minute"], [document.getElementById("spread"), drawSpread, "How many videos took how long"]];
  for (const [box, paint, label] of charts) {
    box.dataset.label = label;
    if (box.id === "spread" && !data.took) continue;
    box.hidden = false;
    paint(box);
    let width = box.clientWidth;
    new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; paint(box); } }).observe(box);
  }

  // What a page that loads itself again leaves to the next one
  let left = {};
  try { left = JSON.parse(sessionStorage.getItem("left")) || {}; sessionStorage.removeItem("left"); } catch { /* a page without a store */ }

  // Search, filter, sort
  const get = (row, name) => row[at[name]];
  const called = (row) => get(row, "title") || get(row, "suno") || `row ${get(row, "id")}`;
  const texts = ["title", "author", "brand", "suno", "task", "video", "where", "kind", "words", "extra"];
  const haystacks = data.rows.map((row) => [`#${get(row, "id")}`, words[get(row, "state")], ...texts.map((name) => get(row, name) || "")].join("\n").toLowerCase());
  const numbers = data.rows.map((_, n) => n);
  const state = { query: "", state: null, key: "id", down: false, view: data.rows.some((row) => get(row, "size")) ? "gallery" : "list", found: numbers, on: -1, ...left.state };
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const keys = {
    id: (row) => get(row, "id"), title: called, author: (row) => get(row, "author"), state: (row) => urgent.indexOf(get(row, "state")),
    took: (row) => get(row, "took"), credits: (row) => get(row, "credits"), submitted: (row) => get(row, "submitted"),
  };
  const sorted = (found) => {
    const key = keys[state.key], sign = state.down ? -1 : 1;
    const values = new Map(found.map((n) => [n, key(data.rows[n])]));
    return found.sort((one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      if (a === null || b === null || a === undefined || b === undefined) return (a === null || a === undefined) - (b === null || b === undefined) || one - other;
      return (typeof a === "string" ? collator.compare(a, b) : a - b) * sign || one - other;
    });
  };
  const find = () => {
    const wanted = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = numbers.filter((n) => wanted.every((word) => haystacks[n].includes(word)));
    const counts = {};
    for (const n of matching) counts[get(data.rows[n], "state")] = (counts[get(data.rows[n], "state")] || 0) + 1;
    state.found = sorted(state.state ? matching.filter((n) => get(data.rows[n], "state") === state.state) : matching);
    state.on = -1;
    chips(counts, matching.length);
    found.textContent = state.found.length === data.total ? `${plain(data.total)} videos` : `${plain(state.found.length)} of ${plain(data.total)}`;
    for (const cell of head.children) {
      const sort = cell.dataset.key === state.key ? (state.down ? "descending" : "ascending") : "none";
      cell.setAttribute("aria-sort", sort);
    }
    order.value = `${state.key} ${state.down ? "down" : "up"}`;
    layout();
  };

  const browser = document.getElementById("browser");
  const search = make("input", { type: "search", placeholder: "Search titles, artists, ids, errors…", "aria-label": "Search", autocomplete: "off" });
  const orders = [["id up", "Catalog order"], ["id down", "Newest rows first"], ["title up", "Title"], ["author up", "Artist"], ["state up", "Needs attention first"], ["took down", "Slowest first"], ["took up", "Fastest first"], ["credits down", "Most expensive first"], ["submitted down", "Last submitted first"]];
  const orderWords = { title: "Title", author: "Artist", state: "State", took: "Time taken", credits: "Credits", submitted: "Submitted", id: "Row" };
  for (const key of Object.keys(orderWords)) for (const way of ["up", "down"]) {
    if (!orders.some(([value]) => value === `${key} ${way}`)) orders.push([`${key} ${way}`, `${orderWords[key]}, ${way === "up" ? "ascending" : "descending"}`]);
  }
  const order = make("select", { "aria-label": "Sort by" }, ...orders.map(([value, name]) => make("option", { value }, name)));
  const found = make("span", { class: "found", role: "status" });
  const segment = make("span", { class: "seg", role: "group", "aria-label": "View" });
  const chipBox = make("div", { class: "chips", role: "group", "aria-label": "State" });
  const controls = make("div", { class: "controls" }, search, order, segment, found, chipBox);
  const columns = [["id", "Row", ""], ["title", "Video", ""], ["author", "Artist", ""], ["state", "State", ""], ["took", "Took", "num"], ["credits", "Credits", "num"], ["submitted", "Submitted", ""]];
  const head = make("div", { class: "head", role: "row", "aria-rowindex": "1" }, ...columns.map(([key, name, kind]) => make("div", { role: "columnheader", class: kind, "data-key": key }, make("button", { type: "button", onclick: () => sortBy(key) }, name))));
  const view = make("div", { class: "view", tabindex: "0", "aria-label": "Videos; arrow keys move, Enter opens" });
  const table = make("div", {}, head, view);
  browser.append(controls, table);
  browser.hidden = false;

  const sortBy = (key) => { state.down = state.key === key ? !state.down : ["took", "credits", "submitted"].includes(key); state.key = key; find(); };
  const chips = (counts, all) => {
    const had = chipBox.contains(document.activeElement) ? document.activeElement.dataset.state : null;
    chipBox.textContent = "";
    const chip = (name, text) => make("button", { type: "button", "data-state": name || "all", "aria-pressed": String(state.state === name), onclick: () => { state.state = name; find(); } }, text);
    chipBox.append(chip(null, `All ${plain(all)}`));
    for (const name of urgent) if (counts[name] || state.state === name) chipBox.append(chip(name, `${words[name]} ${plain(counts[name] || 0)}`));
    if (had) chipBox.querySelector(`[data-state="${had}"]`)?.focus();
  };
  for (const [name, text] of [["gallery", "Gallery"], ["list", "List"]]) {
    segment.append(make("button", { type: "button", "data-view": name, onclick: () => { state.view = name; state.on = -1; layout(); } }, text));
  }
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = search.value; find(); }, 60);
  });
  order.addEventListener("change", () => { const [key, way] = order.value.split(" "); state.key = key; state.down = way === "down"; find(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && !dialog.open) { event.preventDefault(); search.focus(); }
  });

  // Only what is on the screen is in the document.
  let before = null; // the view that printing interrupts
  const shown = new Map();
  let shape = { across: 1, high: 56, wide: 0, gap: 0 };
  const layout = () => {
    for (const button of segment.children) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
    const gallery = state.view === "gallery", width = view.clientWidth;
    head.hidden = gallery;
    for (const element of shown.values()) element.remove();
    shown.clear();
    view.querySelector(".none")?.remove();
    if (gallery) {
      const across = Math.max(1, Math.floor((width + 14) / (matchMedia("(max-width: 720px)").matches ? 320 : 284)));
      const wide = (width - 14 * (across - 1)) / across;
      shape = { across, wide, gap: 14, high: Math.round(wide * 9 / 16) + 98 };
      view.setAttribute("role", "list");
      table.removeAttribute("role");
      table.removeAttribute("aria-rowcount");
    } else {
      shape = { across: 1, wide: width, gap: 0, high: matchMedia("(max-width: 720px)").matches ? 72 : 56 };
      view.setAttribute("role", "rowgroup");
      table.setAttribute("role", "table");
      table.setAttribute("aria-rowcount", state.found.length + 1);
    }
    head.style.setProperty("--under", `${56 + controls.offsetHeight}px`);
    view.style.height = `${Math.ceil(state.found.length / shape.across) * (shape.high + shape.gap)}px`;
    if (!state.found.length) view.append(make("p", { class: "none" }, data.rows.length ? "Nothing matches." : "The ledger has no rows yet."));
    paint();
  };
  const paint = () => {
    if (before !== null) return; // what is being printed stays
    const box = view.getBoundingClientRect(), pitch = shape.high + shape.gap, spare = pitch * 2;
    const first = Math.max(0, Math.floor((-box.top - spare) / pitch)) * shape.across;
    const last = Math.min(state.found.length, (Math.ceil((innerHeight - box.top + spare) / pitch)) * shape.across);
    for (const [place, element] of shown) if (place < first || place >= last) {
      const video = element.querySelector("video");
      if (video && !video.paused) continue; // a playing video continues
      element.remove(); shown.delete(place);
    }
    for (let place = first; place < last; place += 1) {
      if (shown.has(place)) continue;
      const element = (state.view === "gallery" ? tile : line)(data.rows[state.found[place]], place);
      shown.set(place, element);
      view.append(element);
    }
  };
  const line = (row, place) => {
    const element = make("div", { class: place === state.on ? "line on" : "line", role: "row", id: `place${place}`, "aria-rowindex": place + 2, onclick: () => open(row) },
      make("span", { role: "cell" }, String(get(row, "id"))),
      make("span", { role: "cell" }, own(called(row), "b"), own(get(row, "words") && get(row, "state") !== "downloaded" ? get(row, "words") : get(row, "suno") || "", "small")),
      make("span", { role: "cell" }, own(get(row, "author") || "–"), own(get(row, "brand") || "", "small")),
      make("span", { role: "cell" }, badge(row)),
      make("span", { role: "cell", class: "num" }, span(get(row, "took"))),
      make("span", { role: "cell", class: "num" }, get(row, "credits") === null ? "–" : plain(get(row, "credits"))),
      make("span", { role: "cell", class: "muted" }, moment(get(row, "submitted"))));
    element.style.transform = `translateY(${place * shape.high}px)`;
    return element;
  };
  const badge = (row) => {
    const missing = get(row, "href") && get(row, "size") === null;
    return make("span", { class: `badge s-${missing ? "unknown" : get(row, "state")}` }, missing ? "file is missing" : get(row, "place") ? "in the store" : words[get(row, "state")]);
  };
  const tile = (row, place) => {
    const element = make("div", { class: place === state.on ? "tile on" : "tile", role: "listitem", id: `place${place}` }, stage(row),
      make("button", { type: "button", class: "about", onclick: () => open(row) }, own(called(row), "b"),
        own([get(row, "author"), get(row, "brand")].filter(Boolean).join(" · ") || get(row, "suno") || "", "small"), badge(row)));
    const pitch = shape.high + shape.gap;
    element.style.width = `${shape.wide}px`; element.style.height = `${shape.high}px`;
    element.style.transform = `translate(${(place % shape.across) * (shape.wide + shape.gap)}px,${Math.floor(place / shape.across) * pitch}px)`;
    return element;
  };
  const stage = (row) => {
    const box = make("div", { class: "stage" }), still = stills[get(row, "id")], href = get(row, "href");
    if (!href || get(row, "size") === null) {
      const why = href ? "The file is not where it was saved" : get(row, "place") ? "In the store" : get(row, "words") || { succeeded: "Made, not on disk", submitted: "Being made", submitting: "Being submitted", planned: "To be bought" }[get(row, "state")] || "No video";
      box.append(own(why.length > 140 ? `${why.slice(0, 140)}…` : why, "div"));
      box.lastChild.className = "why";
      return box;
    }
    if (still) box.append(make("img", { src: `data:image/jpeg;base64,${still}`, alt: "", loading: "lazy" }));
    else {
      const first = make("video", { src: href, preload: "metadata", muted: true, tabindex: "-1", "aria-hidden": "true" });
      first.muted = true;
      first.addEventListener("loadedmetadata", () => { if (Number.isFinite(first.duration)) first.currentTime = first.duration / 3; }, { once: true });
      box.append(first);
    }
    box.append(make("button", { type: "button", class: "play", "aria-label": `Play ${called(row)}`, onclick: () => play(box, row) }));
    return box;
  };
  const play = (box, row) => {
    for (const other of document.querySelectorAll("video")) other.pause();
    const video = make("video", { src: get(row, "href"), controls: true, playsinline: true, preload: "auto" });
    video.addEventListener("error", () => { box.replaceChildren(make("div", { class: "why" }, "This browser cannot play the file, or it is gone")); });
    box.replaceChildren(video);
    video.play().catch(() => undefined); // the controls are there
    video.focus();
  };

  // One video's facts
  const dialog = make("dialog", { "aria-label": "Video" });
  document.body.append(dialog);
  const open = (row) => {
    const facts = make("dl"), put = (name, value) => { if (value) facts.append(make("dt", {}, name), make("dd", {}, typeof value === "string" ? own(value) : value)); };
    put("State", badge(row));
    put("Artist", get(row, "author")); put("Brand", get(row, "brand"));
    put("Reason", [get(row, "kind"), get(row, "words")].filter(Boolean).join(": "));
    put("Row", `${get(row, "id")}, ${get(row, "where") || ""}`);
    put("Music task", get(row, "task")); put("Suno id", get(row, "suno")); put("Video task", get(row, "video"));
    put("Submitted", get(row, "submitted") && `${moment(get(row, "submitted"), true)}${get(row, "sends") > 1 ? `, ${get(row, "sends")} times in all` : ""}`);
    put("Ended", get(row, "ended") ? moment(get(row, "ended"), true) : get(row, "submitted") && ["succeeded", "downloaded", "failed"].includes(get(row, "state")) && "not known");
    put("Took", get(row, "took") !== null && span(get(row, "took")));
    put("Credits", get(row, "credits") !== null && plain(get(row, "credits"), 6));
    put("File", get(row, "href") && (get(row, "size") === null ? `${decoded(get(row, "href"))} (missing)` : make("a", { href: get(row, "href") }, `${decoded(get(row, "href"))}, ${bytes(get(row, "size"))}`)));
    put("Place", get(row, "place"));
    put("At the service", get(row, "url") && make("a", { href: get(row, "url"), rel: "noreferrer noopener", target: "_blank" }, "the video, as long as it is kept"));
    put("Catalog", get(row, "extra"));
    const player = get(row, "size") === null ? null : stage(row);
    dialog.replaceChildren(make("div", { class: "top" }, own(called(row), "h2"), make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "✕")), ...(player ? [player] : []), facts);
    dialog.showModal();
  };
  const decoded = (href) => { try { return decodeURIComponent(href); } catch { return href; } };
  dialog.addEventListener("close", () => { dialog.replaceChildren(); view.focus({ preventScroll: true }); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  view.addEventListener("keydown", (event) => {
    if (event.target !== view) return;
    const page = Math.max(1, Math.floor((innerHeight - 200) / (shape.high + shape.gap))) * shape.across, end = state.found.length - 1;
    const moves = { ArrowDown: shape.across, ArrowUp: -shape.across, ArrowRight: 1, ArrowLeft: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && state.on >= 0) { event.preventDefault(); open(data.rows[state.found[state.on]]); }
    if (!(event.key in moves) || end < 0) return;
    event.preventDefault();
    state.on = state.on < 0 && Number.isFinite(moves[event.key]) ? 0 : Math.max(0, Math.min(end, state.on + moves[event.key]));
    const pitch = shape.high + shape.gap, top = view.getBoundingClientRect().top + scrollY + Math.floor(state.on / shape.across) * pitch, under = 56 + controls.offsetHeight + 40;
    if (top < scrollY + under) scrollTo(0, top - under);
    else if (top + pitch > scrollY + innerHeight) scrollTo(0, top + pitch - innerHeight);
    paint();
    for (const [place, element] of shown) element.classList.toggle("on", place === state.on);
    view.setAttribute("aria-activedescendant", `place${state.on}`);
  });

  let planned = false;
  const soon = () => { if (!planned) { planned = true; requestAnimationFrame(() => { planned = false; paint(); }); } };
  addEventListener("scroll", soon, { passive: true });
  let width = 0;
  new ResizeObserver(() => { if (view.clientWidth !== width) { width = view.clientWidth; layout(); } else soon(); }).observe(view);
  addEventListener("resize", soon);

  // Paper does not scroll: print the first rows as a list, and the number of further ones.
  const printed = 200;
  addEventListener("beforeprint", () => {
    if (before !== null) return;
    before = state.view; state.view = "list"; layout();
    for (let place = 0; place < Math.min(printed, state.found.length); place += 1) {
      const element = line(data.rows[state.found[place]], place);
      shown.set(place, element); view.append(element);
    }
    if (state.found.length > printed) view.append(make("p", { class: "none" }, `and ${plain(state.found.length - printed)} more`));
  });
  addEventListener("afterprint", () => { if (before !== null) { state.view = before; before = null; layout(); } });

  // While a conversion runs this file is written again and again, and the page loads it, unless it is being used. A file
  // that has not been written for long is not loaded any more: what wrote it is gone.
  const fresh = () => Date.now() / 1000 - data.at < Math.max(60, 5 * data.refresh);
  if (data.refresh && fresh()) {
    let paused = Boolean(left.paused), due = performance.now() + data.refresh * 1000;
    const button = make("button", { type: "button", class: "live", "aria-pressed": String(paused) });
    const label = () => { button.textContent = paused ? "Paused" : "Live"; button.title = paused ? "Go on updating" : `Updates every ${plain(data.refresh)} s; press to pause`; };
    button.addEventListener("click", () => { paused = !paused; button.setAttribute("aria-pressed", String(paused)); label(); });
    label();
    theme.before(button);
    const busy = () => paused || document.hidden || dialog.open || before !== null || [...document.querySelectorAll("video[controls]")].some((video) => !video.paused);
    const keep = () => {
      const { state: only, key, down, view: shape } = state, query = search.value;
      try { sessionStorage.setItem("left", JSON.stringify({ paused, typing: document.activeElement === search, state: { query, state: only, key, down, view: shape } })); } catch { /* a page without a store */ }
    };
    const timer = setInterval(() => {
      if (performance.now() < due || busy()) return;
      clearInterval(timer);
      addEventListener("pagehide", keep); // at the last moment: until then it is still being used
      location.reload();
    }, 250);
  }

  search.value = state.query;
  if (left.typing) search.focus({ preventScroll: true });
  find();
  requestAnimationFrame(() => setTimeout(() => { performance.mark("interactive"); root.dataset.ready = ""; }));
})();
