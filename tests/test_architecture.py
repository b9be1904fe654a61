"""The queue-task mapping against the tasks: a task without a queue, a name that SQS refuses."""

from app.worker import app
from be_queue.testing import build_functional_tests

FunctionalTests = build_functional_tests(app)
