// Only the parameters that the model has; the others are named as such.
import { html, nothing, svg, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Model, Parameter } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { session } from "../core/session";
import { ratioOf, seedsOf, type Values } from "./draft";

// What most people choose; everything else is below "more".
const FIRST = new Set(["aspect_ratio", "size", "resolution", "quality", "style"]);
// The dialog has these in places of their own, or they belong to the editor.
const ELSEWHERE = new Set(["references", "mask", "strength", "scale", "mode"]);
const RATIO_NAMES = ["aspect_ratio", "size"];
const MOST_SEGMENTS = 4;
const MOST_RATIOS = 10;
const LARGEST_SEED = 2 ** 31;

@customElement("imagen-parameters")
export class Parameters extends Part {
  @property({ attribute: false }) model: Model | undefined;
  @property({ attribute: false }) values: Values = {};

  protected override render(): TemplateResult | typeof nothing {
    const { model } = this;
    if (model === undefined) return nothing;
    const all = model.parameters.filter((one) => !ELSEWHERE.has(one.name));
    const known = all.filter((one) => one.operations.includes("generate"));
    const first = known.filter((one) => FIRST.has(one.name));
    const rest = known.filter((one) => !FIRST.has(one.name));
    const has = new Set(all.map((one) => one.name));
    const lacking = session.parameters.filter((name) => !ELSEWHERE.has(name) && !has.has(name));
    return html`
      <div class="parameters">
        ${this.#shape(first)}
        ${first.filter((one) => !RATIO_NAMES.includes(one.name)).map((one) => this.#field(one))}
        ${rest.length + lacking.length === 0 ? nothing : html`
          <details class="more"><summary>${this.t.moreParameters}</summary>
            <div>${rest.map((one) => this.#field(one))}${this.#lacking(lacking)}</div>
          </details>`}
      </div>`;
  }

  #lacking(lacking: readonly string[]): TemplateResult | typeof nothing {
    if (lacking.length === 0) return nothing;
    return html`
      <div><p class="label">${this.t.lacking(this.model!.name)}</p>
        <ul class="lacking">${lacking.map((name) => html`<li>
          <span class="name">${this.t.parameter(name)}</span>
          <span class="why">${this.t.lackingReason}</span></li>`)}</ul></div>`;
  }

  /** The shape by tiles of ratios: of the ratios that the model names, or of its sizes. */
  #shape(first: readonly Parameter[]): TemplateResult | typeof nothing {
    const parameter = first.find((one) => one.name === "aspect_ratio" && one.choices.length > 0)
      ?? first.find((one) => one.name === "size");
    if (parameter === undefined) return nothing;
    const choices = parameter.choices.slice(0, MOST_RATIOS);
    const value = String(this.values[parameter.name] ?? "");
    return html`
      <div class="field"><span class="label" id="shape-label">${this.t.shape}</span>
        <div class="ratios ${parameter.kind === "size" ? "sizes" : ""}" role="group" aria-labelledby="shape-label">
          ${this.#tile(parameter.name, "", this.t.automatic, value === "")}
          ${choices.filter((one) => one !== "auto").map((one) =>
            this.#tile(parameter.name, one, one, value === one))}
        </div>
        ${parameter.kind === "size" && this.model!.free_size !== null ? html`<input class="input" aria-label=${this.t.freeSize}
          placeholder=${this.t.freeSize} .value=${choices.includes(value) ? "" : value}
          @change=${(event: Event) => this.#set(parameter.name, textOf(event))}>` : nothing}
      </div>`;
  }

  #tile(name: string, value: string, text: string, isChosen: boolean): TemplateResult {
    const label = text.replace("x", "×");
    return html`<button type="button" class="ratio" aria-pressed=${isChosen}
      @click=${() => this.#set(name, value)}>${shapeOf(value)}<span>${label}</span></button>`;
  }

  #field(parameter: Parameter): TemplateResult {
    const { name } = parameter;
    const id = `parameter-${name}`;
    return html`
      <div class="field">
        ${parameter.kind === "choice" && parameter.choices.length <= MOST_SEGMENTS
          ? html`<span class="label" id=${id}>${this.t.parameter(name)}</span>`
          : html`<label for=${id}>${this.t.parameter(name)}</label>`}
        ${this.#control(parameter, id)}
      </div>`;
  }

  #control(parameter: Parameter, id: string): TemplateResult {
    const value = this.values[parameter.name];
    if (parameter.kind === "choice") return this.#choice(parameter, id, String(value ?? ""));
    if (parameter.kind === "text") {
      return html`<textarea id=${id} class="textarea" rows="2" .value=${String(value ?? "")}
        @change=${(event: Event) => this.#set(parameter.name, textOf(event))}></textarea>`;
    }
    return this.#number(parameter, id);
  }

