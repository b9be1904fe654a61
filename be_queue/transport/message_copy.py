"""Copies a message on SQS: the same body and attributes, byte for byte, with another delay."""

from __future__ import annotations

from typing import Any

__all__ = ['copy_of', 'with_copied_attributes']


def copy_of(message: dict[str, Any], delay: int) -> dict[str, Any]:
    """Return what SendMessage takes for a copy.

    Arguments:
        message: as SQS returned it.
        delay: in seconds, at most 900.
    """
    copy = {'MessageBody': message['Body'], 'DelaySeconds': delay}
    attributes = message.get('MessageAttributes')
    if attributes:
        # SQS returns empty lists with them, and accepts none.
        copy['MessageAttributes'] = {
            name: {key: part for key, part in value.items() if not key.endswith('ListValues')}
            for name, value in attributes.items()
        }
    system = message.get('Attributes') or {}
    if 'MessageGroupId' in system:  # SQS is fair between groups
        copy['MessageGroupId'] = system['MessageGroupId']
    if 'AWSTraceHeader' in system:
        trace = {'DataType': 'String', 'StringValue': system['AWSTraceHeader']}
        copy['MessageSystemAttributes'] = {'AWSTraceHeader': trace}
    return copy


def with_copied_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes to receive with each message: the given ones, and those of a copy.

    Arguments:
        attributes: their names, as ReceiveMessage takes them.
    """
    system = attributes.get('MessageSystemAttributeNames') or []
    return attributes | {
        'MessageAttributeNames': ['All'],
        'MessageSystemAttributeNames': sorted({*system, 'AWSTraceHeader', 'MessageGroupId'}),
    }
