// Short sentences about what was done, with undo.
import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { Part } from "../core/part";
import { session } from "../core/session";

@customElement("imagen-toasts")
export class Toasts extends Part {
  protected override render(): TemplateResult {
    return html`<div class="toasts" role="status" aria-live="polite">
      ${this.read(session.toasts).map((toast) => html`
        <div class="toast"><span>${toast.text}</span>
          ${toast.undo === null ? nothing : html`<button @click=${() => {
            session.closeToast(toast);
            void toast.undo!();
          }}>${this.t.undo}</button>`}</div>`)}</div>`;
  }
}
