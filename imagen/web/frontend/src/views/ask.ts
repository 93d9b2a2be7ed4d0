// Short questions in a dialog: for a word, and whether one is sure.
import { html, render, type TemplateResult } from "lit";
import { language } from "../messages/messages";

/** The word, or nothing if the user has thought better of it. Enter saves. */
export async function askForWord(
  title: string, known: readonly string[] = [], value = "",
): Promise<string> {
  const dialog = await ask("ask", title, language.value.save, "primary", html`
    <input class="input" aria-labelledby="ask-title" list="ask-known" .value=${value}>
    <datalist id="ask-known">${known.map((one) => html`<option>${one}</option>`)}</datalist>`);
  return dialog.returnValue === "yes" ? dialog.querySelector("input")!.value.trim() : "";
}

export async function askIfSure(title: string, hint: string, yes: string): Promise<boolean> {
  const dialog = await ask("sure", title, yes, "bad", html`<p>${hint}</p>`);
  return dialog.returnValue === "yes";
}

async function ask(
  kind: string, title: string, yes: string, look: string, content: TemplateResult,
): Promise<HTMLDialogElement> {
  const dialog = document.createElement("dialog");
  dialog.className = kind;
  dialog.setAttribute("aria-labelledby", "ask-title");
  // "Not now" is no submit button: Enter would press the first of them.
  render(html`<form method="dialog" class="dialog-body"><h2 id="ask-title">${title}</h2>${content}
    <div class="dialog-actions">
      <button class="button" type="button" @click=${() => dialog.close("")}>${language.value.notNow}</button>
      <button class="button ${look}" value="yes">${yes}</button></div></form>`, dialog);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((done) => { dialog.addEventListener("close", done, { once: true }); });
  dialog.remove();
  return dialog;
}
