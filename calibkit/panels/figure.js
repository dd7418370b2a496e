// The page's side of figure.py: one Bokeh document per view, kept equal to the one in Python.

const bytesOf = (data) =>
  data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** The bytes as a buffer of their own, aligned for any typed array. */
function bufferOf(data) {
  const bytes = bytesOf(data);
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return whole ? bytes.buffer : bytes.slice().buffer;
}

const buffersOf = (ids, buffers) => new Map((ids ?? []).map((id, i) => [id, bufferOf(buffers[i])]));

/** Ask the kernel and wait for its answer: [message, buffers]. */
function ask(model, message, seconds = 60) {
  return new Promise((resolve, reject) => {
    const id = Math.random().toString(36).slice(2);
    const stop = () => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
    };
    const hear = (answer, buffers) => {
      if (answer.type === "reply" && answer.re === id) {
        stop();
        if (answer.error) reject(new Error(answer.error));
        else resolve([answer, buffers ?? []]);
      }
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error("The kernel does not answer: is it running? Run the cell again."));
    }, 1000 * seconds);
    model.on("msg:custom", hear);
    model.send({ ...message, id });
  });
}

// ---- BokehJS ------------------------------------------------------------------------------------------

/** BokehJS of exactly this version; another one on the page is left alone beside it. */
function loadBokeh(model) {
  const version = model.get("_bokeh_version");
  const loading = (window.__calibkit_bokeh ??= {});
  const found = () => window.Bokeh?.[version] ?? (window.Bokeh?.version === version ? window.Bokeh : undefined);
  loading[version] ??= (async () => {
    const [, files] = await ask(model, { type: "bokehjs" });
    // The first file is BokehJS itself, the others are its parts; what the page has already is not loaded twice.
    for (const file of found() ? files.slice(1) : files) {
      const url = URL.createObjectURL(new Blob([bytesOf(file)], { type: "text/javascript" }));
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.onload = resolve;
        script.onerror = () => reject(new Error("This page does not let BokehJS be loaded."));
        script.src = url;
        document.head.append(script);
      });
      URL.revokeObjectURL(url);
    }
    if (!found()) throw new Error(`BokehJS ${version} could not be loaded.`);
    return found();
  })().catch((error) => {
    delete loading[version]; // the next view may have better luck
    throw error;
  });
  return loading[version];
}

async function loadScript(model) {
  const [answer] = await ask(model, { type: "script" });
  if (!answer.text) return null;
  const url = URL.createObjectURL(new Blob([answer.text], { type: "text/javascript" }));
  const module = await import(url);
  URL.revokeObjectURL(url);
  return module.attach;
}

// ---- colours of the page's theme ----------------------------------------------------------------------

/** Property of a Bokeh model → the page's colour that it takes unless Python has set it. */
const THEMED = [
  [/^(Figure|Plot|GridPlot)$/, { background_fill_color: "ground", border_fill_color: "page", outline_line_color: "line" }],
  [/Axis$/, { axis_line_color: "line", major_tick_line_color: "line", minor_tick_line_color: "line",
    major_label_text_color: "text", axis_label_text_color: "text" }],
  [/^Grid$/, { grid_line_color: "line" }],
  [/^(Title|Label|LabelSet)$/, { text_color: "text" }],
  [/^Legend$/, { label_text_color: "text", background_fill_color: "ground", border_line_color: "line" }],
  [/^ColorBar$/, { title_text_color: "text", major_label_text_color: "text", background_fill_color: "none" }],
];

/** The colour that is seen behind an element; undefined while it is not on the page. */
function behind(element) {
  for (let each = element; each; each = each.parentElement ?? each.getRootNode().host) {
    const colour = getComputedStyle(each).backgroundColor;
    if (/^rgb/.test(colour) && !/, 0\)$/.test(colour)) return colour; // and not transparent
  }
  return undefined;
}

