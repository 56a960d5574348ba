// CreatePayment over REST with k6: each virtual user pays again and again, under keys of its own. lib.js and rest.js say
// more settings.
//
//   CUSTOMER_ID  who pays, out of money that is there                customers that the run opens and funds
//   AMOUNT       how much, in CURRENCY                               250
//   CURRENCY     ISO 4217                                            USD
//   DURATION     how long                                            10s
import { env, pay, setup as open, thresholds } from './lib.js';
import { overRest } from './rest.js';

export const options = {
  vus: Number(env('VUS', '10')),
  duration: env('DURATION', '10s'),
  thresholds: thresholds(overRest.duration),
};

export const setup = () => open(overRest);

export default (run) => pay(overRest, run);
