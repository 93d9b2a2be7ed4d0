"use strict";
(() => {
  const shots = [...document.querySelectorAll("a.shot")];
  if (!shots.length || !window.HTMLDialogElement) return;
  const make = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text });
  const box = make("dialog", "", ""), image = make("img", "", ""), said = make("div", "said", "");
  const button = (name, text, label, act) => {
    const made = make("button", name, text);
    made.type = "button";
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };
  let at = 0;
  const show = (index) => {
    at = (index + shots.length) % shots.length;
    const shot = shots[at], small = shot.querySelector("img"), caption = shot.parentElement.querySelector("figcaption");
    image.src = shot.href;
    image.alt = small ? small.alt : "";
    said.replaceChildren(make("p", "where", `${at + 1} of ${shots.length}`));
    if (caption) said.append(...[...caption.children].map((child) => child.cloneNode(true)));
    for (const details of said.querySelectorAll("details")) details.open = true;
    said.scrollTop = 0;
  };
  const step = (by) => () => show(at + by);
  const on = button("on", "\u203a", "Next image", step(1));
  on.autofocus = true;
  box.append(
    image,
    said,
    button("back", "\u2039", "Previous image", step(-1)),
    on,
    button("close", "\u00d7", "Close", () => box.close()),
  );
  box.addEventListener("close", () => { image.removeAttribute("src"); shots[at].focus(); });
  box.addEventListener("click", (event) => { if (event.target === image || event.target === box) box.close(); });
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: shots.length - 1 };
    if (event.key in moves) { event.preventDefault(); show(moves[event.key]); }
  });
  document.body.append(box);
  shots.forEach((shot, index) => shot.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(index);
    box.showModal();
  }));
})();
