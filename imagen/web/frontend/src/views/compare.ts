// Two to four images side by side, or two of them under a slider.
import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Details, Difference } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { linkTo } from "../core/route";
import { session } from "../core/session";

@customElement("imagen-compare")
export class Compare extends Part {
  @property({ attribute: false }) ids: readonly string[] = [];
  @state() private images: readonly Details[] = [];
  @state() private differences: readonly Difference[] = [];
  @state() private problem = "";
  @state() private isSlider = true;
  @state() private share = 50;

  protected override willUpdate(changes: PropertyValues<this>): void {
    const before = (changes.get("ids") as readonly string[] | undefined)?.join();
    if (changes.has("ids") && before !== this.ids.join()) void this.#load();
  }

  async #load(): Promise<void> {
    try {
      const { images, differences } = await session.api.compare(this.ids);
      [this.images, this.differences] = [images, differences];
    } catch (error) {
      this.problem = session.sentenceOf(error);
    }
  }

  protected override render(): TemplateResult {
    if (this.problem !== "") {
      return html`<div class="empty"><h2>${this.t.compare}</h2><p>${this.problem}</p></div>`;
    }
    const isPair = this.images.length === 2;
    return html`
      <div class="compare">
        <div class="view-bar">
          <a class="button quiet icon-only" href="#/" aria-label=${this.t.backToImages}>${icon("close")}</a>
          <h1>${this.t.compare}</h1><span class="top-space"></span>
          ${isPair ? html`<div class="segments" role="group" aria-label=${this.t.compare}>
            <button aria-pressed=${this.isSlider} @click=${() => { this.isSlider = true; }}
              >${this.t.slider}</button>
            <button aria-pressed=${!this.isSlider} @click=${() => { this.isSlider = false; }}
              >${this.t.sideBySide}</button></div>` : nothing}
        </div>
        ${isPair && this.isSlider ? this.#slider() : this.#beside()}
        ${this.#table()}
      </div>`;
  }

  #slider(): TemplateResult {
    const [one, other] = this.images as [Details, Details];
    return html`
      <div class="compare-slider">
        <img src=${session.host.thumbnail(other.id, 2048)} alt=${other.prompt || this.t.theImage}>
        <img src=${session.host.thumbnail(one.id, 2048)} alt=${one.prompt || this.t.theImage}
          .style=${`clip-path: inset(0 ${100 - this.share}% 0 0)`}>
        <span class="compare-line" .style=${`left:${this.share}%`}></span>
        <input type="range" min="0" max="100" step="0.5" aria-label=${this.t.slider}
          .value=${String(this.share)} @input=${(event: Event) => {
            this.share = Number((event.target as HTMLInputElement).value);
          }}>
      </div>`;
  }

  #beside(): TemplateResult {
    return html`<div class="compare-beside">${this.images.map((one) => html`
      <a href=${linkTo("image", one.id)}><img src=${session.host.thumbnail(one.id, 1024)}
        alt=${one.prompt || this.t.theImage}></a>`)}</div>`;
  }

  #table(): TemplateResult | typeof nothing {
    if (this.differences.length === 0) return nothing;
    return html`
      <div class="compare-table" tabindex="0" role="region" aria-label=${this.t.differences}>
        <table><caption>${this.t.differences}</caption>
          <tbody>${this.differences.map((one) => html`<tr><th scope="row">${this.t.parameter(one.field)}</th>
            ${one.values.map((value) => html`<td>${shortened(value)}</td>`)}</tr>`)}</tbody></table>
      </div>`;
  }
}

/** Seconds and costs come with all their digits. */
function shortened(value: string): string {
  return /^-?\d+\.\d{5,}$/.test(value) ? String(Number(Number(value).toPrecision(4))) : value;
}
