"""A queue's redrive policy, and the ARN, URL and name of the queue that it leads to."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

__all__ = ['Policy', 'arn_beside', 'name_of', 'url_beside']


@dataclass(frozen=True)
class Policy:
    """A queue's ``RedrivePolicy``: after ``count`` receives a message moves to ARN ``target``."""

    target: str
    count: int

    def __str__(self) -> str:
        return f'maxReceiveCount {self.count} to {self.target}'

    @classmethod
    def parsed(cls, text: str | None) -> Policy | None:
        """Return the policy in the attribute of a queue; None when it has none."""
        if not text:
            return None
        fields = json.loads(text)
        # AWS returns the count as it was set, a number or a text.
        return cls(fields['deadLetterTargetArn'], int(fields['maxReceiveCount']))

    @property
    def attributes(self) -> dict[str, str]:
        """The policy as CreateQueue and SetQueueAttributes take it."""
        fields = {'deadLetterTargetArn': self.target, 'maxReceiveCount': self.count}
        return {'RedrivePolicy': json.dumps(fields)}

    def command(self, url: str) -> str:
        """Return the shell command that gives a queue this policy."""
        attributes = shlex.quote(json.dumps(self.attributes))
        return f'aws sqs set-queue-attributes --queue-url {url} --attributes {attributes}'


def arn_beside(arn: str, name: str) -> str:
    """Return the ARN of another queue in the same account and region."""
    return f'{arn.rpartition(":")[0]}:{name}'


def url_beside(url: str, name: str) -> str:
    """Return the URL of another queue in the same account and region."""
    return f'{url.rpartition("/")[0]}/{name}'


def name_of(arn_or_url: str) -> str:
    """Return the SQS name of the queue with an ARN or a URL."""
    return arn_or_url.replace(':', '/').rpartition('/')[2]
