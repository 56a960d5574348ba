// The live console: what the engine does now, from /console/now.json and /v1/events; payments, rates and statements
// through the same REST calls that everybody makes.
import { chart, quantile } from '/console/charts.js';

const POLL_MS = 1000;
const RATES_MS = 2000;
const RECENT_MAX = 50;
const MINE_MAX = 5;
const DRAW_MS = 300;
const $ = (id) => document.getElementById(id);

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const row = (...cells) => node('tr', {}, ...cells.map((cell) => (cell instanceof Element ? cell : node('td', {}, cell))));
const number = (text) => node('td', { class: 'number' }, text);
const money = (of) => (of ? `${of.amount} ${of.currency}` : '–');
const time = (text) => new Date(text).toLocaleTimeString();
const word = (text, prefix) => text.replace(prefix, '').toLowerCase().replaceAll('_', ' ');

/** Random bytes. Not `randomUUID`: pages of plain http have that from localhost only. */
const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((n) => n.toString(16).padStart(2, '0')).join('');

/** Calls the REST API; a problem becomes an error that says what is wrong. */
async function call(path, body, key) {
  const headers = body
    ? { 'content-type': 'application/json', ...(key && { 'idempotency-key': key, traceparent: traceparent() }) } : {};
  const answer = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail);
  return Object.assign(value, { timing: answer.headers.get('server-timing') });
}

/** A context of a trace of its own (W3C): who asks so is told how long each step took. */
function traceparent() {
  return `00-${hex(16)}-${hex(8)}-01`;
}

// Now: figures and charts.

const charts = {
  rate: chart($('chart-rate'), ['captured', 'declined']),
  latency: chart($('chart-latency'), ['p50', 'p99']),
  mailboxes: chart($('chart-mailboxes'), ['payment', 'wallet', 'fx', 'risk', 'partition']),
};
let before;

function say(state, isGood) {
  $('state').textContent = state;
  $('state').className = isGood ? '' : 'bad';
}

async function look() {
  try {
    const now = await (await fetch('/console/now.json')).json();
    if (before) show(now, before);
    before = now;
    say(now.unavailable ? `takes no payments: ${now.unavailable}` : 'serving', !now.unavailable);
  } catch {
    before = undefined;
    for (const figure of document.querySelectorAll('#now dd')) figure.textContent = '–';
    say('the server does not answer', false);
  }
}

function show(now, before) {
  const seconds = Math.max((now.at_ms - before.at_ms) / 1000, 0.001);
  const captured = (now.captured - before.captured) / seconds;
  const declined = (now.failed - before.failed) / seconds;
  const counts = now.latency_counts.map((count, i) => count - before.latency_counts[i]);
  const [p50, p99] = [0.5, 0.99].map((q) => quantile(now.latency_bounds_ms, counts, q));
  const figures = {
    rate: Math.round(captured + declined).toLocaleString(), declined: Math.round(declined).toLocaleString(),
    p50: p50 === null ? '–' : `${p50.toFixed(2)} ms`, p99: p99 === null ? '–' : `${p99.toFixed(2)} ms`,
    'in-flight': now.in_flight.toLocaleString(), lag: now.index_lag.toLocaleString(),
  };
  for (const [id, text] of Object.entries(figures)) $(id).textContent = text;
  const at = now.at_ms / 1000;
  charts.rate.add(at, [captured, declined]);
  charts.latency.add(at, [p50, p99]);
  charts.mailboxes.add(at, ['payment', 'wallet', 'fx', 'risk', 'partition'].map((kind) => now.mailboxes[kind]));
  const hot = now.hottest.map(({ account, depth }) => row(statementButton(account), number(depth.toLocaleString())));
  $('hot').replaceChildren(...(hot.length ? hot : [row(node('td', { colspan: 2 }, 'no mailbox has anything waiting'))]));
}

// Payments as they commit.

let recent = [];
/** Those made here stay on top, or a busy engine would push them away at once. */
let mine = [];
let isDrawn = true;

function seen(payment) {
  recent = [payment, ...recent].slice(0, RECENT_MAX);
  // However many come, people read them at their own pace.
  if (isDrawn) setTimeout(draw, DRAW_MS);
  isDrawn = false;
}

