"""The parts together, and their end."""

from __future__ import annotations

from kombu.transport import SQS

from be_queue.transport.holding.stopping import await_receives, release_unstarted
from be_queue.transport.receiving.channel import ReceivingChannel
from be_queue.transport.receiving.dispatching import Receiving

__all__ = ['Channel', 'Transport']


class Channel(ReceivingChannel):
    """kombu's, in layers.

    ClientChannel <- DeclaringChannel <- SendingChannel <- GuardedChannel <- HoldingChannel
    <- ReceivingChannel <- Channel
    """

    @property
    def drain_timeout(self) -> float:
        """Seconds that the end waits for receives in flight: by default until SQS answers them."""
        given = self.transport_options.get('drain_timeout')
        return self.wait_time_seconds + 1.0 if given is None else float(given)

    def basic_cancel(self, consumer_tag: str) -> None:
        if self._hand_over(self.basic_cancel, consumer_tag):
            return
        super().basic_cancel(consumer_tag)
        if not self._consumers and self.receiving is not None and not self._closing:
            self._stop_consuming(self.receiving)

    def close(self) -> None:
        self._closing = True
        self.visibility.stop()
        if self.receiving is not None:
            self.receiving.stop()
        self.flush_acks()
        super().close()

    def _stop_consuming(self, receiving: Receiving) -> None:
        """Do what needs the event loop, which may not turn any more."""
        receiving.stop()
        self.visibility.pause()
        self.hops.stop()
        release_unstarted(self)
        self.visibility.go_on_in_thread()
        await_receives(self, self.drain_timeout)
        self._loop_turns = False
        self._take_over()
        self.flush_acks()


class Transport(SQS.Transport):
    """For Celery's ``broker_transport``, as ``be_queue.transport:Transport``."""

    Channel = Channel
