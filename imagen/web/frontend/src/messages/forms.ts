// Numbers, amounts and times in the form of a language.

const KILO = 1000;
const MINUTE = 60;

export function numberIn(locale: string): (value: number) => string {
  const format = new Intl.NumberFormat(locale);
  return (value) => format.format(value);
}

/** US dollars: two decimals, and more where an amount is smaller than a cent. */
export function usdIn(locale: string): (amount: string) => string {
  const large = new Intl.NumberFormat(locale, { style: "currency", currency: "USD" });
  const small = new Intl.NumberFormat(locale, {
    style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 4,
  });
  return (amount) => (Math.abs(Number(amount)) < 1 ? small : large).format(Number(amount));
}

/** Days come as "2026-11-29", in UTC. */
export function dayIn(locale: string): (day: string) => string {
  const format = new Intl.DateTimeFormat(locale, {
    weekday: "short", day: "numeric", month: "long", year: "numeric", timeZone: "UTC",
  });
  return (day) => {
    const time = Date.parse(`${day}T00:00:00Z`);
    return Number.isNaN(time) ? day : format.format(time);
  };
}

export function monthIn(locale: string): (day: string) => string {
  const format = new Intl.DateTimeFormat(locale, { month: "short", timeZone: "UTC" });
  return (day) => {
    const time = Date.parse(`${day}T00:00:00Z`);
    return Number.isNaN(time) ? day : format.format(time);
  };
}

export function momentIn(locale: string): (time: string) => string {
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  return (time) => {
    const value = Date.parse(time);
    return Number.isNaN(value) ? time : format.format(value);
  };
}

export function secondsIn(
  locale: string, second: string, minute: string,
): (seconds: number) => string {
  const small = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  return (seconds) => {
    if (seconds < 10) return `${small.format(seconds)} ${second}`;
    if (seconds < 2 * MINUTE) return `${Math.round(seconds)} ${second}`;
    return `${Math.floor(seconds / MINUTE)} ${minute} ${Math.round(seconds % MINUTE)} ${second}`;
  };
}

export function bytesIn(locale: string): (bytes: number) => string {
  const format = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  return (bytes) => bytes >= KILO * KILO
    ? `${format.format(bytes / KILO / KILO)} MB` : `${format.format(bytes / KILO)} kB`;
}
