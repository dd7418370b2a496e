// Figures follow the page: light or dark, as the reader's system says.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const faint = style.getPropertyValue("--faint").trim();
    const line = style.getPropertyValue("--line").trim();
    for (const doc of window.Bokeh.documents) {
      for (const model of doc.all_models ?? doc._all_models.values()) {
        if (model.type === "Figure" || model.type === "Plot") {
          model.setv({ outline_line_color: line });
        } else if (model.type.endsWith("Axis")) {
          model.setv({
            axis_label_text_color: faint,
            major_label_text_color: faint,
            axis_line_color: line,
            major_tick_line_color: line,
            minor_tick_line_color: null,
          });
        } else if (model.type === "Grid") {
          model.setv({ grid_line_color: line, grid_line_alpha: 0.6 });
        } else if (model.type === "Title") {
          model.setv({ text_color: ink });
        } else if (model.type === "Legend") {
          model.setv({ label_text_color: ink, background_fill_color: null });
        }
      }
    }
  };
  const wait = () => (window.Bokeh?.documents?.length ? paint() : setTimeout(wait, 30));
  wait();
  dark.addEventListener("change", paint);
})();
