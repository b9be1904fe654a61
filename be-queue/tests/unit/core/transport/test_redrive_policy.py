"""Redrive policies as SQS writes them."""

from __future__ import annotations

import json
import shlex

import pytest

from be_queue.transport.redrive_policy import Policy, arn_beside, name_of, url_beside

ARN = 'arn:aws-cn:sqs:cn-north-1:123456789012:err-prod-add.fifo'


@pytest.mark.parametrize('count', [5, '5'])
def test_a_policy_is_read_however_sqs_writes_the_count(count: object) -> None:
    policy = Policy(ARN, 5)
    text = json.dumps({'maxReceiveCount': count, 'deadLetterTargetArn': ARN})
    assert Policy.parsed(text) == Policy.parsed(policy.attributes['RedrivePolicy']) == policy
    assert Policy.parsed('') is Policy.parsed(None) is None


def test_the_command_is_one_that_a_shell_understands() -> None:
    words = shlex.split(Policy(ARN, 5).command('https://host/1/q'))
    assert words[:5] == ['aws', 'sqs', 'set-queue-attributes', '--queue-url', 'https://host/1/q']
    assert json.loads(words[6]) == Policy(ARN, 5).attributes


def test_names_and_neighbours() -> None:
    assert name_of(ARN) == 'err-prod-add.fifo'
    assert name_of('https://sqs.us-west-2.amazonaws.com/123456789012/prod-add') == 'prod-add'
    assert arn_beside(ARN, 'prod-add.fifo') == ARN.replace('err-', '')
    assert url_beside('https://host/1/prod-add', 'err') == 'https://host/1/err'
