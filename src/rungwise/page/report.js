"use strict";
/* The report: figures and the table of trials, out of the data in the page. Text is only ever set as text. */

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (name) => document.getElementById(name);
  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== null && text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  /* -- figures -- */
  const count = data.curves.rungs.length;
  const curves = RUNGWISE.curves($("curves"), data.curves, (text) => { $("pointed").textContent = text || ""; });
  for (const [place, rung] of data.curves.rungs.entries()) {
    const item = make("li"), swatch = make("i", null, { "aria-hidden": "true" });
    swatch.style.background = `var(--${RUNGWISE.rung(place, count)})`;
    item.append(swatch, `got to ${RUNGWISE.number(rung)}`);
    $("legend").append(item);
  }
  if (data.curves.answer.length) {
    const item = make("li"), swatch = make("i", null, { "aria-hidden": "true" });
    swatch.style.background = "var(--accent)";
    item.append(swatch, "the answer");
    $("legend").append(item);
  }
  if (data.curves.metrics.length > 1) {
    data.curves.metrics.forEach((name, place) => $("metric").append(make("option", name, { value: place })));
    $("metric").parentElement.hidden = false;
    $("metric").addEventListener("change", (event) => curves.metric(+event.target.value));
  }
  RUNGWISE.ladder($("ladder"), data.ladder);
  const places = new Map(data.curves.rungs.map((rung, place) => [rung, place]));
  if (data.answers) {
    const rows = data.answers.rows.map((row) => [row[0], row[1], RUNGWISE.rung(places.get(row[2]), count)]);
    RUNGWISE.steps($("answers"), [rows], data.answers.end, { name: "resource trained", from: 0, whole: true },
      { name: data.curves.metrics[0] }, ["soft"]);
  }
  if (data.ceilings) {
    const timed = data.ceilings.end[0] > 0, column = timed ? 0 : 1;
    const series = data.ceilings.brackets.map((steps) => steps.map((row) => [row[column], row[2]]));
    RUNGWISE.steps($("ceilings"), series, data.ceilings.end[column],
      { name: timed ? "running time (seconds)" : "resource trained", from: 0 },
      { name: "ceiling (log scale)", log: true, ticks: [...new Set(series.flat().map((row) => row[1]))] },
      ["r3", "accent", "r4", "r1"]);
  }

  /* -- the table of trials -- */
  const { columns, parameters, trials } = data.table;
  const all = data.table.rows, texts = new Array(all.length);
  const text = (at) => texts[at] ??= all[at].filter((cell) => cell !== null).join(" ").toLowerCase();
  const order = all.map((_, at) => at);
  let sorted = null, falling = false, chosen = null;
  const numeric = columns.map((_, column) => all.every((row) => row[column] === null || typeof row[column] === "number"
    || row[column] === "not finite"));

  const heads = columns.map((name, column) => {
    const head = make("th", null, { scope: "col" }), button = make("button", name, { type: "button" });
    if (numeric[column]) head.className = "number";
    button.addEventListener("click", () => {
      falling = sorted === column ? !falling : false;
      sorted = column;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const compare = (a, b) => {
        const [x, y] = [all[a][column], all[b][column]];
        if (x === y) return a - b;
        if (x === null || y === null) return x === null ? 1 : -1; /* nothing to say stands last, either way */
        const [p, q] = [typeof x === "number", typeof y === "number"];
        if (p !== q) return p ? -1 : 1;
        return (falling ? -1 : 1) * (p ? x - y : x < y ? -1 : 1);
      };
      order.sort(compare);
      fill();
    });
    head.append(button);
    return head;
  });
  $("heads").append(...heads);
  for (const state of [...new Set(all.map((row) => row[1]))].sort()) $("state").append(make("option", state, { value: state }));

  const line = (row) => {
    const made = make("tr");
    row.forEach((cell, column) => {
      const td = make(column ? "td" : "th", null, column ? {} : { scope: "row" });
      if (numeric[column]) td.className = "number";
      if (column) {
        td.textContent = column >= parameters && Number.isInteger(cell) ? String(cell) : RUNGWISE.number(cell);
        if (typeof cell === "number") td.title = String(cell);
      } else {
        const button = make("button", cell, { type: "button", "aria-pressed": String(cell === chosen),
          "aria-label": `trial ${cell}: show its curve` });
        button.addEventListener("click", () => {
          const now = cell === chosen ? null : cell;
          $("trials").querySelectorAll('[aria-pressed="true"]').forEach((one) => one.setAttribute("aria-pressed", "false"));
          button.setAttribute("aria-pressed", String(now !== null));
          chosen = now;
          curves.show(chosen);
        });
        td.append(button);
      }
      made.append(td);
    });
    return made;
  };

  const fill = () => {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean), state = $("state").value;
    const most = +$("most").value;
    const found = order.filter((at) => (!state || all[at][1] === state) && words.every((word) => text(at).includes(word)));
    $("trials").replaceChildren(...found.slice(0, most).map((at) => line(all[at])));
    const shown = Math.min(most, found.length).toLocaleString("en-US");
    $("count").textContent = `${shown} of ${found.length.toLocaleString("en-US")} trials`
      + (found.length < all.length ? ` (filtered from ${all.length.toLocaleString("en-US")})` : "")
      + (all.length < trials ? `; the page holds ${all.length.toLocaleString("en-US")} of all ${trials.toLocaleString("en-US")}` : "");
  };
  $("state").addEventListener("change", fill);
  $("most").addEventListener("change", fill);
  $("find").addEventListener("input", fill);
  fill();
  document.documentElement.dataset.ready = "yes";
})();