function themeOf(element) {
  const style = getComputedStyle(element);
  const value = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: value("--jp-ui-font-color1", "#212121"),
    line: value("--jp-border-color1", "#bdbdbd"),
    page: behind(element) ?? value("--jp-layout-color0", "#ffffff"),
    ground: value("--jp-layout-color1", "#ffffff"),
    none: null,
  };
}

/** Paint the models in the page's colours, again whenever its theme changes. Returns a function that stops it. */
function followTheme(doc, element) {
  const ours = new WeakMap(); // model → the properties that are ours to set
  const paint = () => {
    const theme = themeOf(element);
    for (const model of new Set(doc.roots().flatMap((root) => [...root.references()]))) {
      for (const [type, properties] of THEMED) {
        if (!type.test(model.type)) continue;
        if (!ours.has(model)) {
          ours.set(model, Object.keys(properties).filter((name) => model.properties[name]?.dirty === false));
        }
        const values = Object.fromEntries(ours.get(model).map((name) => [name, theme[properties[name]]]));
        model.setv(values, { sync: false });
      }
    }
  };
  paint();
  const observer = new MutationObserver(() => requestAnimationFrame(paint));
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  return () => observer.disconnect();
}

// ---- changes on their way to Python ----------------------------------------------------------------

/** Events of which only the last counts; of all others every one is sent. */
const CONTINUOUS = new Set(["mousemove", "pan", "pinch", "rotate", "wheel", "rangesupdate"]);

/** Collects what changes while the kernel is busy and sends it together once the last was worked off. */
class Outbox {
  constructor(model, view, fail, encode) {
    Object.assign(this, { model, view, fail, encode, busy: false });
    this.empty();
  }

  empty() {
    this.events = new Map();
    this.settings = {};
    this.calls = new Map();
    this.count = 0;
  }

  addEvent(event) {
    let key = `every ${this.count++}`;
    if (event.kind === "ModelChanged") key = `${event.model.id}.${event.attr}`;
    else if (event.kind === "MessageSent" && CONTINUOUS.has(event.msg_data?.event_name)) {
      key = `${event.msg_data.origin?.id}.${event.msg_data.event_name}`;
    }
    this.events.delete(key); // the last change counts, at its own place in the order
    this.events.set(key, event);
    this.flush();
  }

  addSettings(settings) {
    Object.assign(this.settings, settings);
    this.flush();
  }

  addCall(name, content, every) {
    const key = every ? `${name} ${this.count++}` : name;
    this.calls.delete(key);
    this.calls.set(key, [name, content]);
    this.flush();
  }

  done() {
    this.busy = false;
    this.flush();
  }

  flush() {
    if (this.busy || this.waiting) return;
    this.waiting = true; // whatever else changes in this turn goes with it
    queueMicrotask(() => {
      this.waiting = false;
      if (this.busy) return;
      const { events, settings, calls } = this;
      if (!events.size && !calls.size && !Object.keys(settings).length) return;
      this.busy = true;
      this.empty();
      const message = { type: "changes", view: this.view, settings, calls: [...calls.values()] };
      try {
        this.model.send({ ...message, events: this.encode([...events.values()]) });
      } catch {
        this.fail("The kernel that this belongs to is gone: run its cell again.");
      }
    });
  }
}

// ---- one view --------------------------------------------------------------------------------------------

