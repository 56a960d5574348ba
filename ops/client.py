"""Pays 250 USD out of CUST-1's IDR wallet through gRPC, reads the payment back, and shows the account.

Usage: python ops/client.py [TX_ID]     (pip install grpcio grpcio-tools; run it from the repository's root)
"""

import sys
import tempfile
import uuid

import grpc
from grpc_tools import protoc
import grpc_tools

# Generate the stubs from the protos beside this file, into a folder that goes away.
stubs = tempfile.TemporaryDirectory()
protos = ["common/v1/common.proto", "payments/v1/payments.proto", "wallet/v1/wallet.proto"]
include = [f"-I{grpc_tools.__path__[0]}/_proto", "-Iproto"]
if protoc.main(["", *include, f"--python_out={stubs.name}", f"--grpc_python_out={stubs.name}", *protos]):
    sys.exit("the protos do not compile")
sys.path.insert(0, stubs.name)

from common.v1 import common_pb2
from payments.v1 import payments_pb2, payments_pb2_grpc
from wallet.v1 import wallet_pb2, wallet_pb2_grpc

payments = payments_pb2_grpc.PaymentsServiceStub(grpc.insecure_channel("127.0.0.1:9091"))
wallet = wallet_pb2_grpc.WalletServiceStub(grpc.insecure_channel("127.0.0.1:9093"))

request = payments_pb2.CreatePaymentRequest(
    tx_id=sys.argv[1] if len(sys.argv) > 1 else f"py-{uuid.uuid4()}",
    customer_id="CUST-1",
    amount=common_pb2.Money(currency="USD", amount="250.00"),
)
payment = payments.CreatePayment(request, timeout=10).payment
status = payments_pb2.PaymentStatus.Name(payment.status)
print(f"{payment.payment_id} {status} lsn={payment.lsn} replayed={payment.replayed}")
if payment.status == payments_pb2.PAYMENT_STATUS_FAILED:
    sys.exit(f"declined: {payment.failure.message}")
print(f"debited {payment.debited.amount} {payment.debited.currency} from {payment.source_account}")
print(f"credited {payment.credited.amount} {payment.credited.currency} to {payment.destination_account}")
for leg in payment.fx:
    print(f"rate {leg.rate} (mid {leg.mid}, {leg.spread_bps} bps)")

again = payments.CreatePayment(request, timeout=10).payment
assert again.replayed and again.payment_id == payment.payment_id
account = wallet.GetAccount(wallet_pb2.GetAccountRequest(account_id=payment.source_account), timeout=10).account
print(f"{account.account_id} has {account.available.amount} {account.available.currency} available")
