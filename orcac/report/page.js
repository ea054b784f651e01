"use strict";
// The script of the report's page: sortable tables, their CSV, and the browser of items. Texts become text nodes alone.
(() => {
  const find = (id) => document.getElementById(id);

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  // Control characters, and those that turn the direction of a text, as visible signs.
  const visible = (text) =>
    text
      .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, (char) => String.fromCharCode(char === "\x7f" ? 0x2421 : 0x2400 + char.charCodeAt(0)))
      .replace(/[\u202a-\u202e\u2066-\u2069]/g, (char) => `⟨${char.charCodeAt(0).toString(16).toUpperCase()}⟩`);

  // ---- tables

  const read = (cell) => (cell.dataset.v ?? cell.textContent.trim().replace(/(\d),(?=\d{3})/g, "$1")).trim();

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      if ("plain" in header.dataset) return;
      const button = make("button", { type: "button", className: "sorter", title: "sort" }, ...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const before = header.getAttribute("aria-sort");
        const isText = header.classList.contains("text");
        const [first, second] = isText ? ["ascending", "descending"] : ["descending", "ascending"];
        const next = before === null ? first : before === first ? second : null;
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        let rows = original;
        if (next) {
          header.setAttribute("aria-sort", next);
          const sign = next === "ascending" ? 1 : -1;
          const key = (row) => read(row.cells[column]).split("|")[0];
          rows = [...original].sort((a, b) => {
            const [x, y] = [key(a), key(b)];
            return x === "" || y === "" ? compare(x, y) : sign * compare(x, y); // empty cells come last either way
          });
        }
        body.append(...rows);
      });
    });
  }

  function quote(value) {
    let text = visible(value).replace(/\s+/g, " ");
    if (/^[=+\-@]/.test(text) && Number.isNaN(Number(text))) text = "'" + text; // a spreadsheet would calculate it
    return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }

  function toCsv(table) {
    const headers = [...table.tHead.rows[0].cells];
    const names = headers.map((cell) => (cell.dataset.csv ?? cell.textContent.trim()).split("|"));
    const kept = headers.map((cell) => !("plain" in cell.dataset));
    const lines = [names.filter((_, column) => kept[column]).flat()];
    for (const row of table.tBodies[0].rows) {
      const cells = [...row.cells].map((cell, column) => {
        const values = read(cell).split("|");
        return names[column].map((_, place) => values[place] ?? "");
      });
      lines.push(cells.filter((_, column) => kept[column]).flat());
    }
    return lines.map((line) => line.map(quote).join(",")).join("\n") + "\n";
  }

  for (const table of document.querySelectorAll("table.sort")) {
    const csv = make("button", { type: "button", className: "csv", title: "save this table as CSV" }, "CSV");
    csv.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([toCsv(table)], { type: "text/csv" }));
      const name = table.dataset.csv.replace(/[^\p{L}\p{N}._-]+/gu, "-") + ".csv";
      make("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
    table.parentElement.before(make("div", { className: "tools" }, csv));
    makeSortable(table);
  }

  // ---- the differences of one arm by task, on the scale that the page gives

  const SVG = "http://www.w3.org/2000/svg";
  const points = (share) => ((share < 0 ? "−" : "+") + Math.abs(100 * share).toFixed(1));

  function draw(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  for (const figure of document.querySelectorAll(".by-task")) {
    const table = find(figure.dataset.table);
    const [low, high] = [Number(figure.dataset.low), Number(figure.dataset.high)];
    const place = (value) => `${Math.min(Math.max((100 * (value - low)) / (high - low), 0), 100)}%`;
    const chosen = figure.querySelector("select");
    const arms = [...table.tHead.rows[0].cells].filter((cell) => "arm" in cell.dataset);
    chosen.append(...arms.map((cell) => make("option", { value: String(cell.cellIndex) }, visible(cell.dataset.arm))));

    const describe = (row) => {
      const cell = row.cells[Number(chosen.value)];
      const [difference, from, to] = read(cell).split("|").slice(3).map(Number);
      const shown = cell.querySelector("small")?.textContent.replace(/[▲▼] /, "");
      return { name: row.cells[0].querySelector("bdi"), items: row.cells[1].textContent, difference, from, to, shown };
    };

    function drawStrip({ difference, from, to }) {
      const isBeyond = from > 0 || to < 0;
      const strip = draw("svg", { class: "strip", "aria-hidden": "true" });
      strip.append(draw("line", { class: "rule", x1: place(0), x2: place(0), y1: "0", y2: "100%" }));
      strip.append(draw("line", { class: "bar", x1: place(from), x2: place(to), y1: "50%", y2: "50%" }));
      strip.append(draw("circle", { class: isBeyond ? "dot" : "dot open", cx: place(difference), cy: "50%", r: "5" }));
      return strip;
    }

    function fillRows() {
      const rows = [...table.tBodies[0].rows].map(describe).filter((row) => !Number.isNaN(row.to ?? NaN));
      rows.sort((a, b) => b.difference - a.difference);
      figure.querySelector("tbody").replaceChildren(
        ...rows.map((row) => {
          const strip = make("td", { className: "plot" });
          strip.append(drawStrip(row));
          const number = make("td", { className: "strong" }, row.shown, make("small", {}, `${points(row.from)} to ${points(row.to)}`));
          const name = make("th", { scope: "row" }, row.name.cloneNode(true));
          const state = row.from > 0 ? "is-good" : row.to < 0 ? "is-bad" : "";
          return make("tr", { className: state }, name, number, strip, make("td", { "data-label": "items" }, row.items));
        })
      );
    }

    chosen.addEventListener("change", fillRows);
    fillRows();
    figure.hidden = false;
  }

  const closed = [];
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) {
      if (one.querySelector(".nodes")) continue;
      closed.push(one);
      one.open = true;
    }
  });
  addEventListener("afterprint", () => closed.splice(0).forEach((one) => (one.open = false)));

  // ---- a page that orcac serves while the study goes on: it opens its newer versions, and keeps the reader's place

  const KEPT = "orcac-view";
  const QUIET = 3000; // milliseconds without a key or a click
  const nameOf = (option) => option?.text.replace(/ \([\d,]+\)$/, "");
  const fields = () => [...document.querySelectorAll("select, input")];
  let touched = 0;
  let keepItem = () => null;
  let restoreItem = () => Promise.resolve();

  function renew() {
    const state = {
      values: fields().map((field) => [field.id || field.closest("figure")?.dataset.table, field.type === "checkbox" ? field.checked : field.tagName === "SELECT" ? nameOf(field.selectedOptions[0]) : field.value]),
      open: [...document.querySelectorAll("details")].map((one) => one.open),
      sorted: [...document.querySelectorAll("[aria-sort]")].map((header) => [header.closest("table").id, header.cellIndex, header.getAttribute("aria-sort")]),
      item: keepItem(),
      top: scrollY,
    };
    sessionStorage.setItem(KEPT, JSON.stringify(state));
    location.reload();
  }

  function setField(field, value) {
    if (field.type === "checkbox") field.checked = value;
    else if (field.tagName === "SELECT") field.value = [...field.options].find((option) => nameOf(option) === value)?.value ?? field.value;
    else field.value = value;
  }

  async function restore() {
    const text = sessionStorage.getItem(KEPT);
    if (!text) return;
    sessionStorage.removeItem(KEPT);
    touched = Infinity; // the page stays as it is until all is restored
    try {
      await restoreState(text);
    } finally {
      touched = 0;
    }
  }

  async function restoreState(text) {
    const state = JSON.parse(text);
    const values = new Map(state.values);
    for (const field of fields()) {
      if (field.id.startsWith("f-")) continue; // with the items
      const value = values.get(field.id || field.closest("figure")?.dataset.table);
      if (value === undefined) continue;
      setField(field, value);
      if (field.tagName === "SELECT") field.dispatchEvent(new Event("change"));
    }
    [...document.querySelectorAll("details")].forEach((one, number) => (one.open = state.open[number] ?? false));
    for (const [id, column, order] of state.sorted) {
      const header = find(id)?.tHead.rows[0].cells[column];
      for (let press = 0; press < 2 && header?.getAttribute("aria-sort") !== order; press += 1) header?.querySelector(".sorter")?.click();
    }
    await restoreItem(values, state.item);
    scrollTo(0, state.top);
  }

  const live = find("live");
  if (live && location.protocol.startsWith("http")) {
    const [status, renewing] = [live.querySelector("[role=status]"), find("renew")];
    const said = status.textContent;
    live.hidden = false;
    for (const name of ["keydown", "pointerdown", "wheel"]) addEventListener(name, () => (touched = performance.now()), { passive: true });
    renewing.addEventListener("click", renew);
    setInterval(async () => {
      let version;
      try {
        const reply = await fetch("version", { cache: "no-store" });
        if (!reply.ok) return;
        version = (await reply.text()).trim();
      } catch {
        status.textContent = `${said} Nothing serves this page any more.`;
        return;
      }
      status.textContent = said;
      renewing.hidden = version === document.body.dataset.version;
      const isQuiet = performance.now() - touched > QUIET && getSelection().isCollapsed && document.activeElement !== find("f-search");
      if (!renewing.hidden && find("follow").checked && isQuiet) renew();
    }, 2000);
  }

  // ---- items

  const source = find("items-index");
  if (!source) return void restore();
  const collections = JSON.parse(source.textContent);
  if (!collections.length) return void restore();
  const SIGNS = { right: "✓", wrong: "✗", unparsed: "?", cut: "…", refused: "⊘", failed: "!", kept: "✓", answered: "✓", waiting: "·", judged: "◆", measured: "◆" };
  const NAMES = { cut: "cut off" };
  const CLASSES = { right: "good", wrong: "bad", kept: "good", answered: "good", waiting: "dim", judged: "dim", measured: "dim" };
  const STEP = 100;
  const ui = Object.fromEntries(
    ["collection", "search", "task", "system", "outcome", "row", "against", "split", "reasoning"].map((name) => [name, find("f-" + name)])
  );
  const [list, detail, counter] = [find("browser-list"), find("browser-item"), find("browser-count")];
  const chunks = new Map(); // "collection-chunk" -> a promise of its texts
  const waiting = new Map();
  let current = 0; // collection
  let shown = []; // positions of the items that meet the filters
  let selected = -1;
  let listed = 0;
  let turn = 0; // of the search; an older one stops

  globalThis.orcacTexts = (collection, chunk, texts) => waiting.get(`${collection}-${chunk}`)?.(texts);

  function loadChunk(collection, chunk) {
    const key = `${collection}-${chunk}`;
    if (!chunks.has(key)) {
      const inline = find("texts-" + key);
      const promise = inline
        ? Promise.resolve(JSON.parse(inline.textContent))
        : new Promise((resolve, reject) => {
            waiting.set(key, resolve);
            const path = `${document.body.dataset.texts}/${key}.js`;
            const script = make("script", { src: path });
            script.onerror = () => reject(new Error(`${path} is missing`));
            document.head.append(script);
          });
      chunks.set(key, promise);
    }
    return chunks.get(key);
  }

  async function loadText(collection, position) {
    const size = collections[collection].chunk;
    return (await loadChunk(collection, Math.floor(position / size)))[position % size];
  }

  const outcomeOf = (collection, mark) => (mark === "." ? "" : collection.outcomes[mark.charCodeAt(0) - 48]);

  function fill(select, options, chosen = "") {
    select.replaceChildren(...options.map(([value, text]) => make("option", { value }, visible(text))));
    select.value = options.some(([value]) => value === chosen) ? chosen : options[0][0];
    const label = select.closest("label");
    if (select !== ui.collection) label.hidden = options.length < 2;
    else label.hidden = options.length < 2;
  }

  function chooseCollection(number) {
    current = number;
    const one = collections[number];
    ui.collection.value = String(number);
    const numbered = one.rows.map(([place, name], column) => [String(column), place < 0 ? name : `${place + 1} ${name}`]);
    const rows = one.rows.length > 1;
    const counted = (names, key) => {
      const counts = new Array(names.length).fill(0);
      for (const item of one.items) counts[item[key]] += 1;
      return names.map((name, place) => [String(place), `${name || "(empty)"} (${counts[place].toLocaleString("en")})`]);
    };
    fill(ui.task, [["", "all tasks"], ...(one.tasks.length > 1 ? counted(one.tasks, 0) : [])]);
    fill(ui.system, [["", "all"], ...(one.systems.length > 1 ? counted(one.systems, 3) : [])]);
    const outcomes = new Map();
    if (!rows) for (const [, marks] of one.items) outcomes.set(marks, (outcomes.get(marks) ?? 0) + 1);
    const size = (place) => (rows ? "" : ` (${(outcomes.get(String.fromCharCode(48 + place)) ?? 0).toLocaleString("en")})`);
    fill(ui.outcome, [["", "any outcome"], ...one.outcomes.map((name, place) => [String(place), (NAMES[name] ?? name) + size(place)])]);
    fill(ui.row, rows ? [["", "any arm"], ...numbered] : [["", ""]]);
    fill(ui.against, rows ? [["", "all arms"], ...numbered.slice(1).map(([value, text]) => [value, `first arm and ${text}`])] : [["", ""]]);
    find("l-split").hidden = !rows;
    if (!rows) ui.split.checked = false;
    selected = -1;
  }

  function columns() {
    const one = collections[current];
    const against = ui.against.value;
    return against === "" ? one.rows.map((_, column) => column) : [0, Number(against)];
  }

  function meets(item) {
    const [task, marks, , system, scores] = item;
    if (ui.task.value !== "" && task !== Number(ui.task.value)) return false;
    if (ui.system.value !== "" && system !== Number(ui.system.value)) return false;
    const here = columns();
    if (ui.outcome.value !== "") {
      const mark = String.fromCharCode(48 + Number(ui.outcome.value));
      const places = ui.row.value === "" ? here : [Number(ui.row.value)];
      if (!places.some((column) => marks[column] === mark)) return false;
    }
    if (ui.split.checked) {
      const answered = here.filter((column) => marks[column] !== ".");
      const results = answered.map((column) => (scores ? scores[column] : marks[column] === "0"));
      if (new Set(results.filter((result) => result !== null)).size < 2) return false;
    }
    return true;
  }

  function textOf(text) {
    const parts = [text.query, text.system, text.reference];
    for (const answer of text.answers) if (answer) parts.push(answer.response, answer.reasoning, answer.refusal, answer.parsed);
    return parts.filter(Boolean).join("\n").toLowerCase();
  }

  function describeCount(searched, total) {
    const one = collections[current];
    const held = one.items.length < one.total ? ` This page holds ${one.items.length.toLocaleString("en")} of ${one.total.toLocaleString("en")}; \`orcac view SPEC\` shows all.` : "";
    const pending = searched < total ? ` Searched ${searched.toLocaleString("en")} of ${total.toLocaleString("en")} …` : "";
    const noun = one.kind === "dataset" ? "rows" : "items";
    counter.textContent = `${shown.length.toLocaleString("en")} of ${one.items.length.toLocaleString("en")} ${noun}.${pending}${held} ${one.note}`.trim();
  }

  async function filter(keep = -1) {
    const mine = ++turn;
    const one = collections[current];
    const found = one.items.map((_, position) => position).filter((position) => meets(one.items[position]));
    const term = ui.search.value.trim().toLowerCase();
    shown = term ? [] : found;
    list.replaceChildren(...describeLegend(one));
    listed = 0;
    if (term) {
      let drawn = performance.now();
      for (let count = 0; count < found.length; count += 1) {
        const position = found[count];
        const text = await loadText(current, position);
        if (mine !== turn) return;
        text.lower ??= textOf(text);
        if (text.lower.includes(term)) shown.push(position);
        if (performance.now() - drawn > 120) {
          describeCount(count, found.length);
          extendList();
          drawn = performance.now();
          await new Promise((resolve) => setTimeout(resolve));
          if (mine !== turn) return;
        }
      }
    }
    describeCount(1, 1);
    extendList();
    const next = shown.includes(keep) ? keep : shown.length ? shown[0] : -1;
    await select(next);
  }

  // The numbers of the rows above the marks of the items.
  function describeLegend(one) {
    if (one.rows.length < 2) return [];
    const numbers = columns().map((column) => {
      const [place, name] = one.rows[column];
      return make("span", { title: visible(name), style: `--c: var(--row-${Math.max(place, 0) % 8})` }, place < 0 ? "·" : String(place + 1));
    });
    const isGraded = one.items.some((item) => item[4]);
    return [make("div", { className: `marks legend-row${isGraded ? " scores" : ""}`, "aria-hidden": "true" }, ...numbers)];
  }

  function describeMarks(one, marks, scores) {
    return columns().map((column) => {
      const outcome = outcomeOf(one, marks[column]);
      const score = scores?.[column];
      if (score !== undefined && score !== null) return make("span", { title: `${one.rows[column][1]}: ${outcome}` }, String(Math.round(100 * score)));
      return make("span", { className: CLASSES[outcome] ?? "warn", title: `${one.rows[column][1]}: ${outcome}` }, outcome ? SIGNS[outcome] ?? "✗" : "·");
    });
  }

  function extendList(more = 0) {
    list.querySelector(".more")?.remove();
    const one = collections[current];
    const until = Math.min(shown.length, Math.max(listed, STEP) + more);
    for (; listed < until; listed += 1) {
      const position = shown[listed];
      const [task, marks, head, , scores] = one.items[position];
      const button = make("button", { type: "button", value: String(position) });
      const first = make("span", { className: scores ? "marks scores" : "marks" }, ...describeMarks(one, marks, scores));
      button.append(first, make("small", { dir: "auto" }, visible(one.tasks[task])), make("bdi", {}, visible(head)));
      if (one.kind === "dataset") first.append(" ", make("small", { style: "display:inline" }, outcomeOf(one, marks[0])));
      list.append(button);
    }
    if (listed < shown.length) {
      const button = make("button", { type: "button", className: "more" }, `show ${Math.min(STEP, shown.length - listed)} more`);
      button.addEventListener("click", () => extendList(STEP));
      list.append(button);
    }
    mark();
  }

  function mark() {
    for (const button of list.children) {
      if (button.value === String(selected)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  const block = (text, className = "") => make("pre", { className, dir: "auto", tabIndex: 0 }, visible(text ?? ""));

  function describeReviews(reviews) {
    return make(
      "details",
      {},
      make("summary", {}, reviews.length === 1 ? "the review of the judge" : `${reviews.length} reviews of the judge`),
      ...reviews.map(([against, first, own, other, text]) =>
        make("div", {}, make("h4", {}, `${against ? `against ${against}, ` : ""}shown ${first ? "first" : "second"}: ${own ?? "–"}${other === null ? "" : ` to ${other}`}`), block(text))
      )
    );
  }

  function describeAnswer(one, column, marks, answer) {
    const [place, name] = one.rows[column];
    const outcome = outcomeOf(one, marks[column]);
    const title = make("div", { className: "name" });
    if (place >= 0) title.append(make("span", { className: "number", style: `--c: var(--row-${place % 8})` }, String(place + 1)));
    title.append(make("bdi", {}, visible(name)), " ");
    const parsed = answer?.parsed ? ` ${outcome === "judged" ? "with points: own " : ""}${visible(answer.parsed)}` : "";
    title.append(make("strong", { className: CLASSES[outcome] ?? "warn" }, outcome ? `${SIGNS[outcome] ?? "✗"} ${NAMES[outcome] ?? outcome}` : "no answer"), make("bdi", {}, parsed));
    const card = make("div", {}, title);
    if (!answer) return card;
    if (answer.score !== undefined && ![0, 1].includes(answer.score)) card.append(make("small", {}, `score ${(100 * answer.score).toFixed(1)} %`));
    if (answer.reasoning && ui.reasoning.checked) card.append(block(answer.reasoning, "reasoning"));
    card.append(block(answer.response || answer.refusal));
    if (answer.further?.length) card.append(make("small", {}, `its further answers and runs: ${answer.further.join(", ")}`));
    if (answer.reviews?.length) card.append(describeReviews(answer.reviews));
    return card;
  }

  async function select(position, focus = false) {
    selected = position;
    mark();
    const one = collections[current];
    if (position < 0) {
      detail.replaceChildren(make("p", { className: "note" }, "No item meets these filters."));
      return;
    }
    const number = current;
    let text;
    try {
      text = await loadText(number, position);
    } catch (error) {
      detail.replaceChildren(make("p", { className: "callout" }, `${error.message}: make the folder anew with orcac view`));
      return;
    }
    if (number !== current || position !== selected) return;
    const [task, marks] = one.items[position];
    const step = (change, label) => {
      const button = make("button", { type: "button", className: "step" }, label);
      const place = shown.indexOf(position) + change;
      button.disabled = place < 0 || place >= shown.length;
      button.addEventListener("click", () => move(change));
      return button;
    };
    const header = make("header", {}, make("h3", { dir: "auto" }, visible(one.tasks[task])), make("span", {}, step(-1, "← previous"), " ", step(1, "next →")));
    const parts = [header];
    if (text.system) parts.push(make("h4", {}, "system message"), block(text.system, "query"));
    parts.push(make("h4", {}, "prompt"), block(text.query, "query"));
    if (text.reference) parts.push(make("h4", {}, one.kind === "dataset" ? "reference" : "right answer"), block(text.reference));
    parts.push(make("h4", {}, one.kind === "dataset" ? "response" : "answers"));
    const cards = columns().map((column) => describeAnswer(one, column, marks, text.answers[column]));
    parts.push(make("div", { className: "answers" }, ...cards));
    detail.replaceChildren(...parts);
    if (focus) {
      const button = [...list.children].find((other) => other.value === String(position));
      button?.focus({ preventScroll: true });
      button?.scrollIntoView({ block: "nearest" });
    }
    history.replaceState(null, "", `#item=${number}.${position}`);
  }

  function move(change) {
    const place = shown.indexOf(selected) + change;
    if (place < 0 || place >= shown.length) return;
    if (place >= listed) extendList(STEP);
    select(shown[place], true);
  }

  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && !button.classList.contains("more")) select(Number(button.value));
  });
  list.addEventListener("keydown", (event) => {
    const change = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (change) {
      event.preventDefault();
      move(change);
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      ui.search.focus();
    }
  });
  let typing;
  ui.search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => filter(selected), 150);
  });
  ui.search.form.addEventListener("submit", (event) => event.preventDefault());
  ui.collection.addEventListener("change", () => {
    chooseCollection(Number(ui.collection.value));
    filter();
  });
  for (const name of ["task", "system", "outcome", "row", "against", "split"]) ui[name].addEventListener("change", () => filter(selected));
  ui.reasoning.addEventListener("change", () => select(selected));

  // The name of a task leads to its items.
  for (const table of document.querySelectorAll(".heat")) {
    const number = collections.findIndex((one) => one.kind === "benchmark" && visible(one.name) === table.dataset.benchmark);
    if (number < 0) continue;
    for (const row of table.tBodies[0].rows) {
      const task = collections[number].tasks.findIndex((name) => visible(name) === row.cells[0].dataset.task);
      if (task < 0) continue;
      const button = make("button", { type: "button", className: "go", title: "show the items of this task" }, ...row.cells[0].childNodes);
      row.cells[0].append(button);
      button.addEventListener("click", () => {
        chooseCollection(number);
        if (collections[number].tasks.length > 1) ui.task.value = String(task);
        filter().then(() => find("items").scrollIntoView());
      });
    }
  }

  function open() {
    const wanted = /^#item=(\d+)\.(\d+)$/.exec(location.hash);
    const [collection, position] = wanted ? wanted.slice(1).map(Number) : [0, -1];
    if (!collections[collection]) return;
    if (wanted && collection === current && position === selected) return;
    chooseCollection(collection);
    filter(position).then(() => wanted && find("items").scrollIntoView());
  }

  keepItem = () => [collections[current].items[selected]?.[2], selected, list.scrollTop];

  restoreItem = async (values, item) => {
    setField(ui.collection, values.get("f-collection"));
    chooseCollection(Number(ui.collection.value));
    for (const [name, field] of Object.entries(ui)) if (name !== "collection" && values.has("f-" + name)) setField(field, values.get("f-" + name));
    const [head, position, top] = item ?? [];
    const items = collections[current].items;
    const isThere = items[position]?.[2] === head;
    await filter(isThere ? position : items.findIndex((one) => one[2] === head));
    list.scrollTop = top;
  };

  fill(ui.collection, collections.map((one, number) => [String(number), (one.kind === "dataset" ? "dataset " : "") + one.name]));
  find("browser-place").hidden = false;
  const address = location.href;
  const hash = location.hash;
  addEventListener("hashchange", () => location.hash.startsWith("#item=") && open());
  chooseCollection(0);
  if (sessionStorage.getItem(KEPT)) restore();
  else if (hash.startsWith("#item=")) open();
  else filter().then(() => history.replaceState(null, "", address));
})();
