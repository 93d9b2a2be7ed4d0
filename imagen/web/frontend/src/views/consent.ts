// The question before a batch that costs more than the user's limit.
import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { Part } from "../core/part";
import { session } from "../core/session";

@customElement("imagen-consent")
export class ConsentDialog extends Part {
  protected override render(): TemplateResult | typeof nothing {
    const asked = this.read(session.consent);
    if (asked === null) return nothing;
    const { quote } = asked;
    return html`
      <dialog aria-labelledby="consent-title" @close=${(event: Event) =>
        asked.answer((event.target as HTMLDialogElement).returnValue === "yes")}>
        <form method="dialog" class="dialog-body">
          <h2 id="consent-title">${this.t.consentTitle}</h2>
          <p>${this.t.consentText(quote.images, quote.high_usd)}</p>
          <div class="dialog-actions">
            <button class="button" value="">${this.t.notNow}</button>
            <button class="button primary" value="yes">${this.t.consentYes}</button>
          </div>
        </form>
      </dialog>`;
  }

  protected override updated(): void {
    const dialog = this.querySelector("dialog");
    if (dialog !== null && !dialog.open) dialog.showModal();
  }
}