function draw() {
  isDrawn = true;
  const keys = new Set(mine.map((payment) => payment.tx_id));
  const shown = [...mine, ...recent.filter((payment) => !keys.has(payment.tx_id))];
  $('recent').replaceChildren(...shown.map((payment) => {
    const open = node('button', { type: 'button' }, payment.tx_id);
    open.addEventListener('click', () => showPath(payment));
    const ok = payment.status === 'PAYMENT_STATUS_CAPTURED';
    const status = ok ? 'captured' : word(payment.failure?.code ?? payment.status, 'FAILURE_CODE_');
    return row(time(payment.created_at), node('td', {}, open), payment.customer_id, number(money(payment.amount)),
      statementButton(payment.destination_account), node('td', { class: ok ? 'good' : 'bad' }, status));
  }));
}

function follow() {
  const events = new EventSource('/v1/events');
  let block;
  events.addEventListener('block', (event) => { block = JSON.parse(event.data); });
  events.addEventListener('payment', (event) => seen({ ...JSON.parse(event.data), block }));
  events.addEventListener('dropped', () => {
    events.close();
    setTimeout(follow, POLL_MS);
  });
}

/** The block a payment was committed with: its answer tells, or the events if it was seen to commit. */
function blockOf({ timing, block }) {
  const told = timing?.match(/desc="(.*?)"/)?.[1];
  if (told) return ` in the ${told}`;
  return block ? ` in the block of entries ${block.first_lsn} to ${Number(block.first_lsn) + block.entries - 1}` : '';
}

/** How long each part of a payment's path took, waiting and at work, from its answer's Server-Timing. */
function timings(text) {
  const parts = { Risk: ['risk'], FX: ['fx'], Holds: ['wallet'], Journal: ['journal'], Posted: ['engine.hand_over'],
    Answered: ['engine.answer'] };
  const steps = (text ?? '').split(', ').map((step) => step.match(/^(.+?)(\.wait)?;dur=([\d.]+)/)).filter(Boolean);
  const sum = (of, wait) => steps.filter(([, name, waits]) => of.some((part) => name.startsWith(part)) && Boolean(waits) === wait)
    .reduce((ms, step) => ms + Number(step[3]), 0);
  return Object.fromEntries(Object.entries(parts).map(([name, of]) => [name, [sum(of, true), sum(of, false)]])
    .filter(([, [wait, work]]) => wait + work > 0));
}

/** The path of a payment: what was asked and decided on its way, in order. */
function steps(payment) {
  const risk = payment.risk ?? {};
  const reasons = (risk.reasons ?? []).join(', ') || 'no rule fired';
  return [
    ['Asked', `${money(payment.amount)} by ${payment.customer_id} under key ${payment.tx_id}`],
    ['Risk', `${word(risk.decision ?? '', 'RISK_DECISION_')}, score ${risk.score ?? 0}: ${reasons}`],
    ...(payment.fx ?? []).map((leg) => ['FX', `${money(leg.from)} = ${money(leg.to)} at ${leg.rate} (mid ${leg.mid}, `
      + `${leg.spread_bps ?? 0} bps, ${leg.source}${leg.via ? `, through ${leg.via}` : ''})`]),
    ...(payment.tried ?? []).map((tried) => ['Tried', `${tried.account_id}: ${word(tried.code ?? '', 'FAILURE_CODE_')}`]),
    payment.debited
      ? ['Holds', `${money(payment.debited)} held on ${payment.source_account}, ${money(payment.credited)} expected by ${payment.destination_account}`]
      : ['Declined', payment.failure?.message ?? payment.status],
    ['Journal', `entry ${payment.lsn}${blockOf(payment)}, durable ${new Date(payment.created_at).toISOString()}`],
    ...(payment.debited ? [['Posted', `${payment.source_account} −${money(payment.debited)}, ${payment.destination_account} +${money(payment.credited)}`]] : []),
    ['Answered', `payment ${payment.payment_id}${payment.replayed ? ', given again' : ''}`],
  ];
}

