// How things are shown: elements, amounts, moments, states.

export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const cell = (...content) => node('td', {}, ...content);
export const number = (text) => node('td', { class: 'number' }, text);
/** A key, which may be long. */
export const key = (text, shown = text) => node('td', { class: 'key', title: text }, shown);
export const row = (...cells) => node('tr', {}, ...cells.map((of) => (of instanceof HTMLTableCellElement ? of : cell(of))));
/** One row over a whole table that has nothing to show. */
export const nothing = (columns, text) => row(node('td', { colspan: columns, class: 'quiet' }, text));
export const word = (text, prefix) => text.replace(prefix, '').toLowerCase().replaceAll('_', ' ');

/** Digits in threes. Of the text itself: as a number it could lose some. */
export const grouped = (text) => text.replace(/\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','));
export const money = (of) => (of ? `${grouped(of.amount)} ${of.currency}` : '–');

const two = (n) => String(n).padStart(2, '0');

/** The reader's zone, as in UTC+07:00. */
export function zone(at = new Date()) {
  const minutes = -at.getTimezoneOffset();
  if (minutes === 0) return 'UTC';
  const all = Math.abs(minutes);
  return `UTC${minutes < 0 ? '−' : '+'}${two(Math.floor(all / 60))}:${two(all % 60)}`;
}

/** Date and time in the reader's zone, which the head of the table names; the exact moment is its title. */
export function moment(text) {
  const at = new Date(text);
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return node('time', { datetime: at.toISOString(), title: `${date} ${time} ${zone(at)}` }, `${date} ${time}`);
}

/** Where a payment stands, and why if it was declined. */
export function badge(payment) {
  const state = word(payment.status, 'PAYMENT_STATUS_');
  const kind = { captured: 'good', refunded: 'good', failed: 'bad' }[state] ?? 'open';
  const shown = node('span', { class: `badge ${kind}` }, state === 'failed' ? 'declined' : state);
  const why = payment.failure && node('span', { class: 'why' }, word(payment.failure.code, 'FAILURE_CODE_'));
  return why ? [shown, ' ', why] : [shown];
}
