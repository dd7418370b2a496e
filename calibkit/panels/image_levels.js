// Black, white and midtone of each image: as numbers, and as handles on its histogram.

const LEVEL_SETTINGS = ["levels", "after_levels", "difference_levels"];

/** `shown` tells which levels are seen; `changed` is called when one was set. */
function makeLevels({ view, shown, changed }) {
  const { models, settings, facts } = view;
  const two = facts.layers.length === 2;
  const count = two ? (facts.difference ? 3 : 2) : 1;
  const all = Array.from({ length: count }, (_, n) => n);
  const shared = (n) => two && n !== 2 && settings.shared;
  const layer = (n) => (n === 2 ? facts.difference : facts.layers[n]);

  function automatic(n) {
    if (!shared(n)) return layer(n).auto[n === 2 ? "linear" : settings.curve];
    const [a, b] = facts.layers.map(({ auto }) => auto[settings.curve]);
    return [Math.min(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2])];
  }

  /** Where the histogram reaches from and to: "window" or "range". */
  function spanOf(n, kind) {
    const about = shared(n) ? facts.layers : [layer(n)];
    return [Math.min(...about.map((each) => each[kind][0])), Math.max(...about.map((each) => each[kind][1]))];
  }

  const name = (n) => LEVEL_SETTINGS[shared(n) ? 0 : n];
  const of = (n) => settings[name(n)] ?? automatic(n);

  function set(n, levels) {
    const [black, white, midtone] = levels;
    if (black < white && midtone > 0 && midtone < 1) view.set({ [name(n)]: levels });
    changed();
  }

  function reset() {
    view.set(Object.fromEntries(shown().map((n) => [name(n), null]))); // null: automatic
    changed();
  }

  // ---- as numbers, above each histogram --------------------------------------------------------------------

  const cells = all.map((n) => {
    const put = (place) => (value) => set(n, of(n).map((old, i) => (i === place ? value : old)));
    const fields = [
      number("black", "the value shown black", put(0)),
      number("white", "the value shown white", put(1)),
      number("midtone", "fraction of the way from black to white that is shown at half brightness", put(2)),
    ];
    const title = make("strong");
    const clipped = make("span", { class: "ck-note" });
    const range = models[`levels${n}`].x_range;
    const wide = button("full range", "the histogram from the smallest to the largest value, and back", () => {
      const usual = spanOf(n, "window");
      const [start, end] = range.end - range.start > 1.05 * (usual[1] - usual[0]) ? usual : spanOf(n, "range");
      range.setv({ start, end });
    });
    const element = make("div", { class: "ck-levels" }, title, ...fields.map((f) => f.element), wide.element, clipped);
    return { element, title, fields, clipped, wide };
  });

  // ---- as handles on the histogram --------------------------------------------------------------------------

  const plots = all.map((n) => view.views.find_one(models[`levels${n}`]));
  const handles = all.map((n) => {
    const range = models[`levels${n}`].x_range;
    const valueAt = (fraction) => range.start + fraction * (range.end - range.start);
    const name = two ? `${layer(n).name}: ` : "";
    const drag = (label, kind, moved) =>
      handle(`${name}${label}`, kind, {
        element: view.element, plotView: plots[n], moved: (fraction) => moved(valueAt(fraction), ...of(n)),
      });
    return [
      drag("black", "level", (value, _, white, midtone) => set(n, [value, white, midtone])),
      drag("white", "level", (value, black, _, midtone) => set(n, [black, value, midtone])),
      drag("midtone, shown at half brightness", "middle", (value, black, white) => {
        const midtone = (value - black) / (white - black);
        set(n, [black, white, Math.max(0.0005, Math.min(0.9995, midtone))]);
      }),
    ];
  });
  for (const n of all) {
    const range = models[`levels${n}`].x_range;
    let later = null;
    range.change.connect(() => {
      changed();
      clearTimeout(later);
      later = setTimeout(() => view.send(`histogram${n}`, { low: range.start, high: range.end }), 100);
    });
  }

  /** Everything as the settings have it. */
  function place() {
    const visible = shown();
    for (const n of all) {
      const [plot, cell] = [models[`levels${n}`], cells[n]];
      const seen = visible.includes(n);
      if (plot.visible !== seen) plot.setv({ visible: seen }, { sync: false });
      cell.element.hidden = !seen;
      const [black, white, midtone] = of(n);
      const curved = ["asinh", "mtf"].includes(settings.curve) && n !== 2;
      const { start, end } = plot.x_range;
      [black, white, black + midtone * (white - black)].forEach((value, i) => {
        handles[n][i].place((value - start) / (end - start), seen && (i < 2 || curved));
      });
      if (!seen) continue;
      const box = models[`box${n}`];
      if (box.left !== black || box.right !== white) box.setv({ left: black, right: white }, { sync: false });
      [black, white, Number(midtone.toPrecision(4))].forEach((value, i) => cell.fields[i].update(value));
      cell.fields[2].element.hidden = !curved;
      const about = shared(n) ? facts.layers : [layer(n)];
      cell.title.textContent = two ? about.map((each) => each.name).join(" and ") : "";
      cell.clipped.textContent = about
        .map((each) => {
          const [low, high] = clippedOf(each.quantiles, black, white);
          return `${about.length > 1 ? `${each.name}: ` : ""}${percentOf(low)} black, ${percentOf(high)} white`;
        })
        .join("; ");
      const other = models[`other${n}`];
      if (n === 0 && other.visible !== Boolean(shared(0))) {
        other.setv({ visible: Boolean(shared(0)) }, { sync: false });
        const [start, end] = spanOf(0, "window");
        plot.x_range.setv({ start, end });
      }
    }
  }

  return { of, set, reset, place, plots, element: make("div", { class: "ck-row" }, ...cells.map((cell) => cell.element)) };
}
