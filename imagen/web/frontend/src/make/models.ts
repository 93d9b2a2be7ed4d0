// The model chooser: search, what each model does and costs, and whether its key is set. Several
// models at once make a grid: each request goes to each of them.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Model } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { session } from "../core/session";
import { draft } from "./draft";

const MOST_SHOWN = 80;

@customElement("imagen-models")
export class Models extends Part {
  @property({ attribute: false }) chosen: Model | undefined;
  @state() private isOpen = false;
  @state() private words = "";
  @state() private onlyReady = false;
  @state() private picked: readonly string[] = [];

  protected override render(): TemplateResult {
    this.read(session.models);
    const { chosen } = this;
    const others = draft.value.models.length - 1;
    return html`
      <div class="field">
        <span class="label">${this.t.model}</span>
        <button type="button" class="model-card" aria-haspopup="dialog" @click=${this.#open}>
          <strong>${chosen?.name ?? this.t.noModels}${others > 0 ? ` +${others}` : ""}</strong>
          <small>${chosen === undefined ? nothing
            : [chosen.provider, chosen.price].filter(Boolean).join(" · ")}</small>
          ${icon("down")}
        </button>
      </div>
      <dialog class="models-dialog" aria-labelledby="models-title" @close=${this.#close}>
        ${this.#head()}
        <div class="models-list" role="group" aria-label=${this.t.model}>${this.isOpen ? this.#rows() : nothing}</div>
        <div class="models-foot">
          <span class="hint">${this.t.modelsPicked(this.picked.length)}</span>
          <form method="dialog"><button class="button primary">${this.t.done}</button></form>
        </div>
      </dialog>`;
  }

  #head(): TemplateResult {
    return html`
      <div class="models-head">
        <div class="line">
          <h2 id="models-title">${this.t.chooseModel}</h2>
          <label class="chip"><input type="checkbox" .checked=${this.onlyReady}
            @change=${(event: Event) => {
              this.onlyReady = (event.target as HTMLInputElement).checked;
            }}>${this.t.onlyWithKey}</label>
        </div>
        <label class="search">${icon("search")}<span class="visually-hidden">${this.t.searchModels}</span>
          <input type="search" placeholder=${this.t.searchModels} .value=${this.words}
            @input=${(event: Event) => { this.words = (event.target as HTMLInputElement).value; }}
          ></label>
      </div>`;
  }

  #found(): Model[] {
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    return session.models.value.filter((model) => {
      if (this.onlyReady && !model.has_key) return false;
      if (!model.operations.includes("generate") || model.state === "retired") return false;
      const text = `${model.id} ${model.name} ${model.provider} ${model.description}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  #rows(): TemplateResult {
    const found = this.#found();
    if (found.length === 0) return html`<p class="empty">${this.t.noModelFound}</p>`;
    return html`${found.slice(0, MOST_SHOWN).map((model) => this.#row(model))}
      ${found.length > MOST_SHOWN
        ? html`<p class="hint empty">${this.t.moreModels(found.length - MOST_SHOWN)}</p>` : nothing}`;
  }

  #row(model: Model): TemplateResult {
    return html`
      <button type="button" class="model-row" aria-pressed=${this.picked.includes(model.id)}
        @click=${() => this.#pick(model.id)}
        @dblclick=${() => { this.picked = [model.id]; this.querySelector("dialog")!.close(); }}>
        <span class="mark">${icon("check")}</span>
        <span><strong>${model.name}</strong><span class="provider">${model.provider}</span></span>
        <span class="cost">${model.price || this.t.priceUnknownShort}
          <small>${model.has_key ? this.t.ready : this.t.keyMissing}</small></span>
        <p>${model.description}</p>
      </button>`;
  }

  #pick(id: string): void {
    const rest = this.picked.filter((one) => one !== id);
    this.picked = rest.length < this.picked.length ? rest : [...rest, id];
  }

  #open(): void {
    this.picked = draft.value.models.length > 0 ? draft.value.models
      : this.chosen === undefined ? [] : [this.chosen.id];
    this.words = "";
    this.isOpen = true;
    this.querySelector("dialog")!.showModal();
    this.querySelector<HTMLElement>(".models-head input[type=search]")?.focus();
  }

  #close(): void {
    this.isOpen = false;
    const ids = [...this.picked];
    this.dispatchEvent(new CustomEvent("choose", { detail: ids }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-models": Models;
  }
}
