"use strict";
/* Canvas charts for studies: learning curves, ladder, steps. No library; colours are those of the style sheet. */

const RUNGWISE = {};

RUNGWISE.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

/* The colour of rung `place` of `count`, from the lowest: the higher, the stronger. */
RUNGWISE.rung = (place, count) => "r" + (place < 0 ? 0 : count < 2 ? 5 : Math.round((place * 5) / (count - 1)));

RUNGWISE.number = (value) => {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(+value.toPrecision(4));
};

/* A canvas that is drawn anew, sharp, whenever its size or the colours change. */
RUNGWISE.sheet = (canvas, draw) => {
  const again = () => {
    const wide = canvas.clientWidth, high = canvas.clientHeight, dots = window.devicePixelRatio || 1;
    if (!wide || !high) return;
    canvas.width = wide * dots;
    canvas.height = high * dots;
    const pen = canvas.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.font = "12px system-ui, sans-serif";
    draw(pen, wide, high);
  };
  new ResizeObserver(again).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  window.addEventListener("beforeprint", again);
  return again;
};

/* Where to write numbers on an axis from `low` to `high`. */
RUNGWISE.ticks = (low, high, log) => {
  const found = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const lead of high / low > 1e3 ? [1] : [1, 2, 5]) {
        const value = lead * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    return found;
  }
  const rough = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((each) => each * unit >= rough);
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-6; k++) found.push(+(k * step).toPrecision(12));
  return found;
};

