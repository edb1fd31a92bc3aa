// Draws a container's past with uPlot: lines above the tables that the page has anyway, limits dashed, events as marks.
// What is drawn is described in frontend/src/container/history.rs. Without this file the tables say the same in figures.
"use strict";

(() => {
  const past = document.getElementById("past");
  if (!past?.dataset.history || typeof uPlot === "undefined") return;

  const HEIGHT = 132;
  // A limit that is further away than this many times the peak would press the line flat: it is named, not drawn.
  const LIMIT_IN_SIGHT = 4;
  const NEAR_PX = 7;

  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const lineColours = () => ["tint", "plum", "wood", "soft"].map(colour);

  // Numbers as the page writes them (frontend/src/figure.rs, model/src/size.rs).
  const trim = (number, digits) => String(Number(number.toFixed(digits)));
  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
    return `${trim(value, 1)} ${units[unit]}`;
  };
  const WRITE = {
    percent: (value) => `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} %`,
    bytes,
    rate: (value) => `${bytes(value)}/s`,
    count: (value) => value.toFixed(0),
  };
  // On an axis there is room for little.
  const AXIS = {
    percent: (value) => `${trim(value, 1)} %`,
    bytes: (value) => (value === 0 ? "0" : bytes(value)),
    rate: (value) => (value === 0 ? "0" : bytes(value)),
    count: (value) => trim(value, 0),
  };
  const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);
  const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
  const INCREMENTS = { bytes: POWERS_OF_TWO, rate: POWERS_OF_TWO, count: WHOLE };

  const two = (number) => String(number).padStart(2, "0");
  const clock = (at) => {
    const date = new Date(at * 1000);
    return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const day = (at) => {
    const date = new Date(at * 1000);
    return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  };
  const moment = (at) => {
    const seconds = drawing.step < 60 ? `:${two(new Date(at * 1000).getUTCSeconds())}` : "";
    return `${drawing.to - drawing.from > 86_400 ? `${day(at)}, ` : ""}${clock(at)}${seconds}`;
  };

  const said = document.getElementById("past-at");
  const saidAtFirst = said?.textContent;
  let drawing = null;
  let charts = [];

  const rowsOf = (plot) => [...plot.parentElement.querySelectorAll("tr[data-line]")];

  const say = (text) => {
    if (said && said.textContent !== text) said.textContent = text;
  };

  // Points that stand alone between two gaps: a line has no length there, so they are drawn as dots.
  const alone = (values) =>
    values.flatMap((value, index) => (value != null && values[index - 1] == null && values[index + 1] == null ? [index] : []));

  const largest = (columns) => {
    let most = 0;
    for (const column of columns) for (const value of column) if (value > most) most = value;
    return most;
  };

  const drawMarks = (chart) => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([]);
    for (const { at, tone } of drawing.marks) {
      if (at < drawing.from || at > drawing.to) continue;
      const x = Math.round(chart.valToPos(at, "x", true)) + 0.5;
      ctx.strokeStyle = ctx.fillStyle = colour(tone === "plain" ? "soft" : tone);
      ctx.globalAlpha = 0.55;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.beginPath();
      ctx.arc(x, bbox.top, 2.5 * devicePixelRatio, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.restore();
  };

  // Where the pointer is: the figures of that moment stand in the tables of all charts, and what happened then in the heading.
  const follow = (chart) => {
    const { idx, left } = chart.cursor;
    const points = idx != null && left >= 0 && drawing.at[idx] != null;
    for (const row of chart.rows) {
      const cell = row.querySelector("[data-value] b");
      const value = points ? drawing.figures[row.dataset.line]?.[idx] : undefined;
      const text = points ? (value == null ? "–" : chart.write(value)) : drawing.told[row.dataset.line]?.[0];
      if (cell && text !== undefined && cell.textContent !== text) cell.textContent = text;
    }
    const head = chart.rows[0]?.closest("table").querySelector("[data-at]");
    if (head) head.textContent = points ? clock(drawing.at[idx]) : "Latest";
    if (!points) {
      say(saidAtFirst);
      return;
    }
    const near = drawing.marks.find(({ at }) => Math.abs(chart.valToPos(at, "x") - left) < NEAR_PX);
    say(near ? `${moment(near.at)} UTC: ${near.what}, ${near.text}` : `${moment(drawing.at[idx])} UTC`);
  };

  const build = (plot) => {
    const { unit, limit } = plot.dataset;
    const rows = rowsOf(plot).filter((row) => drawing.figures[row.dataset.line]);
    const colours = lineColours();
    const columns = [];
    const series = [{}];
    const add = (name, options) => {
      const values = drawing.figures[name];
      columns.push(values);
      series.push({ width: 1.5, spanGaps: false, points: { show: true, size: 4, filter: () => alone(values) }, ...options });
    };
    rows.forEach((row, index) => {
      const own = colours[rowsOf(plot).indexOf(row)];
      // The peaks of long slots stand behind their means, as a shadow.
      if (drawing.figures[row.dataset.peak] && drawing.step > 10) {
        add(row.dataset.peak, { width: 1, stroke: `color-mix(in srgb, ${own} 38%, transparent)` });
      }
      const fill = rows.length === 1 || (index === 0 && limit) ? `color-mix(in srgb, ${own} 14%, transparent)` : undefined;
      add(row.dataset.line, { stroke: own, fill });
    });
    const most = largest(columns);
    const limits = drawing.figures[limit];
    const drawn = limits && largest([limits]) <= most * LIMIT_IN_SIGHT;
    plot.parentElement.querySelector(".cap")?.classList.toggle("far", !drawn);
    if (drawn) {
      add(limit, { stroke: colour("bad"), dash: [5, 4], width: 1.25, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } });
    }
    const top = Math.max(drawn ? largest([limits]) : 0, most, { percent: 1, count: 2, bytes: 1 << 20, rate: 1024 }[unit]) * 1.12;
    const font = `11px ${style.getPropertyValue("--sans")}`;
    const axis = { stroke: colour("soft"), font, ticks: { show: false }, grid: { stroke: colour("line"), width: 1 } };
    const chart = new uPlot(
      {
        width: plot.clientWidth,
        height: HEIGHT,
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "past" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { x: { time: false, range: [drawing.from, drawing.to] }, y: { range: [0, top] } },
        axes: [
          {
            ...axis,
            size: 24,
            gap: 4,
            space: 62,
            grid: { show: false },
            incrs: [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800, 432_000, 604_800],
            values: (_, splits, __, ___, step) => splits.map((at) => (step >= 86_400 || (at % 86_400 === 0 && drawing.to - drawing.from > 86_400) ? day(at) : clock(at))),
          },
          {
            ...axis,
            size: unit === "bytes" || unit === "rate" ? 58 : 44,
            gap: 6,
            space: 30,
            ...(INCREMENTS[unit] && { incrs: INCREMENTS[unit] }),
            values: (_, splits) => splits.map(AXIS[unit]),
          },
        ],
        series,
        hooks: { draw: [drawMarks], setCursor: [(own) => own.rows && follow(own)] },
      },
      [drawing.at, ...columns],
      plot,
    );
    chart.rows = rows;
    chart.write = WRITE[unit];
    chart.root.setAttribute("aria-hidden", "true");
    return chart;
  };

  const plots = () => [...past.querySelectorAll(".plot")];

  const draw = () => {
    charts.forEach((chart) => chart.destroy());
    charts = plots().map(build);
    for (const row of past.querySelectorAll("tr[data-line]")) {
      const cells = [row.querySelector("[data-value] b"), ...[...row.cells].slice(2)];
      drawing.told[row.dataset.line]?.forEach((text, index) => (cells[index].textContent = text));
    }
  };

  // A page that had nothing to show yet becomes the one that has.
  const reload = async () => {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const fresh = page.getElementById("past");
    if (fresh) past.replaceChildren(...fresh.childNodes);
  };

  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch(past.dataset.history);
      if (answer.ok) {
        // Whoever reads a moment of the past is not disturbed by a new one.
        const isRead = charts.some((chart) => chart.cursor.left >= 0);
        const next = await answer.json();
        if (!isRead || !drawing) {
          drawing = next;
          if (drawing.at.length > 0 && plots().length === 0) await reload();
          draw();
        }
      }
    } catch {
      // The line at the top of the page says that there is no answer; the next look may have one.
    }
    timer = setTimeout(look, Number(past.dataset.every) * 1000);
  };

  document.addEventListener("visibilitychange", look);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawing && draw());
  new ResizeObserver(() => {
    for (const chart of charts) {
      const width = chart.root.parentElement.clientWidth;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height: HEIGHT });
    }
  }).observe(past);
  look();
})();
