"""``python -m be_queue.cli``, where be-queue is not installed but copied, as in an image."""

from be_queue.cli import main

main(prog_name='be-queue')
