#!/usr/bin/env python3
"""The demo's page in a real browser, used as a person would.

  tests/browser.py BINARY [FOLDER]   FOLDER keeps page.png, page.html and demo.log [default: beside BINARY]

Starts `outlier demo`, opens its page in headless Chromium, signs in, waits for tiles, charts and the live tail, presses the
button that enforces an anomaly, waits until the page shows it with its score, keeps a screenshot, and stops the demo
with ctrl-C's signal. Fails on a script error too. Needs Chromium only: CHROMIUM names it, else `chromium`.

Invariant: every wait has a limit, and a failure says what did not come.
"""

import base64
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FIELD = "country"
# Another port than a demo of your own.
LISTEN = os.environ.get("OUTLIER_BROWSER_LISTEN", "127.0.0.1:18090")
TOKEN = "the browser's & own"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--window-size=1280,1500", "--remote-debugging-pipe",
]
# What the page must show, as JavaScript, and for how many seconds it may take.
SHOWN = [
    ("a tile with values for each of the five flag groups", 180,
     "[...document.querySelectorAll('#tiles .tile .against')].filter(e => e.textContent.startsWith('expected')).length === 5"),
    ("a chart with a line", 60, "document.querySelectorAll('#charts .main-svg .js-line').length > 0"),
    ("records in the live tail", 60, "document.querySelectorAll('#tail tbody tr').length > 0"),
    ("the connection is live", 60, "document.getElementById('connection').dataset.state === 'live'"),
    ("the history is scored: windows close now", 180,
     "fetch('/api/overview').then(a => a.json()).then(o => o.pipelines[0].until > Date.now() - 60_000)"),
]
PRESS = f"""(() => {{
  window.asked = Date.now();
  document.getElementById('field').value = '{FIELD}';
  document.querySelector('#inject button').click();
  return true;
}})()"""
ENFORCED = [
    ("the enforced anomaly is scored", 90,
     "fetch('/api/anomalies').then(a => a.json()).then(a => "
     f"a.anomalies.some(x => x.detector === '{FIELD}' && x.end >= window.asked))"),
    ("the page lists it with its score", 30,
     "(window.row = [...document.querySelectorAll('#anomalies tbody tr:has(.link)')].find(row => "
     f"row.querySelector('.link').textContent === '{FIELD}' "
     "&& Date.parse(row.cells[0].title.split(' to ')[1]) >= window.asked)) "
     "&& Number(window.row.querySelector('.scorebox').textContent) > 0"),
    ("its link leads to a chart that marks it", 30,
     "window.row.querySelector('.link').click(), "
     f"document.getElementById('chart-title').textContent.includes('{FIELD}') "
     "&& document.querySelectorAll('#charts .scatterlayer .points path').length > 0"),
]


class Failed(Exception):
    """What went wrong, for people."""


class Browser:
    """Chromium, spoken to over its debugging pipe: JSON messages that end in a zero byte."""

    def __init__(self, program, profile, log):
        commands, self.out = os.pipe()
        self.into, events = os.pipe()
        shell = f'exec "$@" 3<&{commands} 4>&{events}'
        call = ["bash", "-c", shell, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(call, pass_fds=(commands, events), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(commands)
        os.close(events)
        self.buffer, self.last, self.session, self.errors = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, limit=60, **params):
        """Sends a command and answers its result."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + limit
        while True:
            answer = self.next(deadline, method)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise Failed(f"the browser refused {method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def next(self, deadline, waiting_for):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.into], [], [], left)[0]:
                raise Failed(f"the browser did not answer {waiting_for}")
            piece = os.read(self.into, 1 << 20)
            if not piece:
                raise Failed("the browser ended")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def note(self, event):
        """Keeps what the page's scripts and policies complain about."""
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def evaluate(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            return None
        return result["result"].get("value")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def until(what, limit, done, demo):
    """Waits for `done`, no longer than `limit` seconds and only while the demo runs."""
    start = time.monotonic()
    while not done():
        if demo.poll() is not None:
            raise Failed(f"the demo ended with {demo.returncode} before {what}")
        if time.monotonic() - start > limit:
            raise Failed(f"{what}: not within {limit} s")
        time.sleep(0.5)
    print(f"browser: {what} (after {time.monotonic() - start:.0f} s)", flush=True)


def visit(browser, demo, out):
    def opened():
        return "errorText" not in browser.call("Page.navigate", url=f"http://{LISTEN}/")

    until("the page opens", 120, opened, demo)
    until("the page asks for the token", 30, lambda: browser.evaluate("!!document.querySelector('#token')"), demo)
    browser.errors.clear()  # those of attempts before the demo listened, and the 401
    browser.evaluate(f"document.querySelector('#token').value = {json.dumps(TOKEN)}")
    browser.evaluate("document.querySelector('form button').click()")
    for what, limit, script in SHOWN:
        until(what, limit, lambda: browser.evaluate(script), demo)
    if not browser.evaluate(PRESS):
        raise Failed("the page has no button for an anomaly")
    for what, limit, script in ENFORCED:
        until(what, limit, lambda: browser.evaluate(script), demo)
    (out / "page.html").write_text(browser.evaluate("document.documentElement.outerHTML"), encoding="utf-8")
    shot = browser.call("Page.captureScreenshot", format="png")
    (out / "page.png").write_bytes(base64.b64decode(shot["data"]))
    if browser.errors:
        raise Failed("the page's scripts complain:\n  " + "\n  ".join(browser.errors[:10]))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    binary = pathlib.Path(sys.argv[1]).resolve()
    out = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else binary.parent / "browser").resolve()
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        sys.exit("browser: there is no chromium; install it or set CHROMIUM")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work, \
            open(out / "demo.log", "wb") as log, open(out / "chromium.log", "wb") as chatter:
        demo = subprocess.Popen([binary, "demo", "--listen", LISTEN], cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env={**os.environ, "OUTLIER__SERVE__TOKEN": TOKEN})
        browser = None
        try:
            browser = Browser(program, pathlib.Path(work) / "profile", chatter)
            visit(browser, demo, out)
            demo.send_signal(signal.SIGINT)
            if demo.wait(30) != 0:
                raise Failed(f"the demo ended with {demo.returncode} after ctrl-C")
        except (Failed, subprocess.TimeoutExpired) as failure:
            print(f"--- the end of {out / 'demo.log'}", file=sys.stderr)
            print("\n".join((out / "demo.log").read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)
            sys.exit(f"browser: FAILED: {failure}")
        finally:
            if browser:
                browser.close()
            if demo.poll() is None:
                demo.kill()
    print(f"browser: ok, screenshot in {out / 'page.png'}")


if __name__ == "__main__":
    main()