async function open(model, element, fail, closers) {
  const Bokeh = await loadBokeh(model);
  const attach = await loadScript(model);
  const { Document } = Bokeh.require("document");
  const { add_document_standalone } = Bokeh.require("embed/standalone");
  const { Serializer } = Bokeh.require("core/serialization");

  const id = Math.random().toString(36).slice(2);
  const listeners = new Map();
  let doc = null;
  let early = []; // patches that come while the document is being built
  let opened = false;
  let outbox = null;
  let settings = {};
  let facts = {};

  const apply = (message, buffers) =>
    doc.apply_json_patch(message.content, buffersOf(message.buffer_ids, buffers));
  const hear = (message, buffers) => {
    try {
      if (message.type === "done" && message.to === id) outbox?.done();
      if (!opened || ("not_to" in message && message.not_to === id)) return;
      if (message.type === "patch") doc ? apply(message, buffers) : early.push([message, buffers]);
      if (message.type === "settings") {
        Object.assign(settings, message.settings);
        for (const call of listeners.get("settings") ?? []) call(message.settings);
      }
      if (message.type === "tell") {
        if (message.name === "facts") Object.assign(facts, message.content);
        for (const call of listeners.get(message.name) ?? []) call(message.content);
      }
      if (message.type === "error") fail(message.text);
    } catch (error) {
      fail(error);
    }
  };

  const answer = ask(model, { type: "open", view: id });
  model.on("msg:custom", hear);
  closers.push(() => {
    model.off("msg:custom", hear);
    try {
      model.send({ type: "closed", view: id });
    } catch {
      // The kernel is gone, and with it whatever it kept for this view.
    }
  });
  const [message, buffers] = await answer.then((reply) => {
    opened = true;
    return reply;
  });
  settings = message.settings ?? {};
  facts = message.facts;

  // An empty document and its roots as a patch: patches take arrays as bytes in every version of BokehJS.
  const { roots, ...content } = message.content;
  const built = Document.from_json({ ...content, roots: [] });
  const added = { events: roots.map((root) => ({ kind: "RootAdded", model: root })) };
  built.apply_json_patch(added, buffersOf(message.buffer_ids, buffers));
  closers.push(() => built.clear({ sync: false })); // takes its views off the page, too
  closers.push(followTheme(built, element));
  const box = document.createElement("div");
  element.append(box);
  const views = await add_document_standalone(built, box);

  outbox = new Outbox(model, id, fail, (events) => {
    const references = new Map();
    for (const known of built._all_models.values()) {
      if (!built._new_models.has(known)) references.set(known, known.ref());
    }
    const encoded = new Serializer({ references }).encode(events);
    built._new_models.clear();
    return encoded;
  });
  built.on_change((event) => {
    if (event.sync !== false) outbox.addEvent(event); // what Python has sent is not sent back
  });
  doc = built;
  for (const [patch, data] of early) apply(patch, data);
  early = [];

  if (attach) {
    const models = {};
    for (const known of built._all_models.values()) if (known.name) models[known.name] = known;
    const detach = attach({
      Bokeh, document: doc, models, views, element, settings, facts,
      /** Change settings: in Python, and in other views of this widget. */
      set: (changes) => {
        Object.assign(settings, changes);
        outbox.addSettings(changes);
      },
      /** Call the Python handler of that name; of several that wait only the last, unless `every`. */
      send: (name, content = {}, { every = false } = {}) => outbox.addCall(name, content, every),
      on: (name, listener) => listeners.set(name, [...(listeners.get(name) ?? []), listener]),
      fail,
    });
    if (detach) closers.push(detach);
  }
}

async function render({ model, el }) {
  const element = document.createElement("div");
  element.className = "calibkit-figure";
  element.dataset.lmSuppressShortcuts = "true"; // "b" here is not "insert a cell below"
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", model.get("label"));
  const alert = document.createElement("div");
  alert.setAttribute("role", "alert");
  el.append(element, alert);

  const fail = (error) => {
    const text = typeof error === "string" ? error : `${error.name ?? "Error"}: ${error.message ?? error}`;
    alert.className = text ? "calibkit-error" : "";
    alert.textContent = text;
    if (error instanceof Error) console.error(error);
  };
  const closers = [];
  let closed = false;
  const close = () => {
    closed = true;
    for (const closer of closers.splice(0).reverse()) closer();
  };
  open(model, element, fail, closers)
    .catch(fail)
    .finally(() => closed && close());
  return close;
}

export default { render };
