// The calls of the scripts over REST.
//
//   GATEWAY  where REST listens                                      http://127.0.0.1:8080
import http from 'k6/http';
import { env } from './lib.js';

function post(path, key, body) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const answer = http.post(`${env('GATEWAY', 'http://127.0.0.1:8080')}${path}`, JSON.stringify(body), { headers });
  if (answer.status === 200 || answer.status === 201) return { replayed: answer.status === 200, ...answer.json() };
  return { error: `${answer.status} ${answer.body || answer.error}` };
}

const code = (of) => (of.failure ? of.failure.code : '');
const operation = (answer) => (answer.error ? answer : { code: code(answer.operation) });

export const overRest = {
  duration: 'http_req_duration',
  open: ({ tx_id, ...body }) => operation(post('/v1/accounts', tx_id, body)),
  deposit: ({ tx_id, ...body }) => operation(post('/v1/deposits', tx_id, body)),
  pay(tx_id, body) {
    const { error, payment, replayed } = post('/v1/payments', tx_id, body);
    if (error) return { error };
    const debited = payment.debited && payment.debited.amount;
    return { key: payment.tx_id, status: payment.status, code: code(payment), debited, replayed };
  },
};
