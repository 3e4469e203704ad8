"""An internal service on customerd's gRPC side, with the published grpcio packages: stubs made from the proto files, health,
reflection, a creation under an idempotency key, decoded error details, and the event stream.

Usage: python ledger.py 127.0.0.1:50051 OPERATOR_TOKEN PROGRAMME_ID
"""

import itertools
import pathlib
import sys
import tempfile
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

PROTOS = pathlib.Path(__file__).parents[3] / "proto"


def stubs():
    """Compiles the contract and makes it importable. google.api comes with googleapis-common-protos."""
    out = tempfile.mkdtemp()
    files = [str(path) for folder in ("customerd", "rest_bridge") for path in sorted((PROTOS / folder).rglob("*.proto"))]
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", *files]) != 0:
        sys.exit("the proto files do not compile")
    sys.path.insert(0, out)


def refusal(call, code):
    """Makes a call that is refused with that status, and gives the details by their names."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()}: {error.details()}"
        details = {}
        for packed in rpc_status.from_call(error).details:
            message = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])()
            assert packed.Unpack(message)
            details[type(message).__name__] = message
        return details
    sys.exit(f"it was not refused with {code}")


def main():
    address, token, programme = sys.argv[1:]
    stubs()
    from customerd.v1 import customers_pb2, customers_pb2_grpc, webhooks_pb2, webhooks_pb2_grpc

    # An operator acts for any programme, and names it with every call.
    caller = (("authorization", f"Bearer {token}"), ("x-programme-id", programme))
    channel = grpc.insecure_channel(address)

    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert health.status == health_pb2.HealthCheckResponse.SERVING, health
    assert "customerd.v1.CustomerService" in ProtoReflectionDescriptorDatabase(channel).get_services()
    print("python grpcio: serving, and reflected")

    customers = customers_pb2_grpc.CustomerServiceStub(channel)
    key = (("idempotency-key", str(uuid.uuid4())),)
    request = customers_pb2.CreateCustomerRequest(
        chain_id="eip155:1:0x" + uuid.uuid4().hex + uuid.uuid4().hex[:8], external_id=str(uuid.uuid4())
    )
    created = customers.CreateCustomer(request, metadata=caller + key, timeout=30)
    again = customers.CreateCustomer(request, metadata=caller + key, timeout=30)
    assert created == again, "the same key gives the same answer"
    print("python grpcio: a customer, once under its idempotency key")

    wrong = customers_pb2.CreateCustomerRequest(chain_id="nope", external_id="u")
    details = refusal(
        lambda: customers.CreateCustomer(wrong, metadata=caller, timeout=30), grpc.StatusCode.INVALID_ARGUMENT
    )
    violation = details["BadRequest"].field_violations[0]
    assert details["ErrorInfo"].reason == "VALIDATION_FAILED", details
    assert (violation.field, violation.reason) == ("chainId", "INVALID_CHAIN_ID"), violation
    nobody = customers_pb2.GetCustomerRequest(customer_id=str(uuid.uuid4()))
    details = refusal(lambda: customers.GetCustomer(nobody, metadata=caller, timeout=30), grpc.StatusCode.NOT_FOUND)
    assert details["ErrorInfo"].reason == "CUSTOMER_NOT_FOUND", details
    print("python grpcio: refusals with their details")

    # From the beginning, until the new customer's event has come; a consumer stores each cursor and goes on from it.
    stream = webhooks_pb2_grpc.WebhookServiceStub(channel).WatchEvents(
        webhooks_pb2.WatchEventsRequest(types=["customer.updated"]), metadata=caller, timeout=30
    )
    event = next(itertools.filterfalse(lambda event: event.id != created.id, stream))
    assert (event.status, event.version) == ("initiating", 1) and event.cursor, event
    stream.cancel()
    print("python grpcio: its event on the stream")


main()
