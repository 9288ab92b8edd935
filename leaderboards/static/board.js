// Sorting, theme and the sample explorer. Text from models and data enters through textContent only.
"use strict";

(function () {
  const PAGE_SIZE = 5;

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "class") made.className = value;
      else made.setAttribute(name, value);
    }
    for (const child of children) {
      if (child !== null && child !== undefined) made.append(child); // strings become text nodes
    }
    return made;
  }

  // ---- theme -------------------------------------------------------------------------------
  function remembered() {
    try { return localStorage.getItem("longspan-theme"); } catch (error) { return null; }
  }

  function setUpTheme() {
    const root = document.documentElement;
    const button = document.getElementById("theme");
    const prefersDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const saved = remembered();
    if (saved === "dark" || saved === "light") root.dataset.theme = saved;
    const isDark = () => (root.dataset.theme || (prefersDark ? "dark" : "light")) === "dark";
    const show = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("longspan-theme", root.dataset.theme); } catch (error) { /* private mode */ }
      show();
    });
    button.classList.remove("hidden");
    show();
  }

  // ---- sortable tables ---------------------------------------------------------------------
  function sortValue(row, column) {
    const cell = row.cells[column];
    const raw = cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
    if (raw === "") return null;
    const number = Number(raw);
    return Number.isNaN(number) ? raw.toLowerCase() : number;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortTable(table, column, direction) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row, index) => [sortValue(row, column), index, row]);
    rows.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1; // missing values last
      return compare(a, b) * direction || i - j;
    });
    body.append(...rows.map((entry) => entry[2]));
  }

  function setUpSorting(table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const button = element("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") === "descending" ||
          (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sortTable(table, column, ascending ? 1 : -1);
      });
    });
  }

  // ---- filtering tables --------------------------------------------------------------------
  const FILTER_FROM_ROWS = 8;

  function setUpFilter(table) {
    const rows = Array.from(table.tBodies[0].rows);
    const region = table.closest(".scroll");
    if (rows.length < FILTER_FROM_ROWS || !region) return;
    const input = element("input", { type: "search", autocomplete: "off", placeholder: "Filter rows",
      "aria-label": "Show only rows that contain: " + region.getAttribute("aria-label") });
    const shown = element("span", { class: "note", "aria-live": "polite" });
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase().split(/\s+/);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = wanted.every((word) => text.includes(word));
        row.classList.toggle("hidden", !fits);
        count += fits;
      }
      shown.textContent = input.value.trim() ? " " + count + " of " + rows.length + " rows" : "";
    });
    region.before(element("p", { class: "filter" }, input, shown));
  }

  // ---- sample explorer ---------------------------------------------------------------------
  function meanScore(attempts) {
    const values = (attempts || []).map((one) => one.value).filter((value) => value !== null);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }

  const OUTCOMES = {
    win: (a, b) => a !== null && b !== null && b > a,
    loss: (a, b) => a !== null && b !== null && b < a,
    both: (a, b) => a === 1 && b === 1,
    neither: (a, b) => a === 0 && b === 0,
    unscored: (a, b) => a === null || b === null,
    all: () => true,
  };

  function percent(value) {
    return value === null ? "no score" : (100 * value).toFixed(value === 0 || value === 1 ? 0 : 1) + "%";
  }

  function sideOf(title, attempts) {
    const score = meanScore(attempts);
    const side = element("div", { class: "side" + (score === null ? "" : score >= 0.5 ? " right" : " wrong") });
    side.append(element("h4", {}, title));
    if (!attempts) {
      side.append(element("p", { class: "note" }, "not in this run"));
      return side;
    }
    for (const one of attempts) {
      const attempt = attempts.length > 1 ? "attempt " + one.epoch + ": " : "";
      const answer = one.answer ? "answer: " + one.answer : "no answer found";
      const ending = one.validity.replaceAll("_", " ");
      side.append(element("div", { class: "note" }, attempt + percent(one.value) + ", " + ending));
      side.append(element("div", {}, answer));
      if (one.error) side.append(element("div", { class: "warn" }, one.error));
      if (one.completion) side.append(element("pre", { tabindex: "0" }, one.completion));
    }
    return side;
  }

  function facts(sample) {
    const parts = [sample.id];
    if (sample.task_type) parts.push(sample.task_type.replaceAll("_", " "));
    if (sample.kind) parts.push(sample.kind.replaceAll("_", " "));
    if (sample.hops !== null) parts.push(sample.hops + (sample.hops === 1 ? " hop" : " hops"));
    return parts.map((part) => element("span", {}, part));
  }

  function fill(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, label]) => {
      const option = element("option", { value: String(value) }, label);
      option.selected = value === chosen;
      return option;
    }));
  }

  function setUpExplorer(tasks) {
    const get = (id) => document.getElementById("explore-" + id);
    const controls = ["task", "a", "b", "outcome", "type", "text"].map(get);
    const [taskSelect, aSelect, bSelect, outcome, typeSelect, text] = controls;
    const list = get("list"), count = get("count"), previous = get("previous"), next = get("next");
    let page = 0;

    const task = () => tasks[Number(taskSelect.value)];

    function chooseTask() {
      const one = task();
      const runs = one.runs.map((run, index) => [index, run.label]);
      fill(aSelect, runs, one.a);
      fill(bSelect, runs, one.b);
      if (runs.length === 1) outcome.value = "all";  // it neither wins nor loses against itself
      const types = Array.from(new Set(one.samples.map((sample) => sample.task_type).filter(Boolean))).sort();
      fill(typeSelect, [["", "all"], ...types.map((name) => [name, name.replaceAll("_", " ")])], "");
      page = 0;
      show();
    }

    function matches() {
      const one = task();
      const a = one.runs[Number(aSelect.value)].results, b = one.runs[Number(bSelect.value)].results;
      const wanted = text.value.trim().toLowerCase();
      const has = (attempts) => (attempts || []).some((x) => (x.completion + x.answer).toLowerCase().includes(wanted));
      return one.samples.filter((sample) => {
        if (!a.has(sample.id) && !b.has(sample.id)) return false;
        if (typeSelect.value && sample.task_type !== typeSelect.value) return false;
        if (!OUTCOMES[outcome.value](meanScore(a.get(sample.id)), meanScore(b.get(sample.id)))) return false;
        if (!wanted) return true;
        const own = [sample.id, sample.question, sample.target, sample.kind || ""].join(" ").toLowerCase();
        return own.includes(wanted) || has(a.get(sample.id)) || has(b.get(sample.id));
      });
    }

    function card(sample) {
      const one = task();
      const a = one.runs[Number(aSelect.value)], b = one.runs[Number(bSelect.value)];
      return element("article", { class: "sample" },
        element("div", { class: "head" }, ...facts(sample)),
        element("p", { class: "question" }, sample.question),
        element("p", { class: "gold" }, element("span", { class: "soft" }, "gold answer: "), sample.target),
        element("div", { class: "sides" },
          sideOf("A: " + a.label, a.results.get(sample.id)), sideOf("B: " + b.label, b.results.get(sample.id))));
    }

    function show() {
      const found = matches();
      const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
      page = Math.min(page, pages - 1);
      const first = page * PAGE_SIZE;
      list.replaceChildren(...found.slice(first, first + PAGE_SIZE).map(card));
      const shown = found.length ? (first + 1) + " to " + Math.min(first + PAGE_SIZE, found.length) + " of " : "";
      const here = task().samples.length, all = task().num_samples;
      const left = here < all ? ", " + here + " of them are on this page" : "";
      count.textContent = shown + found.length + " (the task has " + all + " samples" + left + ")";
      previous.disabled = page === 0;
      next.disabled = page >= pages - 1;
    }

    function turn(by) { page += by; show(); get("count").scrollIntoView({ block: "nearest" }); }

    fill(taskSelect, tasks.map((one, index) => [index, one.label]), 0);
    taskSelect.addEventListener("change", chooseTask);
    for (const control of [aSelect, bSelect, outcome, typeSelect]) {
      control.addEventListener("change", () => { page = 0; show(); });
    }
    text.addEventListener("input", () => { page = 0; show(); });
    previous.addEventListener("click", () => turn(-1));
    next.addEventListener("click", () => turn(1));
    chooseTask();
    document.getElementById("explorer").classList.remove("hidden");
  }

  setUpTheme();
  for (const table of document.querySelectorAll("table.sortable")) {
    setUpSorting(table);
    setUpFilter(table);
  }
  const data = typeof longspanSamples === "string" ? JSON.parse(longspanSamples) : [];
  for (const task of data) {
    // A plain object would find `constructor` in a run that has no such sample.
    for (const run of task.runs) run.results = new Map(Object.entries(run.results));
  }
  if (data.length && document.getElementById("explorer")) setUpExplorer(data);
})();
