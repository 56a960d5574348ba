// CreatePayment over gRPC with k6: each virtual user pays again and again, under keys of its own. lib.js and grpc.js say
// more settings.
//
//   CUSTOMER_ID  who pays, out of money that is there                customers that the run opens and funds
//   AMOUNT       how much, in CURRENCY                               250
//   CURRENCY     ISO 4217                                            USD
//   DURATION     how long                                            10s
import { env, pay, setup as open, thresholds } from './lib.js';
import { overGrpc } from './grpc.js';

export const options = {
  vus: Number(env('VUS', '10')),
  duration: env('DURATION', '10s'),
  thresholds: thresholds(overGrpc.duration),
};

export const setup = () => open(overGrpc);

export default (run) => pay(overGrpc, run);
