// Payments: all customers' as they commit, what somebody searches for, and one that is made here. Each has an address,
// /payments/{id}; a search has one too, /?q=.
import { badge, cell, key as keyCell, moment, money, node, nothing, number, row, zone } from '/console/format.js';
import { showPath, showProblem } from '/console/path.js';
import { call, find, hex } from '/console/rest.js';
import { accountCell } from '/console/statement.js';

const PAGE = 50;
const RECENT_MAX = 50;
const MINE_MAX = 5;
const DRAW_MS = 300;
const RECONNECT_MS = 1000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const $ = (id) => document.getElementById(id);

/** The newest of all customers, newest first. */
let recent = [];
/** Those made here stay on top, or a busy engine would push them away at once. */
let mine = [];
/** What was searched for, with what was found and where there is more of it; nothing while recent ones are shown. */
let search;
let isDrawn = true;
/** Whether the list has come. */
let isRead = false;

function seen(payments) {
  isRead = true;
  // Of two states of one payment the later counts, however late the other comes.
  const latest = new Map();
  for (const payment of [...payments, ...recent]) {
    const known = latest.get(payment.payment_id);
    if (!known || Number(payment.lsn) > Number(known.lsn)) latest.set(payment.payment_id, payment);
  }
  recent = [...latest.values()].sort((a, b) => (b.created_at > a.created_at ? 1 : -1)).slice(0, RECENT_MAX);
  // However many come, people read them at their own pace.
  if (isDrawn) setTimeout(draw, DRAW_MS);
  isDrawn = false;
}

function draw() {
  isDrawn = true;
  const made = new Set(mine.map((payment) => payment.payment_id));
  const shown = search?.found ?? [...mine, ...recent.filter((payment) => !made.has(payment.payment_id))];
  const none = search ? search.problem ?? 'searching' : isRead ? 'no payment was made yet' : 'reading';
  $('recent').replaceChildren(...(shown.length ? shown.map(line) : [nothing(6, none)]));
  $('recent-title').textContent = search ? `Payments found for ${search.text}` : 'Recent payments';
  $('recent-zone').textContent = `time (${zone()})`;
  $('clear').hidden = !search;
  $('older').hidden = !search?.more;
}

function line(payment) {
  // A search stays what it is while one of its payments is looked at.
  const address = `/payments/${payment.payment_id}${location.search}`;
  const open = node('a', { href: address }, payment.tx_id);
  open.addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(address);
  });
  return row(cell(moment(payment.created_at)), keyCell(payment.tx_id, open), payment.customer_id, number(money(payment.amount)),
    accountCell(payment.destination_account), cell(...badge(payment)));
}

function follow() {
  const events = new EventSource('/v1/events');
  let block;
  events.addEventListener('block', (event) => { block = JSON.parse(event.data); });
  // From here on nothing is missed; what was committed before is read.
  events.addEventListener('ready', read);
  events.addEventListener('payment', (event) => seen([{ ...JSON.parse(event.data), block }]));
  events.addEventListener('dropped', () => {
    events.close();
    setTimeout(follow, RECONNECT_MS);
  });
}

// Addresses.

function go(address) {
  history.pushState(null, '', address);
  route();
}

/** Shows what the address says. */
function route() {
  const id = location.pathname.match(/^\/payments\/([^/]+)$/)?.[1];
  if (id) open(decodeURIComponent(id));
  else $('path').close();
  const text = new URLSearchParams(location.search).get('q')?.trim();
  if (text !== search?.text) look(text);
}

async function open(id) {
  const known = [...mine, ...recent, ...(search?.found ?? [])].find((payment) => payment.payment_id === id);
  try {
    showPath(known ?? (await call(`/v1/payments/${encodeURIComponent(id)}`)).payment);
  } catch (error) {
    showProblem(`Payment ${id}`, error.message);
  }
}

$('path').addEventListener('close', () => {
  if (location.pathname !== '/') history.pushState(null, '', `/${location.search}`);
});

// Search.

/** Payments by an id, a key or a customer, whichever it is. */
async function look(text) {
  $('search').elements.q.value = text ?? '';
  const asked = text ? { text, found: [] } : undefined;
  search = asked;
  draw();
  if (!text) return;
  try {
    const name = encodeURIComponent(text);
    const [byId, byKey, customers] = await Promise.all([
      UUID.test(text) ? find(`/v1/payments/${name}`) : undefined, find(`/v1/payments/by-tx-id/${name}`), page(text),
    ]);
    const found = [byId?.payment, byKey?.payment, ...(customers?.payments ?? [])].filter(Boolean);
    asked.found = [...new Map(found.map((payment) => [payment.payment_id, payment])).values()];
    asked.more = customers?.next_page_token;
    asked.problem = 'no payment has this id or key, and no customer of this name made one';
  } catch (error) {
    asked.problem = error.message;
  }
  // Somebody may have searched for something else meanwhile.
  if (search === asked) draw();
}

const page = (customer, token = '') => find(`/v1/payments?${new URLSearchParams({ customer_id: customer, page_size: PAGE, page_token: token })}`);

$('search').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = event.target.elements.q.value.trim();
  go(text ? `/?q=${encodeURIComponent(text)}` : '/');
});
$('clear').addEventListener('click', () => go('/'));
$('older').addEventListener('click', async () => {
  const asked = search;
  const next = await page(asked.text, asked.more).catch((error) => { asked.problem = error.message; });
  asked.found = [...asked.found, ...(next?.payments ?? [])];
  asked.more = next?.next_page_token;
  draw();
});

// A payment of one's own.

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
    go(`/payments/${payment.payment_id}`);
  } catch (error) {
    $('paid').className = 'bad';
    // A problem was an answer; without one nobody knows, and the same key finds out.
    const again = error instanceof TypeError ? '; press Pay again, it is not paid twice' : '';
    $('paid').textContent = `${error.message}${again}`;
  } finally {
    button.disabled = false;
  }
});

const read = () => call(`/v1/payments?page_size=${RECENT_MAX}`).then(({ payments = [] }) => seen(payments), () => {});

/** Begins: what there is, what comes, and what the address asks for. */
export function begin() {
  addEventListener('popstate', route);
  follow();
  read();
  route();
  draw();
}
