// Shows the Python of a panel and copies it.

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

function render({ model, el }) {
  const box = document.createElement("details");
  box.className = "calibkit-code";
  const summary = document.createElement("summary");
  summary.textContent = "Python for this";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const show = () => (pre.textContent = model.get("code"));
  button.addEventListener("click", async () => {
    await copy(model.get("code"), pre);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  model.on("change:code", show);
  show();
  box.append(summary, button, pre);
  el.append(box);
  return () => model.off("change:code", show);
}

export default { render };
