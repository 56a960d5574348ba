// CreatePayment over REST with k6: each virtual user pays again and again, under keys of its own.
//
//   GATEWAY      where REST listens                                  http://127.0.0.1:8080
//   TX_ID        begins every key; the same again replays            k6-<time of the start>
//   CUSTOMER_ID  who pays                                            CUST-1
//   AMOUNT       how much, in CURRENCY                               250
//   CURRENCY     ISO 4217                                            USD
//   VUS          virtual users                                       10
//   DURATION     how long                                            10s
//   CAPTURED_MIN the threshold on payments that moved money          1
//   P95_MS       the threshold on p95, in milliseconds               100
//
// A declined payment is an answer and counts by its status; only a problem is an error.
import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const env = (name, otherwise) => __ENV[name] || otherwise;

// k6 shows a tag's share only where it has a threshold: these hold always.
const DECLINES = ['INSUFFICIENT_FUNDS', 'RISK_REJECTED', 'FX_RATE_STALE', 'FX_RATE_UNAVAILABLE', 'ACCOUNT_FROZEN'];

export const options = {
  vus: Number(env('VUS', '10')),
  duration: env('DURATION', '10s'),
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_req_duration: [`p(95)<${env('P95_MS', '100')}`],
    payments: ['count>0'],
    ...Object.fromEntries(DECLINES.map((code) => [`payments_declined{code:${code}}`, ['count>=0']])),
    payments_captured: [`count>=${env('CAPTURED_MIN', '1')}`],
  },
};

const payments = new Counter('payments');
const captured = new Counter('payments_captured');
const declined = new Counter('payments_declined');
const replayed = new Counter('payments_replayed');

export function setup() {
  return { run: env('TX_ID', `k6-${Date.now().toString(36)}`) };
}

export default function ({ run }) {
  const key = `${run}-${__VU}-${__ITER}`;
  const body = {
    customer_id: env('CUSTOMER_ID', 'CUST-1'),
    amount: { currency: env('CURRENCY', 'USD'), amount: env('AMOUNT', '250') },
  };
  const answer = http.post(`${env('GATEWAY', 'http://127.0.0.1:8080')}/v1/payments`, JSON.stringify(body), {
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
  });
  if (answer.status !== 200 && answer.status !== 201) {
    console.error(`${key}: ${answer.status} ${answer.body || answer.error}`);
    return;
  }
  const payment = answer.json('payment');
  payments.add(1);
  if (payment.status === 'PAYMENT_STATUS_CAPTURED') captured.add(1);
  else declined.add(1, { code: payment.failure.code.replace('FAILURE_CODE_', '') });
  replayed.add(answer.status === 200 ? 1 : 0);
  check(payment, {
    'is decided': (of) => ['PAYMENT_STATUS_CAPTURED', 'PAYMENT_STATUS_FAILED'].includes(of.status),
    'answers this key': (of) => of.tx_id === key,
  });
}
