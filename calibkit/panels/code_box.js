// Shows the Python of a panel, copies it, and puts it into a cell of its own where there is a notebook.

async function copy(text, pre) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that are not served over a safe connection have no clipboard: select the text and copy that.
    const range = document.createRange();
    range.selectNodeContents(pre);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
}

/** The cells of the notebook around the panel; none in Voila and other pages that have no cells. */
function cellsOf(model) {
  const cells = model.widget_manager?.context?.model?.sharedModel;
  return typeof cells?.insertCell === "function" ? cells : null;
}

/** Put the text into a new cell below the one that the panel is in, or at the end. */
function intoNewCell(cells, text, el) {
  const index = Number.parseInt(el.closest(".jp-Cell")?.dataset.windowedListIndex ?? "", 10);
  const place = Number.isInteger(index) ? Math.min(index + 1, cells.cells.length) : cells.cells.length;
  cells.insertCell(place, { cell_type: "code", source: text });
}

function asButton(text, done, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", async () => {
    await act();
    button.textContent = done;
    setTimeout(() => (button.textContent = text), 1500);
  });
  return button;
}

function render({ model, el }) {
  const box = document.createElement("details");
  box.className = "calibkit-code";
  const summary = document.createElement("summary");
  summary.textContent = model.get("title");
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const show = () => (pre.textContent = model.get("code"));
  const buttons = [asButton("copy", "copied", () => copy(model.get("code"), pre))];
  const cells = cellsOf(model);
  if (cells) buttons.push(asButton("new cell", "added below", () => intoNewCell(cells, model.get("code"), el)));
  model.on("change:code", show);
  show();
  box.append(summary, ...buttons, pre);
  el.append(box);
  return () => model.off("change:code", show);
}

export default { render };
