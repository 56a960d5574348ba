// CreatePayment over gRPC with k6: each virtual user pays again and again, under keys of its own.
//
//   TARGET       where PaymentsService listens                       127.0.0.1:9091
//   WITH         "reflection" asks the server what it has; "file" reads proto/   reflection
//   TX_ID        begins every key; the same again replays            k6-<time of the start>
//   CUSTOMER_ID  who pays                                            CUST-1
//   AMOUNT       how much, in CURRENCY                               250
//   CURRENCY     ISO 4217                                            USD
//   VUS          virtual users                                       10
//   DURATION     how long                                            10s
//   CAPTURED_MIN the threshold on payments that moved money          1
//   P95_MS       the threshold on p95, in milliseconds               100
//
// A declined payment is an answer and counts by its status; only a failed RPC is an error.
import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';
import grpc from 'k6/net/grpc';

const env = (name, otherwise) => __ENV[name] || otherwise;
const withFile = env('WITH', 'reflection') === 'file';

// k6 shows a tag's share only where it has a threshold: these hold always.
const DECLINES = ['INSUFFICIENT_FUNDS', 'RISK_REJECTED', 'FX_RATE_STALE', 'FX_RATE_UNAVAILABLE', 'ACCOUNT_FROZEN'];

export const options = {
  vus: Number(env('VUS', '10')),
  duration: env('DURATION', '10s'),
  thresholds: {
    rpc_errors: ['rate==0'],
    checks: ['rate==1'],
    grpc_req_duration: [`p(95)<${env('P95_MS', '100')}`],
    payments: ['count>0'],
    ...Object.fromEntries(DECLINES.map((code) => [`payments_declined{code:${code}}`, ['count>=0']])),
    payments_captured: [`count>=${env('CAPTURED_MIN', '1')}`],
  },
};

const errors = new Rate('rpc_errors');
const payments = new Counter('payments');
const captured = new Counter('payments_captured');
const declined = new Counter('payments_declined');
const replayed = new Counter('payments_replayed');

const client = new grpc.Client();
if (withFile) client.load([import.meta.resolve('../../proto').replace('file://', '')], 'payments/v1/payments.proto');

export function setup() {
  return { run: env('TX_ID', `k6-${Date.now().toString(36)}`) };
}

let connected = false;

export default function ({ run }) {
  if (!connected) {
    client.connect(env('TARGET', '127.0.0.1:9091'), { plaintext: true, reflect: !withFile });
    connected = true;
  }
  const answer = client.invoke('payments.v1.PaymentsService/CreatePayment', {
    tx_id: `${run}-${__VU}-${__ITER}`,
    customer_id: env('CUSTOMER_ID', 'CUST-1'),
    amount: { currency: env('CURRENCY', 'USD'), amount: env('AMOUNT', '250') },
  });
  const answered = answer.status === grpc.StatusOK;
  errors.add(!answered);
  if (!answered) {
    console.error(`${run}-${__VU}-${__ITER}: ${answer.error && answer.error.message}`);
    return;
  }
  const payment = answer.message.payment;
  payments.add(1);
  if (payment.status === 'PAYMENT_STATUS_CAPTURED') captured.add(1);
  else declined.add(1, { code: payment.failure.code.replace('FAILURE_CODE_', '') });
  replayed.add(payment.replayed ? 1 : 0);
  check(payment, {
    'is decided': (of) => ['PAYMENT_STATUS_CAPTURED', 'PAYMENT_STATUS_FAILED'].includes(of.status),
    'answers this key': (of) => of.txId === `${run}-${__VU}-${__ITER}`,
  });
}
