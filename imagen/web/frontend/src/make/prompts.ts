// Below the prompt: kept prompts and styles to take from, and how many wordings wildcards give.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { KeptPrompt } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { session } from "../core/session";
import { draft } from "./draft";

@customElement("imagen-prompts")
export class Prompts extends Part {
  @property() prompt = "";
  @property({ attribute: false }) count = 1;
  @state() private kept: readonly KeptPrompt[] | null = null;
  @state() private styles: readonly string[] = [];

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#fetchStyles();
  }

  async #fetchStyles(): Promise<void> {
    this.styles = await session.api.styles().catch(() => []);
  }

  async #fetchKept(): Promise<void> {
    this.kept = await session.api.keptPrompts().catch(() => []);
  }

  protected override render(): TemplateResult {
    const { styles: chosen, isStyleEach: isEach } = this.read(draft);
    return html`
      <div class="prompt-tools">
        <button type="button" class="button quiet small" popovertarget="kept-prompts"
          @click=${this.#place}>${icon("book")}${this.t.keptPrompts}</button>
        ${this.styles.length === 0 ? nothing : html`
          <button type="button" class="button quiet small" popovertarget="prompt-styles"
            @click=${this.#place} aria-pressed=${chosen.length > 0}>${icon("brush")}
            ${chosen.length > 0 ? chosen.join(", ") : this.t.styles}</button>`}
        ${this.count > 1
          ? html`<span class="badge" role="status">${this.t.wordings(this.count)}</span>` : nothing}
      </div>
      <div id="kept-prompts" class="menu" popover @toggle=${(event: ToggleEvent) => {
        if (event.newState === "open") void this.#fetchKept();
      }}>${this.#keptList()}</div>
      <div id="prompt-styles" class="menu" popover>
        ${chosen.length < 2 ? nothing : html`<button type="button" aria-pressed=${isEach}
          @click=${() => { draft.value = { ...draft.value, isStyleEach: !isEach }; }}
          >${isEach ? "✓ " : ""}${this.t.styleEach}</button>`}
        ${this.styles.map((name) => html`<button type="button" aria-pressed=${chosen.includes(name)}
          @click=${() => this.#toggle(name)}>${chosen.includes(name) ? "✓ " : ""}${name}</button>`)}
      </div>`;
  }

  #keptList(): TemplateResult {
    if (this.kept === null) return html`<p role="status">${this.t.loading}</p>`;
    const keep = html`<button type="button" ?disabled=${this.prompt.trim() === ""}
      @click=${this.#keep}>${this.t.keepPrompt}</button>`;
    if (this.kept.length === 0) return html`${keep}<p>${this.t.noKeptPrompts}</p>`;
    return html`${keep}${this.kept.map((one) => html`
      <button type="button" @click=${() => this.#take(one)}>${one.name}
        <small>${one.text}</small></button>`)}`;
  }

  #toggle(name: string): void {
    const styles = draft.value.styles;
    draft.value = {
      ...draft.value,
      styles: styles.includes(name) ? styles.filter((one) => one !== name) : [...styles, name],
    };
  }

  #take(kept: KeptPrompt): void {
    this.querySelector<HTMLElement>("#kept-prompts")!.hidePopover();
    this.dispatchEvent(new CustomEvent("take", { detail: kept.text }));
  }

  async #keep(): Promise<void> {
    const name = this.prompt.trim().split(/\s+/).slice(0, 6).join(" ");
    await session.attempt(() => session.api.keepPrompt(name, this.prompt), this.t.promptKept);
    this.querySelector<HTMLElement>("#kept-prompts")!.hidePopover();
  }

  /** Below its button: a popover has no place of its own in older browsers. */
  #place(event: Event): void {
    const button = event.currentTarget as HTMLElement;
    const menu = this.querySelector<HTMLElement>(`#${button.getAttribute("popovertarget")}`)!;
    const box = button.getBoundingClientRect();
    menu.style.left = `${Math.min(box.left, innerWidth - 340)}px`;
    menu.style.top = `${box.bottom}px`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-prompts": Prompts;
  }
}
