// Money and statistics: budgets, spending by day and by kind, attempts of unknown outcome, and how
// the models did. The bars are SVG of our own: a library would add 7 kB or more for forty lines.
// Each has its figure beside it in words.
import { html, nothing, svg, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { SpendingGroup, StatisticsGroup, UnknownAttempt } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { session } from "../core/session";

const KINDS = ["model", "provider", "tag"] as const;
const SPANS = [7, 30, 90, 365] as const;
const DAY = 86_400_000;
const WIDTH = 720;
const HEIGHT = 150;

@customElement("imagen-spending")
export class Spending extends Part {
  @state() private days: readonly SpendingGroup[] | null = null;
  @state() private total: SpendingGroup | null = null;
  @state() private groups: readonly SpendingGroup[] = [];
  @state() private models: readonly StatisticsGroup[] = [];
  @state() private unknown: readonly UnknownAttempt[] = [];
  @state() private by: (typeof KINDS)[number] = "model";
  @state() private span = 30;
  @state() private problem = "";

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
    this.on(session.events, "added", () => void this.#load());
  }

  async #load(): Promise<void> {
    const since = new Date(Date.now() - (this.span - 1) * DAY).toISOString().slice(0, 10);
    const { api } = session;
    try {
      const [days, groups, models, unknown] = await Promise.all([
        api.spending("day", since), api.spending(this.by, since),
        api.statistics("model", since), api.unknown(),
      ]);
      this.days = days.groups;
      this.total = days.total;
      [this.groups, this.models, this.unknown] = [groups.groups, models, unknown];
      this.problem = "";
    } catch (error) {
      this.problem = session.sentenceOf(error);
    }
  }

  protected override render(): TemplateResult {
    return html`
      <div class="money">
        <header class="view-bar"><h1>${this.t.spending}</h1><span class="top-space"></span>
          <div class="segments" role="group" aria-label=${this.t.span}>${SPANS.map((span) => html`
            <button aria-pressed=${this.span === span} @click=${() => {
              this.span = span;
              void this.#load();
            }}>${this.t.lastDays(span)}</button>`)}</div></header>
        ${this.problem === "" ? nothing : html`<p class="note bad" role="alert">${icon("warning")}
          <span>${this.problem}</span></p>`}
        ${this.#cards()} ${this.#unknown()} ${this.#chart()}
        <div class="money-pair">${this.#byKind()} ${this.#byModel()}</div>
      </div>`;
  }

  #cards(): TemplateResult {
    const now = this.read(session.state);
    if (now === null) return html``;
    return html`
      <ul class="cards">
        <li class="sheet card"><span class="label">${this.t.today}</span>
          <strong class="number">${this.t.price(now.spent_usd.today, null)}</strong></li>
        <li class="sheet card"><span class="label">${this.t.thisMonth}</span>
          <strong class="number">${this.t.price(now.spent_usd.month, null)}</strong></li>
        ${now.budgets.map((one) => {
          const limit = Number(one.limit_usd ?? 0);
          const share = limit === 0 ? 0 : Math.min(100, (Number(one.taken_usd) / limit) * 100);
          return html`<li class="sheet card"><span class="label">${this.t.budget(one.name)}</span>
            <strong class="number">${one.left_usd === null ? "–" : this.t.left(one.left_usd)}</strong>
            <span class="bar" role="img" aria-label=${this.t.taken(one.taken_usd, one.limit_usd)}
              ><i .style=${`width:${share}%`}></i></span>
            <span class="hint number">${this.t.taken(one.taken_usd, one.limit_usd)}</span></li>`;
        })}
        ${now.budgets.length === 0 ? html`<li class="sheet card"><span class="label">${this.t.noBudget}</span>
          <span class="hint">${this.t.noBudgetHint}</span></li>` : nothing}
      </ul>`;
  }

  #unknown(): TemplateResult | typeof nothing {
    if (this.unknown.length === 0) return nothing;
    const settle = (event: Event, one: UnknownAttempt): void => {
      event.preventDefault();
      const usd = (event.target as HTMLFormElement).querySelector("input")!.value;
      void session.attempt(() => session.api.reconcile(one.id, usd)).then(() => this.#load());
    };
    return html`
      <section class="sheet panel"><h2>${this.t.unknownTitle(this.unknown.length)}</h2>
        <p class="hint">${this.t.unknownHint}</p>
        <button class="button small" @click=${() => void session.attempt(async () => {
          const { collected } = await session.api.collectUnknown();
          session.say(this.t.collectedUnknown(collected));
          await this.#load();
        })}>${this.t.askAgain}</button>
        <ul class="unknown">${this.unknown.map((one) => html`<li>
          <span>${one.prompt || this.t.withoutPrompt}<small>${one.model} ·
            ${this.t.moment(one.created_at)}</small></span>
          <form @submit=${(event: Event) => settle(event, one)}>
            <input class="input number" required inputmode="decimal" pattern="[0-9]*[.]?[0-9]+"
              aria-label=${this.t.billed} placeholder=${one.reserved_usd ?? "0.04"}>
            <button class="button small">${this.t.save}</button></form></li>`)}</ul>
      </section>`;
  }

  // --- charts ---------------------------------------------------------------------

  #chart(): TemplateResult {
    const byDay = new Map((this.days ?? []).map((one) => [one.name, one]));
    const days = Array.from({ length: this.span }, (_, at) =>
      new Date(Date.now() - (this.span - 1 - at) * DAY).toISOString().slice(0, 10));
    const most = Math.max(...days.map((day) => Number(byDay.get(day)?.spent_usd ?? 0)), 0);
    const mostImages = Math.max(...days.map((day) => byDay.get(day)?.images ?? 0), 1);
    // What is free is still shown, by its images.
    const heightOf = (one: SpendingGroup | undefined): number => one === undefined ? 0
      : most > 0 ? Number(one.spent_usd) / most : one.images / mostImages;
    const step = WIDTH / days.length;
    return html`
      <section class="sheet panel"><h2>${most > 0 ? this.t.byDay : this.t.imagesByDay}</h2>
        ${this.total === null ? nothing : html`<p class="hint number">${this.t.totalOf(
          this.total.spent_usd, this.total.images)}</p>`}
        <svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"
          aria-label=${this.t.byDay}>
          ${days.map((day, at) => {
            const one = byDay.get(day);
            const height = heightOf(one) * (HEIGHT - 4);
            return svg`<rect x=${at * step + step * 0.12} y=${HEIGHT - Math.max(height, 1.5)}
              width=${step * 0.76} height=${Math.max(height, 1.5)} rx="2"
              class=${height > 0 ? "full" : "none"}><title>${this.t.day(day)}: ${this.t.price(
                one?.spent_usd ?? "0", null)}, ${this.t.imageCount(one?.images ?? 0)}</title></rect>`;
          })}</svg>
        <div class="chart-ends hint"><span>${this.t.day(days[0]!)}</span>
          <span>${this.t.day(days.at(-1)!)}</span></div>
        <details><summary>${this.t.asTable}</summary>${this.#dayTable()}</details>
      </section>`;
  }

  #dayTable(): TemplateResult {
    return html`<table class="figures"><thead><tr><th scope="col">${this.t.dayWord}</th>
        <th scope="col">${this.t.cost}</th><th scope="col">${this.t.images}</th></tr></thead>
      <tbody>${(this.days ?? []).map((one) => html`<tr><th scope="row">${this.t.day(one.name)}</th>
        <td>${this.t.price(one.spent_usd, null)}</td><td>${this.t.number(one.images)}</td></tr>`)}
      </tbody></table>`;
  }

  #byKind(): TemplateResult {
    const most = Math.max(...this.groups.map((one) => Number(one.spent_usd)), 0);
    const mostImages = Math.max(...this.groups.map((one) => one.images), 1);
    const share = (one: SpendingGroup): number =>
      (most > 0 ? Number(one.spent_usd) / most : one.images / mostImages) * 100;
    return html`
      <section class="sheet panel"><div class="panel-head"><h2>${this.t.byKind}</h2>
        <div class="segments" role="group" aria-label=${this.t.byKind}>${KINDS.map((kind) => html`
          <button aria-pressed=${this.by === kind} @click=${() => {
            this.by = kind;
            void this.#load();
          }}>${this.t.kind(kind)}</button>`)}</div></div>
        ${this.groups.length === 0 ? html`<p class="hint">${this.t.nothingSpent}</p>` : nothing}
        <ul class="bars">${this.groups.map((one) => html`<li>
          <span>${one.name || this.t.withoutTag}</span>
          <span class="number">${this.t.price(one.spent_usd, null)}
            <small>${this.t.imageCount(one.images)}</small></span>
          <span class="bar" aria-hidden="true"><i .style=${`width:${share(one)}%`}></i></span></li>`)}</ul>
      </section>`;
  }

  #byModel(): TemplateResult {
    return html`
      <section class="sheet panel"><h2>${this.t.howModelsDid}</h2>
        ${this.models.length === 0 ? html`<p class="hint">${this.t.nothingSpent}</p>` : html`
        <div class="scroll-x" tabindex="0" role="region" aria-label=${this.t.howModelsDid}>
          <table class="figures"><thead><tr><th scope="col">${this.t.model}</th>
            <th scope="col">${this.t.success}</th><th scope="col">${this.t.typical}</th>
            <th scope="col">${this.t.slowest}</th><th scope="col">${this.t.perImage}</th></tr></thead>
          <tbody>${this.models.map((one) => html`<tr><th scope="row">${one.name}</th>
            <td>${one.success_rate === null ? "–" : this.t.percent(one.success_rate)}
              <small>${this.t.number(one.succeeded)}/${this.t.number(one.succeeded + one.failed)}</small></td>
            <td>${one.p50_seconds === null ? "–" : this.t.seconds(one.p50_seconds)}</td>
            <td>${one.p95_seconds === null ? "–" : this.t.seconds(one.p95_seconds)}</td>
            <td>${this.t.price(one.usd_per_image, null)}</td></tr>`)}</tbody></table></div>`}
      </section>`;
  }
}
