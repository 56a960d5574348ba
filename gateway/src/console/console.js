// The live console: what the engine does now, from /console/now.json. Payments, statements and rates come through the same
// REST calls that everybody makes.
import { chart, quantile } from '/console/charts.js';
import { cell, grouped, moment, node, nothing, number, row, word } from '/console/format.js';
import { begin } from '/console/payments.js';
import { call } from '/console/rest.js';
import { accountCell } from '/console/statement.js';

const POLL_MS = 1000;
const RATES_MS = 2000;
const KINDS = ['payment', 'wallet', 'fx', 'risk', 'partition'];
const $ = (id) => document.getElementById(id);

// Now: figures and charts.

const charts = {
  rate: chart($('chart-rate'), ['captured', 'declined']),
  latency: chart($('chart-latency'), ['p50', 'p99']),
  waiting: chart($('chart-waiting'), ['for a place', ...KINDS]),
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
  const whole = (n) => grouped(String(Math.round(n)));
  const figures = {
    rate: whole(captured + declined), declined: whole(declined),
    p50: p50 === null ? '–' : `${p50.toFixed(2)} ms`, p99: p99 === null ? '–' : `${p99.toFixed(2)} ms`,
    'in-flight': whole(now.in_flight), waiting: whole(now.waiting), lag: whole(now.index_lag),
  };
  for (const [id, text] of Object.entries(figures)) $(id).textContent = text;
  const at = now.at_ms / 1000;
  charts.rate.add(at, [captured, declined]);
  charts.latency.add(at, [p50, p99]);
  charts.waiting.add(at, [now.waiting, ...KINDS.map((kind) => now.mailboxes[kind])]);
  const hot = now.hot.map((of) => row(accountCell(of.account), number(whole(of.per_second)), number(whole(of.depth))));
  $('hot').replaceChildren(...(hot.length ? hot : [nothing(3, 'no account handles 500 messages a second')]));
}

// Rates.

const mids = new Map();

async function showRates() {
  try {
    const { rates = [] } = await call('/v1/fx/rates');
    $('rates').replaceChildren(...rates.map((rate) => {
      const pair = `${rate.base}/${rate.quote}`;
      const moved = Number(rate.mid) - (mids.get(pair) ?? Number(rate.mid));
      mids.set(pair, Number(rate.mid));
      const mid = node('td', { class: `number ${moved > 0 ? 'up' : moved < 0 ? 'down' : ''}` }, grouped(rate.mid));
      const source = word(rate.source ?? '', 'RATE_SOURCE_');
      const stale = rate.stale ? [' ', node('span', { class: 'badge failed', title: `of ${moment(rate.at)}; it prices nothing: publish a newer one` }, 'stale')] : [];
      return row(pair, mid, number(String(rate.spread_bps ?? 0)), cell(source, ...stale));
    }));
  } catch { /* The state line says that the server is gone. */ }
}

look();
setInterval(look, POLL_MS);
showRates();
setInterval(showRates, RATES_MS);
begin();
