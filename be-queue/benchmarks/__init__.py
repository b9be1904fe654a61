"""This transport beside stock Celery on SQS and Celery on Redis: see README.md."""
