"""Limits how fast queues are polled, over all workers together.

Permits are asked for before messages: what may not run yet stays in SQS, and waiting costs neither
visibility time nor a receive attempt.

    plan -> backends -> one limiter a queue: a service (Envoy's protocol), Redis or memory
    receives -> gate -> permits of a queue -> its limiter

A limit is one of windows that begin at full seconds, minutes, hours or days by the clock, as those
of Envoy's service do, so it means the same in each backend.
"""
