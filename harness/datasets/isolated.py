"""Reading HTML and PDF in a process of its own, which may be slow, grow or crash alone.

Requests and answers are lines of JSON over pipes; a request is followed by the bytes of the page.
The process is bounded in memory, and killed when an answer takes too long.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import Any, Literal

from longspan.harness.datasets.input_files import UnreadableError
from longspan.harness.datasets.pages import html_text, pdf_text
from longspan.harness.errors import one_line

PageFormat = Literal["html", "pdf"]
MAX_MEMORY_BYTES = 4 << 30
_MAX_REASON_CHARS = 200


class PageReader:
    """Gives the text of pages; starts its process with the first one."""

    def __init__(self, timeout_seconds: float, max_pages: int) -> None:
        self._timeout_seconds, self._max_pages = timeout_seconds, max_pages
        self._process: subprocess.Popen[bytes] | None = None
        self._waiter = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> PageReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._waiter.shutdown()

    def read(self, data: bytes, page_format: PageFormat) -> tuple[str, str]:
        """Returns title and text.

        Raises:
            UnreadableError: the page cannot be read, or takes too long or too much memory.
        """
        answer = self._waiter.submit(self._ask, data, page_format)
        try:
            found = answer.result(self._timeout_seconds)
        except FutureTimeoutError:
            self._stop()
            raise UnreadableError(f"not read within {self._timeout_seconds:g} s") from None
        except (OSError, ValueError) as error:
            self._stop()
            raise UnreadableError("its reader ran out of memory or crashed") from error
        if "reason" in found:
            raise UnreadableError(found["reason"])
        return found["title"], found["text"]

    def _ask(self, data: bytes, page_format: PageFormat) -> dict[str, str]:
        process = self._process or self._start()
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise OSError("the process has no pipes")
        request = {"format": page_format, "bytes": len(data), "max_pages": self._max_pages}
        stdin.write(json.dumps(request).encode() + b"\n" + data)
        stdin.flush()
        found: dict[str, str] = json.loads(stdout.readline())
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            # -P: the current folder may be one of documents, and its `json.py` none of ours.
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _serve() -> None:
    """Answers requests until there are no more."""
    import resource  # of Unix only; the process that asks does without

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    source = sys.stdin.buffer
    # Libraries may print; the pipe is for answers only.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while line := source.readline():
        request = json.loads(line)
        data = source.read(request["bytes"])
        answers.write(json.dumps(_answer(request, data)).encode() + b"\n")
        answers.flush()


def _answer(request: dict[str, Any], data: bytes) -> dict[str, str]:
    readers: dict[str, Callable[[], tuple[str, str]]] = {
        "html": lambda: html_text(data),
        "pdf": lambda: pdf_text(data, request["max_pages"]),
    }
    try:
        title, text = readers[request["format"]]()
    except ImportError as error:
        return {"reason": f"needs {error.name}: pip install longspan[synth]"}
    except UnreadableError as error:
        return {"reason": one_line(str(error), _MAX_REASON_CHARS)}
    except MemoryError:
        return {"reason": "takes too much memory"}
    except RecursionError:
        return {"reason": "nested too deeply"}
    # The libraries' own mistakes on odd pages are of any kind, and cost one page.
    except Exception as error:
        return {
            "reason": one_line(
                f"its reader failed ({type(error).__name__}: {error})", _MAX_REASON_CHARS
            )
        }
    return {"title": title, "text": text}


if __name__ == "__main__":
    _serve()
