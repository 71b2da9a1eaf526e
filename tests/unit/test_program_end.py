"""The end of the program: nothing that a command or a plugin still has to do is lost, however quickly it ends."""

from __future__ import annotations

import subprocess
import sys


def ending(last_words: str) -> subprocess.CompletedProcess[str]:
    """A wlmctl whose command line does what is given and exits with 3."""
    program = (
        "import atexit, sys, threading, time\n"
        "import wlmctl.cli.main\n"
        "def command_line():\n"
        f"    {last_words}\n"
        "    sys.exit(3)\n"
        "wlmctl.cli.main.main = command_line\n"
        "from wlmctl.__main__ import main\n"
        "main()\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_what_was_written_last_arrives() -> None:
    done = ending("sys.stdout.write('result'); sys.stderr.write('note')")
    assert (done.returncode, done.stdout, done.stderr) == (3, "result", "note")


def test_what_a_plugin_registered_for_the_end_is_called() -> None:
    done = ending("atexit.register(print, 'cleared up')")
    assert (done.returncode, done.stdout) == (3, "cleared up\n")


def test_a_thread_that_must_be_waited_for_is_waited_for() -> None:
    done = ending("threading.Thread(target=lambda: (time.sleep(0.3), print('done'))).start()")
    assert (done.returncode, done.stdout) == (3, "done\n")
