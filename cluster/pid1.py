"""Process 1 of the cluster's PID namespace: collects what ends, until it is killed.

Run as a script by machine.py. Its arguments: the state folder, by which it is found again, and the
descriptor of a pipe on which it says that it is ready.
When it dies the kernel kills every process of the namespace: that is how `down` leaves none.
"""

import os
import signal
import sys


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    ready = int(sys.argv[2])
    os.write(ready, b"ready\n")
    os.close(ready)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


if __name__ == "__main__":
    main()
