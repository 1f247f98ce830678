"use strict";
(() => {
  // Nothing here parses HTML: foreign text is only inserted as text.
  const get = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const own = (text, tag = "span", attributes = {}) => make(tag, { dir: "auto", ...attributes }, text);
  const plain = (value, most = 2) => value.toLocaleString("en", { maximumFractionDigits: most });
  const length = (seconds) => `${Math.floor(Math.round(seconds) / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;
  const lasted = (seconds) => seconds < 10 ? `${plain(seconds, 1)} s` : seconds < 600 ? `${plain(seconds, 0)} s` : `${plain(seconds / 60, 0)} min`;
  const named = (count, word) => `${plain(count)} ${word}${count === 1 ? "" : "s"}`;
  const pause = (seconds) => new Promise((done) => { setTimeout(done, seconds * 1000); });
  const query = (values) => new URLSearchParams(values).toString();

  // Talking to the server. No key is here: the server places the orders.
  const ask = async (path, options = {}) => {
    const response = await fetch(`/studio/${path}`, { credentials: "omit", redirect: "error", ...options });
    const text = await response.text();
    let body = {};
    try { body = JSON.parse(text); } catch { /* an answer that is broken on purpose */ }
    return { status: response.status, body, text, later: Number(response.headers.get("Retry-After")) };
  };
  const post = (path, content) => ask(path, {
    method: "POST", headers: { "Content-Type": "application/json", "X-Suno-Studio": "1" }, body: JSON.stringify(content),
  });

  // Short messages, which are read out too
  let saying = 0;
  const say = (text, seconds = 5) => {
    clearTimeout(saying);
    get("said").textContent = text;
    if (seconds) saying = setTimeout(() => { get("said").textContent = ""; }, seconds * 1000);
  };

  // Light and dark
  const root = document.documentElement;
  const kept = { get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
    set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* a browser without a store */ } } };
  if (["light", "dark"].includes(kept.get("theme"))) root.dataset.theme = kept.get("theme");
  get("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept.set("theme", root.dataset.theme);
  });

  // The three parts
  const parts = ["library", "videos", "developers"];
  let part = "library";
  const turn = () => {
    const wanted = location.hash.slice(1);
    if (!parts.includes(wanted) && wanted !== "") return;
    part = wanted || "library";
    for (const name of parts) get(`part-${name}`).hidden = name !== part;
    for (const link of document.querySelectorAll(".tabs a")) {
      if (link.dataset.part === part) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    for (const video of document.querySelectorAll("#tasks video")) if (part !== "videos") video.pause();
    if (part === "videos") catchUp();
    if (part === "developers") poll.now();
  };
  addEventListener("hashchange", () => { turn(); scrollTo(0, 0); });

  // The library
  let filling = 0;
  let library = { songs: [], mistakes: [], accounts: [], renders: false, cost: 0, url: "", state: 0 };
  const idOf = (song) => JSON.stringify([song.task_id, song.suno_id]);
  const address = (what, song) => `/studio/${what}?${query({ task_id: song.task_id, suno_id: song.suno_id, v: library.state })}`;
  const picture = (song, side, attributes = {}) => make("img", { class: "cover", src: address("cover", song), alt: "", width: side, height: side, loading: "lazy", decoding: "async", ...attributes });
  const load = async () => {
    const { status, body } = await ask("library");
    if (status !== 200) throw new Error(body.error || `HTTP ${status}`);
    library = body;
    get("mistakes").replaceChildren(...(library.mistakes.length ? [make("details", { class: "notice alert" },
      make("summary", {}, `${named(library.mistakes.length, "song")} left out: `, "what to correct"),
      make("ul", {}, ...library.mistakes.map((words) => own(words, "li"))))] : []));
    for (const select of document.querySelectorAll("select[name=account]")) select.replaceChildren(...library.accounts.map((name) => make("option", { value: name }, name)));
    get("account-field").hidden = library.accounts.length < 2;
    get("size-field").hidden = !library.renders;
    get("exports").textContent = `export CRUN_BASE_URL=${library.url} CRUN_API_KEY=…`;
    shelve();
  };
  const shelve = () => {
    clearTimeout(filling);
    const words = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = library.songs.filter((song) => {
      const text = [song.title, song.artist, song.tags, song.language, song.task_id, song.suno_id].join("\n").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const albums = new Map();
    for (const song of matching) { if (!albums.has(song.task_id)) albums.set(song.task_id, []); albums.get(song.task_id).push(song); }
    get("found").textContent = matching.length === library.songs.length
      ? `${named(library.songs.length, "song")} in ${named(albums.size, "album")}` : `${plain(matching.length)} of ${named(library.songs.length, "song")}`;
    if (!matching.length) get("albums").replaceChildren(make("p", { class: "none" }, library.songs.length ? "Nothing matches." : "The library has no songs."));
    else { get("albums").replaceChildren(); fill([...albums]); }
  };
  // The first albums at once, the others when there is time.
  const fill = (albums) => {
    clearTimeout(filling);
    get("albums").append(...albums.slice(0, 10).map(([name, songs]) => album(name, songs)));
    mark();
    if (albums.length > 10) filling = setTimeout(fill, 0, albums.slice(10));
  };
  const album = (name, songs) => {
    const artists = [...new Set(songs.map((song) => song.artist).filter(Boolean))];
    const box = make("section", { class: "album", "aria-label": name },
      make("header", {}, picture(songs[0], 64), make("div", { class: "titles" }, own(name, "h2"),
        own(`${artists.slice(0, 3).join(", ")}${artists.length > 3 ? " and others" : ""} · ${named(songs.length, "song")}`, "p", { class: "muted" })),
      songs.length > 1 ? make("button", { type: "button", class: "plain", onclick: (event) => offer(songs, name, event.currentTarget) }, `Make all ${plain(songs.length)} videos`) : null),
      make("ul", {}, ...songs.map(line)));
    box.style.containIntrinsicSize = `auto ${110 + 61 * songs.length}px`; // an album that is not on the screen is not laid out
    return box;
  };
  const line = (song) => make("li", { class: "song", "data-song": idOf(song) },
    make("button", { type: "button", class: "round", "aria-label": `Play ${song.title}`, "aria-pressed": "false", onclick: () => play(song) }),
    picture(song, 44),
    make("div", {}, own(song.title, "b"), own([song.artist, song.tags].filter(Boolean).join(" · ") || song.suno_id, "small")),
    make("time", { datetime: `PT${Math.round(song.duration)}S` }, length(song.duration)),
    make("div", { class: "row" },
      make("button", { type: "button", class: "plain", "aria-label": `Lyrics of ${song.title}`, onclick: () => read(song) }, "Lyrics"),
      make("button", { type: "button", class: "plain", "aria-label": `Make a video of ${song.title}`, onclick: (event) => offer([song], song.title, event.currentTarget) }, "Make video")));
  let typing = 0;
  get("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(shelve, 60); });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      if (part !== "library") { location.hash = "library"; turn(); }
      get("search").focus();
    }
  });

  // Songs play
  const audio = get("audio");
  let playing = null;
  const play = (song) => {
    if (playing && idOf(playing) === idOf(song)) { if (audio.paused) audio.play().catch(() => undefined); else audio.pause(); return; }
    playing = song;
    get("player").hidden = false;
    get("player-title").textContent = song.title;
    get("player-artist").textContent = song.artist;
    get("player-cover").src = address("cover", song);
    audio.src = address("audio", song);
    audio.play().catch(() => undefined); // the controls are there
  };
  const mark = () => {
    const id = playing && !audio.paused ? idOf(playing) : null;
    for (const item of document.querySelectorAll(".song")) {
      const on = item.dataset.song === id;
      item.classList.toggle("on", on);
      item.querySelector(".round").setAttribute("aria-pressed", String(on));
    }
  };
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, mark);
  audio.addEventListener("error", () => { if (playing) say(`“${playing.title}” cannot be played: its file cannot be read, or the extra suno-video-async[local] is not installed`, 8); });
  audio.addEventListener("play", () => { for (const video of document.querySelectorAll("video")) video.pause(); });
  get("player-lyrics").addEventListener("click", () => playing && read(playing));

  // Dialogs give the focus back where it came from.
  for (const dialog of document.querySelectorAll("dialog")) {
    for (const button of dialog.querySelectorAll(".close, [data-close]")) button.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  // Lyrics, and what `library check` says of the song
  let reading = null;
  const read = async (song) => {
    const body = get("lyrics-body");
    reading = song;
    get("lyrics-title").textContent = song.title;
    body.replaceChildren(make("p", { class: "muted" }, "Checking…"));
    if (!get("lyrics").open) get("lyrics").showModal();
    let found;
    try { found = await ask(`lyrics?${query({ task_id: song.task_id, suno_id: song.suno_id })}`); } catch { found = { status: 0, body: {} }; }
    if (reading !== song) return;
    if (found.status !== 200) { body.replaceChildren(own(found.body.error || "The server does not answer.", "p", { class: "bad" })); return; }
    const facts = found.body, list = (title, texts, kind) => texts.length
      ? make("div", { class: `notice${kind}` }, make("h3", {}, title), make("ul", {}, ...texts.map((text) => own(text, "li")))) : null;
    body.replaceChildren(...[
      list("Mistakes", facts.mistakes, " alert"), list("Warnings", [...facts.warnings, ...facts.notes], " alert"), list("Not checked", facts.unseen, ""),
      facts.spread ? make("p", { class: "muted" }, "The lyrics have no times: they are spread over the song.") : null,
      facts.lyrics.length ? make("ol", {}, ...facts.lyrics.map(([start, text, ...others]) => make("li", {},
        make("button", { type: "button", class: "lyric", "data-start": start, onclick: () => { if (!playing || idOf(playing) !== idOf(song)) play(song); audio.currentTime = start; } },
          make("time", {}, length(start)), make("span", {}, own(text || "♪"), ...others.map((other) => own(other, "small")))))))
        : make("p", { class: "muted" }, "This song has no lyrics."),
    ].filter(Boolean));
  };
  get("lyrics").addEventListener("close", () => { reading = null; });
  audio.addEventListener("timeupdate", () => {
    if (!reading || !playing || idOf(reading) !== idOf(playing)) return;
    let now = null;
    for (const row of get("lyrics-body").querySelectorAll(".lyric")) {
      row.removeAttribute("aria-current");
      if (Number(row.dataset.start) <= audio.currentTime) now = row;
    }
    if (now) { now.setAttribute("aria-current", "true"); now.scrollIntoView({ block: "nearest" }); }
  });

  // Orders
  let offered = [], ordering = false, balances = {};
  const form = get("order-form");
  const offer = (songs, name) => {
    offered = songs;
    get("order-title").textContent = songs.length > 1 ? `${name}: ${plain(songs.length)} videos` : name;
    get("order-submit").textContent = songs.length > 1 ? `Make ${plain(songs.length)} videos` : "Make the video";
    form.elements.author.placeholder = songs[0].artist;
    for (const field of ["author", "brand", "size"]) form.elements[field].value = kept.get(`order-${field}`) || "";
    get("order-problem").textContent = "";
    price();
    get("order").showModal();
    form.elements.author.focus();
  };
  const price = () => {
    const account = form.elements.account.value || library.accounts[0], has = balances[account];
    get("order-price").textContent = `${plain(offered.length * library.cost, 6)} credits${has === undefined ? "" : ` of ${plain(has, 6)}`}.`;
  };
  form.elements.account.addEventListener("change", price);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (ordering) { get("order-problem").textContent = "The videos before these are still being ordered."; return; }
    const wish = Object.fromEntries(["author", "brand", "size"].map((field) => [field, form.elements[field].value.trim()]));
    for (const [field, value] of Object.entries(wish)) kept.set(`order-${field}`, value);
    if (!library.renders) delete wish.size;
    if (library.accounts.length > 1) wish.account = form.elements.account.value;
    order(offered, wish);
  });
  // One after the other. What the rate limit refuses is sent again later; what may have been accepted, never.
  const order = async (songs, wish) => {
    ordering = true;
    get("order").close();
    location.hash = "videos";
    let done = 0, lost = 0;
    try {
      for (const song of songs) {
        if (songs.length > 1) say(`Ordering ${plain(done + lost + 1)} of ${plain(songs.length)}…`, 0);
        const problem = await place({ task_id: song.task_id, suno_id: song.suno_id, ...wish });
        if (problem === null) done += 1;
        else if (problem === "") lost += 1;
        else { complain(songs, done, problem); return; }
      }
      say(lost ? `${named(done, "video")} ordered; of ${plain(lost)} the answer was lost: see below whether they are being made`
        : songs.length > 1 ? `${plain(done)} videos are ordered` : `“${songs[0].title}” is being made`);
    } finally { ordering = false; }
  };
  // Returns null if it was accepted, "" if that is not known, else why it was refused.
  const place = async (wish) => {
    for (let tries = 0; ; tries += 1) {
      let answer;
      try { answer = await post("order", wish); } catch { return ""; }
      const { status, body, later } = answer;
      if (body.code === 200 && body.data && body.data.task_id) return null;
      if ((body.code === 429 || body.code === 455) && tries < 30) { say(`${body.message}; trying again…`, 0); await pause(Math.min(60, later || 2)); continue; }
      if (body.code === undefined && body.error === undefined) return "";
      return body.error || [body.message, ...(body.errors || [])].filter(Boolean).join(": ") || `HTTP ${status}`;
    }
  };
  const complain = (songs, done, problem) => {
    say("");
    offered = songs.slice(done);
    get("order-problem").textContent = `${done ? `${named(done, "video")} ordered, then: ` : ""}${problem}`;
    get("order").showModal();
  };
  addEventListener("beforeunload", (event) => { if (ordering) event.preventDefault(); });

  // Videos
  const words = { pending: "waiting", running: "rendering", success: "finished", failed: "failed" };
  const tasks = new Map(); // by id, the newest first
  const cards = new Map();
  let shown = "all", total = 0, now = 0;
  const titleOf = (task) => task.title || task.suno_id;
  const fits = (task) => shown === "all" || (shown === "live" ? ["pending", "running"].includes(task.status) : task.status === shown);
  const chips = () => {
    const counts = { all: tasks.size, live: 0, success: 0, failed: 0 };
    for (const task of tasks.values()) counts[["pending", "running"].includes(task.status) ? "live" : task.status] += 1;
    const box = get("states"), names = { all: "All", live: "In progress", success: "Finished", failed: "Failed" };
    if (!box.children.length) for (const name of Object.keys(names)) box.append(make("button", { type: "button", "data-state": name, onclick: () => { shown = name; chips(); arrange(); } }));
    for (const button of box.children) {
      button.textContent = `${names[button.dataset.state]} ${plain(counts[button.dataset.state])}`;
      button.setAttribute("aria-pressed", String(button.dataset.state === shown));
    }
    get("running").textContent = plain(counts.live);
    get("running").hidden = !counts.live;
    get("running").setAttribute("aria-label", `${plain(counts.live)} in progress`);
    const made = total ? `${named(total, "video")}${total > tasks.size ? `, the newest ${plain(tasks.size)} of them here` : ""}` : "No videos yet: make one in the library.";
    if (get("made").textContent !== made) get("made").textContent = made;
  };
  // Puts the cards in order, and touches only those that are out of it: a playing video goes on.
  const arrange = () => {
    let before = null;
    const list = get("tasks");
    for (const [id, card] of cards) if (!tasks.has(id)) { card.remove(); cards.delete(id); }
    for (const task of [...tasks.values()].reverse()) {
      const card = cards.get(task.id);
      if (!card) continue;
      card.hidden = !fits(task);
      if (card.parentNode !== list || card.nextSibling !== before) list.insertBefore(card, before);
      before = card;
    }
  };
  const draw = (task) => {
    let card = cards.get(task.id);
    if (!card) { card = make("li", { class: "task", "data-task": task.id }); cards.set(task.id, card); }
    if (card.dataset.drawn === task.status + String(task.video)) return;
    card.dataset.drawn = task.status + String(task.video);
    const href = `/studio/video?${query({ task: task.id })}`;
    const about = make("div", { class: "about" }, own(titleOf(task), "b"),
      own([task.author, task.brand, task.size && task.size.replace("x", " × ")].filter(Boolean).join(" · ") || task.suno_id, "small"),
      make("div", { class: "facts" }, make("span", { class: `badge st-${task.status}` }, words[task.status]), make("span", { class: "muted took" })));
    if (["pending", "running"].includes(task.status)) about.append(make("progress", { max: 1, value: 0, "aria-label": `Progress of ${titleOf(task)}` }));
    if (task.problem) about.append(own(task.problem, "p", { class: "words bad" }));
    for (const note of task.notes) about.append(own(note, "p", { class: "words muted" }));
    if (task.video) about.append(make("div", { class: "row" }, make("a", { class: "plain", href, download: `${titleOf(task).replace(/[\\/:*?"<>|]+/g, "_").slice(0, 120)}.mp4`, "aria-label": `Download ${titleOf(task)}` }, "Download")));
    card.replaceChildren(stage(task, href), about);
    tick(task, card);
  };
  const stage = (task, href) => {
    const box = make("div", { class: "stage" });
    if (task.title !== null) box.append(make("img", { src: address("cover", task), alt: "", loading: "lazy", decoding: "async", class: task.status === "success" ? null : "wait" }));
    if (task.video) box.append(make("button", { type: "button", class: "play", "aria-label": `Play ${titleOf(task)}`, onclick: () => show(box, href) }));
    return box;
  };
  const show = (box, href) => {
    for (const other of document.querySelectorAll("video, audio")) other.pause();
    const video = make("video", { src: href, controls: true, playsinline: true, preload: "auto" });
    video.addEventListener("error", () => { box.replaceChildren(make("div", { class: "why" }, "This browser cannot play the video, or it is gone")); });
    box.replaceChildren(video);
    video.play().catch(() => undefined); // the controls are there
    video.focus();
  };
  const tick = (task, card, progress) => {
    const took = card.querySelector(".took"), bar = card.querySelector("progress"), end = task.completed === null ? now : task.completed;
    if (!took) return;
    const seconds = lasted(Math.max(0, end - task.created)), share = progress === undefined ? null : `${plain(progress * 100, 0)} %`;
    const text = task.status === "running" && share ? `${share} · ${seconds}` : seconds;
    if (took.textContent !== text) took.textContent = text;
    if (bar && progress !== undefined) bar.value = progress;
  };
  // Cards are made only while they can be seen.
  const late = new Set();
  const catchUp = () => {
    if (part !== "videos") return;
    for (const id of late) if (tasks.has(id)) draw(tasks.get(id));
    late.clear();
    arrange();
  };
  const take = (news) => {
    now = news.now; total = news.total;
    const newer = [...news.tasks];
    if (news.all) { tasks.clear(); for (const task of newer) tasks.set(task.id, task); } else {
      const unknown = newer.filter((task) => !tasks.has(task.id)).sort((a, b) => b.created - a.created);
      for (const task of newer) if (tasks.has(task.id)) tasks.set(task.id, task);
      if (unknown.length) {
        const old = [...tasks];
        tasks.clear();
        for (const task of unknown) tasks.set(task.id, task);
        for (const [id, task] of old.slice(0, 1000)) tasks.set(id, task);
      }
    }
    for (const task of newer) late.add(task.id);
    catchUp();
    for (const [id, progress] of Object.entries(news.live)) if (tasks.has(id) && cards.has(id)) tick(tasks.get(id), cards.get(id), progress);
    chips();
    keep(news.books);
    if (library.state !== 0 && news.library !== library.state) load().catch(() => undefined);
  };

  // The books
  let booked = "";
  const keep = (books) => {
    balances = Object.fromEntries(books.accounts.map((account) => [account.name, account.balance]));
    const first = books.accounts[0];
    get("balance").textContent = first ? `${plain(first.balance)} credits` : "";
    const text = JSON.stringify(books);
    if (part !== "developers" || text === booked) return;
    booked = text;
    const table = (caption, counts) => Object.keys(counts).length ? make("table", {}, make("caption", {}, caption),
      make("tbody", {}, ...Object.entries(counts).map(([name, count]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, plain(count)))))) : null;
    const figure = (name, value, more) => make("div", {}, make("dt", {}, name), make("dd", {}, value), more ? make("dd", { class: "more" }, more) : null);
    const view = (name, window) => figure(name, window.limit === null ? plain(window.used) : `${plain(window.used)} of ${plain(window.limit)}`, `in any ${plain(window.per)} s`);
    get("books").replaceChildren(...books.accounts.map((account) => make("section", { class: "card", "aria-label": `Account ${account.name}` },
      make("h2", {}, `Account ${account.name}`),
      make("dl", { class: "figures" }, figure("Credits", plain(account.balance, 6)),
        view(account.reads ? "CreateTask in the window" : "Requests in the window", account.window),
        account.reads ? view("Other requests in theirs", account.reads) : null,
        figure("Running", plain(account.running), `at most ${plain(account.max_running)}`),
        figure("Charged", named(account.charged, "video"), account.refunded ? `${plain(account.refunded)} given back` : "")),
      make("div", { class: "tables" }, table("Requests", account.requests), table("Refused, by code", account.refused), table("Faults, by kind", account.faults)))),
    ...(Object.keys(books.callbacks).length ? [make("section", { class: "card", "aria-label": "Callbacks" }, table("Callbacks", books.callbacks))] : []));
  };

  // For developers: what is copied
  const copied = async (text, button) => {
    const before = button.textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "The browser does not allow it"; }
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  get("copy-key").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    try {
      const { status, body } = await post("key", {});
      if (status !== 200) throw new Error(body.error);
      get("given").hidden = body.key !== null;
      if (body.key === null) get("given").textContent = "Put in the key that the server was started with: the studio gives out only keys that the server made up.";
      await copied(`export CRUN_BASE_URL=${body.url} CRUN_API_KEY=${body.key === null ? "…" : body.key}`, button);
    } catch (error) { say(`The key cannot be copied: ${error.message}`); }
  });
  get("copy-catalog").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    try { await copied((await ask("catalog.csv")).text, button); } catch { say("The server does not answer."); }
  });

  // News, as they come: one question at a time, which the server answers when something has changed. A page that is not
  // looked at asks nothing.
  const poll = { state: "", running: false, stop: null,
    now: () => { if (poll.stop) poll.stop.abort(); },
    run: async () => {
      if (poll.running) return;
      poll.running = true;
      let failed = 0;
      while (!document.hidden) {
        poll.stop = new AbortController();
        const began = performance.now();
        try {
          if (failed || library.state === 0) await load();
          ready();
          const { status, body, later } = await ask(`tasks?${query({ since: poll.state, books: part === "developers" ? 1 : 0 })}`, { signal: poll.stop.signal });
          if (status !== 200) throw Object.assign(new Error(body.error || `HTTP ${status}`), { later });
          take(body);
          poll.state = body.state;
          if (failed) { get("lost").hidden = true; failed = 0; }
          await pause(Math.max(0, 0.25 - (performance.now() - began) / 1000));
        } catch (error) {
          if (error.name === "AbortError") continue;
          failed += 1;
          get("lost").hidden = failed < 2;
          get("lost").textContent = `The server does not answer (${error.message}). Trying again…`;
          await pause(error.later || Math.min(10, 0.5 * 2 ** Math.min(failed, 5)));
        }
      }
      poll.running = false;
    } };
  document.addEventListener("visibilitychange", () => { if (document.hidden) poll.now(); else poll.run(); });
  const ready = () => {
    if (root.dataset.ready !== undefined) return;
    root.dataset.ready = "";
    requestAnimationFrame(() => setTimeout(() => { performance.mark("interactive"); }));
  };

  turn();
  poll.run();
})();
