"""Redrive policies as SQS writes them."""

from __future__ import annotations

import json
import shlex

from be_queue.transport.redrive_policy import Policy

ARN = 'arn:aws-cn:sqs:cn-north-1:123456789012:err-prod-add.fifo'
POLICY = Policy(ARN, 5)


def test_a_policy_is_read_however_sqs_writes_the_count() -> None:
    for count in (5, '5'):
        text = json.dumps({'maxReceiveCount': count, 'deadLetterTargetArn': ARN})
        assert Policy.parsed(text) == Policy.parsed(POLICY.attributes['RedrivePolicy']) == POLICY
    assert Policy.parsed('') is Policy.parsed(None) is None


def test_the_command_is_one_that_a_shell_understands() -> None:
    words = shlex.split(POLICY.command('https://host/1/q'))
    assert words[:5] == ['aws', 'sqs', 'set-queue-attributes', '--queue-url', 'https://host/1/q']
    assert json.loads(words[6]) == POLICY.attributes
