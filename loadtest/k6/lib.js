// What the k6 scripts share: settings, thresholds, customers of a run's own, and the count of how payments end.
//
//   TX_ID              begins every key; the same again replays          k6-<time of the start>
//   CUSTOMERS          customers that the run opens and funds            100
//   VUS                virtual users                                     10
//   P95_MS             the threshold on p95, in milliseconds             100
//   CAPTURED_MIN       the threshold on payments that moved money        1
//   CAPTURED_SHARE_MIN ... and on their share of all                     0.5
//
// A declined payment is an answer and counts by its code; only a failed call is an error. A run whose payments are mostly
// declined fails all the same: it measured refusals.
import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';

export const env = (name, otherwise) => __ENV[name] || otherwise;

// What a customer of the run's own is given: more than a run spends.
const FUNDS = '1000000000000';
// k6 shows a tag's share only where it has a threshold: these hold always.
const DECLINES = [
  'INSUFFICIENT_FUNDS',
  'RISK_REJECTED',
  'FX_RATE_STALE',
  'FX_RATE_UNAVAILABLE',
  'ACCOUNT_FROZEN',
  'DAILY_LIMIT_EXCEEDED',
];

// The thresholds of a script whose calls are timed by this metric of k6.
export function thresholds(duration) {
  return {
    errors: ['rate==0'],
    checks: ['rate==1'],
    // Without the calls of setup, which belong to no scenario.
    [`${duration}{scenario:default}`]: [`p(95)<${env('P95_MS', '100')}`],
    payments: ['count>0'],
    payments_captured: [`count>=${env('CAPTURED_MIN', '1')}`],
    payments_captured_share: [`rate>=${env('CAPTURED_SHARE_MIN', '0.5')}`],
    ...Object.fromEntries(DECLINES.map((code) => [`payments_declined{code:${code}}`, ['count>=0']])),
  };
}

const errors = new Rate('errors');
const payments = new Counter('payments');
const captured = new Counter('payments_captured');
const capturedShare = new Rate('payments_captured_share');
const declined = new Counter('payments_declined');
const replayed = new Counter('payments_replayed');

// Counts how a payment ended and checks that the answer is about it; `moved` is what it debits if it is captured.
export function count(key, answer, moved) {
  errors.add(Boolean(answer.error));
  if (answer.error) {
    console.error(`${key}: ${answer.error}`);
    return;
  }
  const isCaptured = answer.status === 'PAYMENT_STATUS_CAPTURED';
  payments.add(1);
  capturedShare.add(isCaptured);
  if (isCaptured) captured.add(1);
  else declined.add(1, { code: (answer.code || '').replace('FAILURE_CODE_', '') });
  replayed.add(answer.replayed ? 1 : 0);
  check(answer, {
    'is decided': (of) => isCaptured || of.status === 'PAYMENT_STATUS_FAILED',
    'answers this key': (of) => of.key === key,
    'moves what was asked for': (of) => !isCaptured || !moved || Number(of.debited) === Number(moved),
  });
}

// Opens an account of `owner` and, with `funds`, funds it; the same `key` again changes nothing. One that something else
// opened is taken as it is.
export function open(api, key, account_id, owner_id, currency, funds) {
  const done = (what, answer, but) => {
    if (answer.error || (answer.code && answer.code !== but)) {
      throw new Error(`${what} ${account_id}: ${answer.error || answer.code}`);
    }
    return answer.code !== but;
  };
  const opened = api.open({ tx_id: `${key}-open-${account_id}`, account_id, owner_id, currency });
  if (!done('open', opened, 'FAILURE_CODE_ACCOUNT_EXISTS') || !funds) return;
  done('fund', api.deposit({ tx_id: `${key}-fund-${account_id}`, account_id, amount: { currency, amount: funds } }));
}

// The setup of a script that pays again and again. Unless CUSTOMER_ID says who pays, a run opens and funds customers of its
// own and one payee: it needs no demo, never runs dry, and no one customer pays so often that the risk rules object.
export function setup(api) {
  const run = env('TX_ID', `k6-${Date.now().toString(36)}`);
  const customer = env('CUSTOMER_ID', '');
  if (customer) return { run, customers: [customer], destination: '' };
  const currency = env('CURRENCY', 'USD');
  const customers = Array.from({ length: Number(env('CUSTOMERS', '100')) }, (_, n) => `${run}-c${n + 1}`);
  for (const owner of customers) open(api, run, `${owner}-${currency}`, owner, currency, FUNDS);
  const destination = `${run}-payee-${currency}`;
  open(api, run, destination, `${run}-payee`, currency, '');
  return { run, customers, destination };
}

// One payment of such a script: always the same for one run, virtual user and iteration, so that it can be replayed.
export function pay(api, { run, customers, destination }) {
  const key = `${run}-${__VU}-${__ITER}`;
  const customer_id = customers[(__VU + __ITER) % customers.length];
  const amount = { currency: env('CURRENCY', 'USD'), amount: env('AMOUNT', '250') };
  const body = { customer_id, amount };
  if (destination) body.destination_account = destination;
  // Out of a wallet in another currency (CUSTOMER_ID) it debits what the rate says.
  count(key, api.pay(key, body), destination && amount.amount);
}