  #number(parameter: Parameter, id: string): TemplateResult {
    const value = this.values[parameter.name];
    if (parameter.name === "seed") return this.#seeds(parameter, id, String(value ?? ""));
    return html`<input id=${id} class="input number" type="number" inputmode="decimal"
      min=${parameter.low ?? nothing} max=${parameter.high ?? nothing}
      step=${parameter.kind === "integer" ? 1 : "any"} .value=${String(value ?? "")}
      placeholder=${this.#range(parameter)}
      @change=${(event: Event) => this.#setNumber(parameter, textOf(event))}>`;
  }

  /** One seed, or several for a grid. */
  #seeds(parameter: Parameter, id: string, value: string): TemplateResult {
    return html`<div class="with-button">
      <input id=${id} class="input number" autocomplete="off" .value=${live(value)}
        placeholder=${this.t.seedsHint}
        @change=${(event: Event) => this.#setSeeds(parameter, textOf(event))}>
      <button type="button" class="button icon-only" aria-label=${this.t.randomSeed}
        title=${this.t.randomSeed}
        @click=${() => this.#set("seed", Math.floor(Math.random() * LARGEST_SEED))}>${icon("dice")}
      </button></div>`;
  }

  #setSeeds(parameter: Parameter, text: string): void {
    const seeds = seedsOf(text);
    if (seeds.length > 1) this.#set("seed", text);
    else this.#setNumber(parameter, String(seeds[0] ?? ""));
    this.requestUpdate();
  }

  #range({ low, high }: Parameter): string {
    return low === null || high === null ? this.t.automatic : `${low} – ${high}`;
  }

  #choice(parameter: Parameter, id: string, value: string): TemplateResult {
    const choices = parameter.choices.filter((one) => one !== "auto");
    const all = [["", this.t.automatic], ...choices.map((one) => [one, this.t.choice(one)])] as const;
    if (all.length <= MOST_SEGMENTS + 1 && parameter.choices.length <= MOST_SEGMENTS) {
      return html`<div class="segments" role="group" aria-labelledby=${id}>
        ${all.map(([one, text]) => html`<button type="button" aria-pressed=${value === one}
          @click=${() => this.#set(parameter.name, one!)}>${text}</button>`)}</div>`;
    }
    return html`<select id=${id} class="select"
      @change=${(event: Event) => this.#set(parameter.name, textOf(event))}>
      ${all.map(([one, text]) => html`<option value=${one!} ?selected=${value === one}>${text}</option>`)}
    </select>`;
  }

  #setNumber(parameter: Parameter, text: string): void {
    if (text === "") return this.#set(parameter.name, null);
    const value = Number(text);
    const low = parameter.low ?? -Infinity;
    const high = parameter.high ?? Infinity;
    this.#set(parameter.name, Math.min(high, Math.max(low, value)));
  }

  #set(name: string, value: string | number | boolean | null): void {
    this.dispatchEvent(new CustomEvent("change-value", { detail: { name, value } }));
  }
}

function textOf(event: Event): string {
  return (event.target as HTMLInputElement).value.trim();
}

function shapeOf(value: string): TemplateResult {
  const ratio = ratioOf(value);
  const room = 22;
  if (ratio === null) {
    return html`<svg viewBox="0 0 28 28" aria-hidden="true">${svg`<rect x="4" y="4" width="20"
      height="20" rx="3" stroke-dasharray="3 3"></rect>`}</svg>`;
  }
  const width = ratio >= 1 ? room : Math.max(5, room * ratio);
  const height = ratio >= 1 ? Math.max(5, room / ratio) : room;
  return html`<svg viewBox="0 0 28 28" aria-hidden="true">${svg`<rect x=${14 - width / 2}
    y=${14 - height / 2} width=${width} height=${height} rx="2"></rect>`}</svg>`;
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-parameters": Parameters;
  }
}
