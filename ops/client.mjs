// Pays 250 USD out of CUST-1's IDR wallet through gRPC, reads the payment back, and shows the account.
//
// Usage: node ops/client.mjs [TX_ID]     (npm install --no-save @grpc/grpc-js @grpc/proto-loader; run it from the
// repository's root)
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { promisify } from "node:util";

// Packages are looked for where the program is run.
const require = createRequire(`${process.cwd()}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = ["payments/v1/payments.proto", "wallet/v1/wallet.proto"];
// Names as in the protos; 64-bit numbers as text, since JavaScript's own numbers end at 2^53.
const options = { includeDirs: ["proto"], keepCase: true, longs: String, enums: String, defaults: true };
const { payments, wallet } = grpc.loadPackageDefinition(loader.loadSync(protos, options));
const plain = grpc.credentials.createInsecure();

/** A client whose calls are promises with a deadline. */
const client = (Service, address) => {
  const stub = new Service(address, plain);
  return (method, request) => promisify(stub[method].bind(stub))(request, { deadline: Date.now() + 10_000 });
};
const pay = client(payments.v1.PaymentsService, "127.0.0.1:9091");
const account = client(wallet.v1.WalletService, "127.0.0.1:9093");

const request = {
  tx_id: process.argv[2] ?? `node-${randomUUID()}`,
  customer_id: "CUST-1",
  amount: { currency: "USD", amount: "250.00" },
};
const { payment } = await pay("CreatePayment", request);
console.log(`${payment.payment_id} ${payment.status} lsn=${payment.lsn} replayed=${payment.replayed}`);
if (payment.status === "PAYMENT_STATUS_FAILED") throw new Error(`declined: ${payment.failure.message}`);
console.log(`debited ${payment.debited.amount} ${payment.debited.currency} from ${payment.source_account}`);
console.log(`credited ${payment.credited.amount} ${payment.credited.currency} to ${payment.destination_account}`);
for (const leg of payment.fx) console.log(`rate ${leg.rate} (mid ${leg.mid}, ${leg.spread_bps} bps)`);

// The same tx_id is the same payment.
const again = (await pay("CreatePayment", request)).payment;
assert(again.replayed && again.payment_id === payment.payment_id);
const { account: payer } = await account("GetAccount", { account_id: payment.source_account });
console.log(`${payer.account_id} has ${payer.available.amount} ${payer.available.currency} available`);
process.exit(0);
