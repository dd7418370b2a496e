// The page's side of numbers.py: what is pointed at in the table is marked in the picture, and the other way round.

export function attach(view) {
  const { Bokeh, models, views, settings, facts, element } = view;
  const { table, picture, cells, mark } = models;
  const line = document.createElement("div");
  line.className = "ck-readout";
  line.setAttribute("aria-live", "polite");
  element.prepend(line);

  const column = (source, name) => Array.from((source.data.get ? source.data.get(name) : source.data[name]) ?? []);
  let place = null;

  function tell() {
    const { x, y, unit, top, left, rows, columns } = { ...place, ...facts };
    const row = Math.round(y) - top;
    const col = Math.round(x) - left;
    const inside = place && row >= 0 && row < rows && col >= 0 && col < columns;
    line.textContent = inside
      ? `row ${top + row}, column ${left + col}: ${column(cells, "text")[row * columns + col]} ${unit}`.trimEnd()
      : "Point at a number or at a pixel.";
    const [px, py] = inside ? [[left + col], [top + row]] : [[], []];
    mark.setv({ data: new Map([["x", px], ["y", py]]) }, { sync: false });
    return inside ? [top + row, left + col] : null;
  }

  function paint() {
    const shade = column(cells, "shade");
    const fill = shade.map((s) => (settings.shades ? `rgb(${s},${s},${s})` : "white"));
    const ink = shade.map((s) => (settings.shades && s < 128 ? "white" : "black"));
    models.look.setv({ data: new Map([["x", column(cells, "x")], ["y", column(cells, "y")], ["text", column(cells, "text")], ["fill", fill], ["ink", ink]]) }, { sync: false });
    const longest = Math.max(1, ...column(cells, "text").map((text) => text.length));
    const width = (table.inner_width ?? 600) / facts.columns;
    const height = (table.inner_height ?? 600) / facts.rows;
    const size = Math.max(6, Math.min(15, (0.97 * width) / (0.57 * longest), 0.95 * height));
    models.text.glyph.setv({ text_font_size: `${size.toFixed(1)}px` }, { sync: false });
    tell();
  }

  for (const plot of [table, picture]) {
    plot.on_event("mousemove", ({ x, y }) => {
      place = { x, y };
      tell();
    });
    plot.on_event("mouseleave", () => {
      place = null;
      tell();
    });
    plot.on_event("tap", ({ x, y }) => {
      place = { x, y };
      const pixel = tell();
      if (pixel) view.send("point", { y: pixel[0], x: pixel[1] }, { every: true });
    });
  }
  cells.change.connect(paint);
  view.on("settings", paint);
  view.on("facts", paint);
  const observer = new ResizeObserver(() => requestAnimationFrame(paint));
  observer.observe(views.find_one(table).el);
  paint();
  return () => observer.disconnect();
}
