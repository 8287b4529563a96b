"""Process 1 of the cluster's PID namespace: collects what ends, until it is killed.

Run as a script by machine.py, with the state folder as its argument, by which it is found again.
When it dies the kernel kills every process of the namespace: that is how `down` leaves none.
"""

import os
import signal


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    print("ready", flush=True)  # noqa: T201  (read by machine.py through a pipe)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


if __name__ == "__main__":
    main()
