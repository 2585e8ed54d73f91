"""What every inbox promises, whatever it is made of: one suite for all implementations.

An implementation's tests inherit each class, and beside it a `Contract` of their own, which says how its storage is
opened. They name these classes through this package: a class that a test module imports is run as a test there.
"""

from tests.store.inbox_contract.acknowledging import AcknowledgingContract
from tests.store.inbox_contract.concurrency import ConcurrencyContract
from tests.store.inbox_contract.contract import Contract
from tests.store.inbox_contract.devices import DeviceContract
from tests.store.inbox_contract.reading import ReadingContract
from tests.store.inbox_contract.sending import DupContract, ReceiptContract

__all__ = [
    "AcknowledgingContract",
    "ConcurrencyContract",
    "Contract",
    "DeviceContract",
    "DupContract",
    "ReadingContract",
    "ReceiptContract",
]
