// One grid for one batch. A message is one cell; its thumbnail is a binary buffer.

const SECOND = 1000;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const meter = element("meter", { min: 0, ariaLabel: "cost" });
  const counts = element("span");
  counts.setAttribute("role", "status");
  const sentence = element("span", { className: "sentence" });
  const stop = element("button", {
    className: "stop",
    textContent: "Stop",
    title: "Send nothing more; what was sent is kept in the library",
    onclick: () => model.send({ kind: "stop" }),
  });
  const grid = element("div", { className: "grid" });
  const root = element("div", { className: "imagen-sheet" },
    element("header", {}, meter, counts, stop, sentence), grid);
  el.append(root);
  // The copy for the saved notebook is of no use beside the live sheet.
  const hide = element("style", {
    textContent: `[data-imagen-sheet="${model.get("key")}"] { display: none }`,
  });
  document.head.append(hide);

  const cells = new Map();
  const links = new Map();

  function cellOf(index) {
    if (!cells.has(index)) {
      const cell = element("figure", {}, element("div", { className: "box" }),
        element("figcaption"), element("div", { className: "actions" }));
      cell.dataset.index = index;
      cell.dataset.state = "waiting";
      const after = [...grid.children].find((other) => Number(other.dataset.index) > index);
      grid.insertBefore(cell, after ?? null);
      cells.set(index, cell);
      showActions(cell, { index, state: "waiting" });
    }
    return cells.get(index);
  }

  function button(text, label, message) {
    return element("button", {
      textContent: text, title: label, ariaLabel: label, onclick: () => model.send(message),
    });
  }

  function showActions(cell, { index, state, stars = 0 }) {
    const place = index < 1 << 30 ? `image ${index + 1}` : "this image";
    const actions = [];
    if (state === "done") {
      const rating = element("span", { className: "stars" });
      for (let value = 1; value <= 5; value += 1) {
        rating.append(button(value <= stars ? "★" : "☆", `${value} stars for ${place}`,
          { kind: "rate", index, value: value === stars ? 0 : value }));
      }
      actions.push(rating, button("vary", `Vary ${place}`, { kind: "vary", index }),
        button("enhance", `Enhance ${place}`, { kind: "enhance", index }));
    } else if (state === "failed") {
      actions.push(button("try again", `Try ${place} again`, { kind: "again", index }));
    } else if (index < 1 << 30) {
      actions.push(button("drop", `Drop ${place}`, { kind: "drop", index }));
    }
    cell.querySelector(".actions").replaceChildren(...actions);
  }

  function showImage(cell, message, buffer) {
    const box = cell.querySelector(".box");
    URL.revokeObjectURL(links.get(message.index));
    const link = URL.createObjectURL(new Blob([buffer], { type: message.type }));
    links.set(message.index, link);
    box.replaceChildren(element("img", { src: link, alt: message.prompt, title: message.prompt }));
  }

  function showCell(message, buffers) {
    if (message.kind !== "cell") return;
    const cell = cellOf(message.index);
    cell.dataset.state = message.state;
    cell.dataset.started = message.started_at ?? "";
    if (buffers?.length) showImage(cell, message, buffers[0]);
    else if (message.sentence) {
      cell.querySelector(".box").replaceChildren(element("p", { textContent: message.sentence }));
    }
    cell.querySelector("figcaption").replaceChildren(element("span", { textContent: message.caption }));
    showActions(cell, message);
  }

  function showStatus() {
    const status = model.get("status");
    for (let index = 0; index < status.places; index += 1) cellOf(index);
    const limit = status.limit_usd;
    meter.hidden = limit === null;
    meter.max = limit ?? 1;
    meter.value = status.cost_usd;
    const done = status.succeeded + status.failed;
    let text = `${done} of ${status.requested}, ${status.cost}`;
    if (status.limit) text += ` of ${status.limit}`;
    if (status.failed) text += `, ${status.failed} failed`;
    if (status.in_flight && !status.over) text += `, ${status.in_flight} in flight`;
    counts.textContent = text;
    stop.hidden = status.over;
    root.dataset.over = status.over;
    if (status.over) {
      for (const cell of cells.values()) {
        if (["waiting", "sent", "preview"].includes(cell.dataset.state)
            && Number(cell.dataset.index) < 1 << 30) {
          const text = cell.dataset.state === "waiting" ? "not made" : "kept in the library";
          cell.dataset.state = "left";
          cell.querySelector(".actions").replaceChildren();
          cell.querySelector("figcaption").textContent = text;
        }
      }
    }
  }

  function showElapsed() {
    for (const cell of cells.values()) {
      if (["sent", "preview"].includes(cell.dataset.state) && cell.dataset.started) {
        const seconds = Math.max(0, Date.now() / SECOND - Number(cell.dataset.started));
        cell.querySelector("figcaption").textContent = `${seconds.toFixed(0)} s`;
      }
    }
  }

  const showSentence = () => { sentence.textContent = model.get("sentence"); };
  model.on("msg:custom", showCell);
  model.on("change:status", showStatus);
  model.on("change:sentence", showSentence);
  showStatus();
  showSentence();
  const clock = setInterval(showElapsed, SECOND);
  model.send({ kind: "ready" });
  return () => {
    clearInterval(clock);
    hide.remove();
    model.off("msg:custom", showCell);
    model.off("change:status", showStatus);
    model.off("change:sentence", showSentence);
    for (const link of links.values()) URL.revokeObjectURL(link);
  };
}

export default { render };
