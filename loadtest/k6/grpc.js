// The calls of the scripts over gRPC.
//
//   TARGET  where PaymentsService listens                            127.0.0.1:9091
//   WALLET  where WalletService listens                              127.0.0.1:9093
//   WITH    "reflection" asks the server what it has; "file" reads proto/   reflection
import grpc from 'k6/net/grpc';
import { env } from './lib.js';

const withFile = env('WITH', 'reflection') === 'file';

function service(name, proto, address) {
  const client = new grpc.Client();
  if (withFile) client.load([import.meta.resolve('../../proto').replace('file://', '')], proto);
  let connected = false;
  return (method, message) => {
    if (!connected) {
      client.connect(address, { plaintext: true, reflect: !withFile });
      connected = true;
    }
    const answer = client.invoke(`${name}/${method}`, message);
    if (answer.status === grpc.StatusOK) return answer.message;
    return { error: (answer.error && answer.error.message) || `status ${answer.status}` };
  };
}

const payments = service('payments.v1.PaymentsService', 'payments/v1/payments.proto', env('TARGET', '127.0.0.1:9091'));
const wallet = service('wallet.v1.WalletService', 'wallet/v1/wallet.proto', env('WALLET', '127.0.0.1:9093'));

const code = (of) => (of.failure ? of.failure.code : '');
const operation = (answer) => (answer.error ? answer : { code: code(answer.operation) });

export const overGrpc = {
  duration: 'grpc_req_duration',
  open: (body) => operation(wallet('OpenAccount', body)),
  deposit: (body) => operation(wallet('Deposit', body)),
  pay(tx_id, body) {
    const { error, payment } = payments('CreatePayment', { tx_id, ...body });
    if (error) return { error };
    const debited = payment.debited && payment.debited.amount;
    return { key: payment.txId, status: payment.status, code: code(payment), debited, replayed: payment.replayed };
  },
};
