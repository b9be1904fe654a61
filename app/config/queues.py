"""This worker's queue-task mapping: the first file to edit.

Producers need the same entries. Names on SQS are ``{env}-{queue_name}``, and locally
``{username}-{env}-{queue_name}``.
"""

from be_queue import Queue, Queues

QUEUES = Queues(
    [
        Queue(
            queue_name='python-backend-worker-template-add',
            task='add',
            ratelimit_name='python_backend_worker_template_add',
        ),
        Queue(
            queue_name='python-backend-worker-template-retry-demo',
            task='retry_demo',
        ),
        Queue(
            queue_name='python-backend-worker-template-slow',
            task='slow',
        ),
    ],
)