function showPath(payment) {
  $('path-title').textContent = `Payment under key ${payment.tx_id}`;
  const took = timings(payment.timing);
  $('steps').replaceChildren(...steps(payment).map(([name, text]) => {
    const [wait, work] = took[name] ?? [];
    const times = took[name] ? [node('span', { class: 'took' }, `waited ${wait.toFixed(3)} ms, worked ${work.toFixed(3)} ms`)] : [];
    return node('li', {}, node('strong', {}, name), text, ...times);
  }));
  $('path').showModal();
}

/** The key of the payment that the form shows: kept until it is answered, so that a second try is not a second payment. */
let key;
$('pay').addEventListener('input', () => { key = undefined; });

$('pay').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.submitter ?? event.target.querySelector('button');
  if (button.disabled) return;
  button.disabled = true;
  key ??= `console-${hex(16)}`;
  const { amount, currency, ...fields } = Object.fromEntries(new FormData(event.target));
  if (!fields.destination_account) delete fields.destination_account;
  try {
    const { payment, timing } = await call('/v1/payments', { ...fields, amount: { amount, currency: currency.toUpperCase() } }, key);
    key = undefined;
    const ok = payment.status === 'PAYMENT_STATUS_CAPTURED';
    $('paid').className = ok ? 'good' : 'bad';
    $('paid').textContent = ok
      ? `captured: ${money(payment.debited)} from ${payment.source_account} to ${payment.destination_account}`
      : payment.failure?.message ?? payment.status;
    mine = [{ ...payment, timing }, ...mine].slice(0, MINE_MAX);
    draw();
    showPath(mine[0]);
  } catch (error) {
    $('paid').className = 'bad';
    // A problem was an answer; without one nobody knows, and the same key finds out.
    const again = error instanceof TypeError ? '; press Pay again, it is not paid twice' : '';
    $('paid').textContent = `${error.message}${again}`;
  } finally {
    button.disabled = false;
  }
});

// Rates and statements.

const mids = new Map();

async function showRates() {
  try {
    const { rates = [] } = await call('/v1/fx/rates');
    $('rates').replaceChildren(...rates.map((rate) => {
      const pair = `${rate.base}/${rate.quote}`;
      const moved = Number(rate.mid) - (mids.get(pair) ?? Number(rate.mid));
      mids.set(pair, Number(rate.mid));
      const mid = node('td', { class: `number ${moved > 0 ? 'up' : moved < 0 ? 'down' : ''}` }, rate.mid);
      return row(pair, mid, number(String(rate.spread_bps ?? 0)), word(rate.source ?? '', 'RATE_SOURCE_'));
    }));
  } catch { /* The state line says that the server is gone. */ }
}

function statementButton(account) {
  const open = node('button', { type: 'button' }, account);
  open.addEventListener('click', () => {
    $('ask-statement').elements.account_id.value = account;
    showStatement(account);
    $('statement-title').scrollIntoView();
  });
  return node('td', {}, open);
}

async function showStatement(id) {
  try {
    const path = `/v1/accounts/${encodeURIComponent(id)}`;
    const [{ account }, { entries = [] }] = await Promise.all([call(path), call(`${path}/entries?page_size=100`)]);
    $('statement-balance').textContent = `${id}: balance ${money(account.balance)}, available ${money(account.available)}`;
    $('statement').replaceChildren(...entries.map((line) => row(time(line.at), word(line.kind, 'LINE_KIND_'),
      number(money(line.amount)), number(money(line.balance_after)), line.tx_id)));
  } catch (error) {
    $('statement-balance').textContent = error.message;
    $('statement').replaceChildren();
  }
}

$('ask-statement').addEventListener('submit', (event) => {
  event.preventDefault();
  showStatement(event.target.elements.account_id.value);
});

look();
setInterval(look, POLL_MS);
showRates();
setInterval(showRates, RATES_MS);
follow();
call('/v1/payments?customer_id=CUST-1&page_size=20').then(({ payments = [] }) => {
  recent = [...recent, ...payments].slice(0, RECENT_MAX);
  draw();
}, () => {});