/* Draw two axes; the functions that place a value on them. */
RUNGWISE.axes = (pen, wide, high, x, y) => {
  const left = 62, right = wide - 12, top = 10, bottom = high - 40;
  const scale = (axis, from, to) => {
    let [low, high] = [axis.low, axis.high];
    const alone = !(high > low), only = alone ? [low] : undefined;
    if (alone) [low, high] = axis.log ? [low / 2, low * 2] : [low - 0.5, low + 0.5];
    const f = axis.log ? Math.log : (value) => value;
    const place = (value) => from + ((f(value) - f(low)) / (f(high) - f(low))) * (to - from);
    const ticks = axis.ticks || only || RUNGWISE.ticks(low, high, axis.log);
    return Object.assign(place, { ticks: axis.whole ? ticks.filter(Number.isInteger) : ticks });
  };
  const px = scale(x, left, right), py = scale(y, bottom, top);
  pen.strokeStyle = RUNGWISE.colour("grid");
  pen.fillStyle = RUNGWISE.colour("soft");
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const tick of py.ticks) {
    pen.beginPath();
    pen.moveTo(left, py(tick));
    pen.lineTo(right, py(tick));
    pen.stroke();
    pen.fillText(RUNGWISE.number(tick), left - 6, py(tick));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  let free = -Infinity;
  for (const tick of px.ticks) {
    const text = RUNGWISE.number(tick), half = pen.measureText(text).width / 2;
    if (px(tick) - half < free) continue;
    free = px(tick) + half + 6;
    pen.fillText(text, px(tick), bottom + 6);
  }
  pen.fillText(x.name, (left + right) / 2, bottom + 23);
  pen.save();
  pen.translate(10, (top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.textBaseline = "middle";
  pen.fillText(y.name, 0, 0);
  pen.restore();
  return { px, py, left, right, top, bottom };
};

/* From `low` to `high` of the values, without the outermost hundredth where that is far from the rest. */
RUNGWISE.range = (values, keep) => {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!sorted.length) return [0, 1];
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const wide = 3 * (at(0.95) - at(0.05));
  let low = at(0) < at(0.05) - wide ? at(0.02) : at(0), high = at(1) > at(0.95) + wide ? at(0.95) : at(1);
  for (const value of keep) if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const margin = (high - low) * 0.04 || Math.abs(low) * 0.1 || 1;
  return [low - margin, high + margin];
};

/* The learning curves; `show(trial)` makes one stand out, and null none. `said` is told of the one under the pointer. */
RUNGWISE.curves = (canvas, data, said) => {
  const answer = new Set(data.answer), count = data.rungs.length;
  let metric = 0, chosen = null, pointed = null, placed = null;
  const score = (line) => line[3][metric];
  const draw = (pen, wide, high) => {
    const lines = data.lines;
    placed = null;
    if (!lines.length) return;
    const best = lines.filter((line) => answer.has(line[0]));
    const [low, top] = RUNGWISE.range(lines.flatMap(score), best.flatMap((line) => score(line).slice(-1)));
    let first = Infinity, last = 0;
    for (const line of lines) [first, last] = [Math.min(first, line[2][0]), Math.max(last, line[2][line[2].length - 1])];
    const log = last / first > 12;
    const ticks = log && count > 1 ? data.rungs.filter((rung) => rung >= first && rung <= last) : undefined;
    const x = { low: first, high: last, log, ticks, whole: true, name: "resource" + (log ? " (log scale)" : "") };
    placed = RUNGWISE.axes(pen, wide, high, x, { low, high: top, name: data.metrics[metric] });
    const { px, py } = placed;
    pen.save();
    pen.beginPath();
    pen.rect(placed.left - 4, placed.top - 4, placed.right - placed.left + 8, placed.bottom - placed.top + 8);
    pen.clip();
    const trace = (line) => {
      let on = false;
      line[2].forEach((resource, at) => {
        const value = score(line)[at];
        if (value === null) on = false;
        else if (on) pen.lineTo(px(resource), py(value));
        else { pen.moveTo(px(resource), py(value)); on = true; }
      });
    };
    const dots = (line, size) => {
      const alone = line[2].length === 1 ? [0] : line[4];
      for (const at of alone) {
        const value = score(line)[at];
        if (value !== null) pen.fillRect(px(line[2][at]) - size / 2, py(value) - size / 2, size, size);
      }
    };
    for (let place = -1; place < count; place++) {
      const group = lines.filter((line) => line[1] === place);
      pen.strokeStyle = pen.fillStyle = RUNGWISE.colour(RUNGWISE.rung(place, count));
      pen.globalAlpha = group.length > 300 ? 0.5 : 0.85;
      pen.lineWidth = place === count - 1 ? 1.5 : 1;
      pen.beginPath();
      group.forEach(trace);
      pen.stroke();
      group.forEach((line) => dots(line, lines.length > 500 ? 2 : 4));
    }
    pen.globalAlpha = 1;
    for (const line of lines.filter((each) => answer.has(each[0]) || each[0] === chosen || each[0] === pointed)) {
      pen.strokeStyle = pen.fillStyle = RUNGWISE.colour(answer.has(line[0]) ? "accent" : "ink");
      pen.lineWidth = 2.5;
      pen.beginPath();
      trace(line);
      pen.stroke();
      dots(line, 6);
    }
    pen.restore();
  };
  const again = RUNGWISE.sheet(canvas, draw);
  const point = (event) => {
    if (!placed) return;
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let near = 24 ** 2, found = null;
    for (const line of data.lines)
      line[2].forEach((resource, at) => {
        if (score(line)[at] === null) return;
        const away = (placed.px(resource) - x) ** 2 + (placed.py(score(line)[at]) - y) ** 2;
        if (away < near) [near, found] = [away, [line, at]];
      });
    const now = found ? found[0][0] : null;
    said(found && `trial ${now}: ${RUNGWISE.number(score(found[0])[found[1]])} at ${RUNGWISE.number(found[0][2][found[1]])}`);
    if (now !== pointed) { pointed = now; again(); }
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", () => { pointed = null; said(null); again(); });
  return {
    show: (trial) => { chosen = trial; again(); },
    metric: (place) => { metric = place; again(); },
  };
};

/* Who stands where: a bar for each rung, its best on the left, filled where they went on. */
RUNGWISE.ladder = (canvas, data) => RUNGWISE.sheet(canvas, (pen, wide, high) => {
  const rows = data.rungs, left = 62, room = wide - left - 70;
  const most = Math.max(1, ...rows.map((row) => row.completed));
  const step = Math.min(54, (high - 20) / Math.max(1, rows.length));
  rows.forEach((row, at) => {
    const top = 10 + at * step, tall = Math.max(4, step - 8), total = Math.max(6, (room * row.completed) / most);
    const colour = RUNGWISE.colour(RUNGWISE.rung(rows.length - 1 - at, rows.length));
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    pen.fillStyle = RUNGWISE.colour("soft");
    pen.fillText(RUNGWISE.number(row.level), left - 8, top + tall / 2);
    const whole = row.completed ? (total * (row.completed - row.failed)) / row.completed : 0;
    const each = row.cells.length ? whole / row.cells.length : 0;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1;
    row.cells.forEach((share, cell) => {
      pen.globalAlpha = 0.18 + 0.82 * share;
      pen.fillRect(left + cell * each, top, each > 4 ? each - 1 : each, tall);
    });
    pen.globalAlpha = 1;
    pen.strokeRect(left - 0.5, top - 0.5, total, tall + 1);
    if (row.answer !== null) {
      pen.strokeStyle = RUNGWISE.colour("accent");
      pen.lineWidth = 2.5;
      pen.strokeRect(left + row.answer * each, top - 1, Math.max(4, each), tall + 2);
    }
    pen.textAlign = "left";
    pen.fillStyle = RUNGWISE.colour("ink");
    pen.fillText(RUNGWISE.number(row.completed), left + total + 8, top + tall / 2);
  });
});

/* Lines of steps: each of `series` has rows [x, y]; the last of each holds to `end`. */
RUNGWISE.steps = (canvas, series, end, x, y, colours) => RUNGWISE.sheet(canvas, (pen, wide, high) => {
  const rows = series.flat();
  if (!rows.length) return;
  const heights = rows.map((row) => row[1]);
  const span = y.log ? [Math.min(...heights) * 0.85, Math.max(...heights) * 1.15] : RUNGWISE.range(heights, heights);
  const low = Math.min(...rows.map((row) => row[0]), x.from === undefined ? Infinity : x.from);
  const to = { ...y, low: span[0], high: span[1] };
  const { px, py } = RUNGWISE.axes(pen, wide, high, { ...x, low, high: Math.max(end, low) }, to);
  series.forEach((steps, place) => {
    pen.strokeStyle = pen.fillStyle = RUNGWISE.colour(colours[place % colours.length]);
    pen.lineWidth = 2;
    pen.beginPath();
    steps.forEach((row, at) => {
      if (at) pen.lineTo(px(row[0]), py(steps[at - 1][1]));
      pen[at ? "lineTo" : "moveTo"](px(row[0]), py(row[1]));
    });
    if (steps.length) pen.lineTo(px(end), py(steps[steps.length - 1][1]));
    pen.stroke();
    for (const row of steps) if (row.length > 2) {
      pen.fillStyle = RUNGWISE.colour(row[2]);
      pen.fillRect(px(row[0]) - 3, py(row[1]) - 3, 6, 6);
    }
  });
});
