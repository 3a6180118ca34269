"""The server of a page: for this computer, and for who was given its address, alone."""

import hmac
import logging
import secrets
import signal
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
from werkzeug.serving import WSGIRequestHandler, make_server

from cellzoo.errors import UsageError, UserError
from cellzoo.files import finite, lock
from cellzoo.labelling.answers import Answer, SeenAnother
from cellzoo.labelling.page.session import Session
from cellzoo.section import parse_duration

log = logging.getLogger("cellzoo")

HOST = "127.0.0.1"
_STATIC = Path(__file__).parent / "static"
_LARGEST = 8 * 2**20  # bytes of a request: 100,000 dots
# Nothing is loaded from elsewhere, and nothing may show this page in a frame of its own.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(session: Session, token: str, port: int) -> flask.Flask:
    """The web application.

    The address that is printed holds a token, which becomes a cookie. Without it nothing is
    answered. Requests must name this computer as their host, so that a page elsewhere whose name
    leads here reads nothing; and those that change something must come from this page.

    Args:
        session: what the page shows.
        token: what only the user knows.
        port: that the server listens at.
    """
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    cookie = f"cellzoo_label_{port}"

    @app.before_request
    def check() -> Any:
        if flask.request.host not in hosts:
            return _refused(403, "This page answers to names of this computer alone.")
        given = flask.request.args.get("token") or flask.request.cookies.get(cookie) or ""
        if not hmac.compare_digest(given.encode(), token.encode()):
            return _refused(403, "Open the address that cellzoo label printed: it holds a token.")
        if flask.request.method != "GET":
            origin = flask.request.headers.get("Origin", "")
            if origin not in {f"http://{host}" for host in hosts}:
                return _refused(403, "Only the page itself may change labels.")
        return None

    @app.after_request
    def add_headers(response: flask.Response) -> flask.Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(UserError)
    def say(error: UserError) -> Any:
        return _refused(409 if isinstance(error, SeenAnother) else 400, str(error))

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Any:
        code = getattr(error, "code", 500)
        if code == 500:
            log.exception("the page asked for something that failed")
        return _refused(code, f"That did not work: {type(error).__name__}.")

    @app.get("/")
    def index() -> Any:
        if "token" in flask.request.args:  # the address bar and the history shall not hold it
            response = flask.redirect("/")
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return response
        return flask.send_from_directory(_STATIC, "label.html")

    @app.get("/static/<name>")
    def static_file(name: str) -> Any:
        return flask.send_from_directory(_STATIC, name)

    _add_answers(app, session)
    return app


def _add_answers(app: flask.Flask, session: Session) -> None:
    """What the page asks for, and what it sends."""

    @app.get("/api/state")
    def state() -> Any:
        return _json(session.state())

    @app.get("/api/next")
    def next_frame() -> Any:
        found = session.next()
        frame = None
        if found.number is not None:
            frame = session.describe(found.number, found.repeat)
        return _json({"why": found.why, "chosen": found.chosen, "frame": frame})

    @app.get("/api/frame/<int:number>")
    def frame(number: int) -> Any:
        return _json(session.describe(_checked(number)))

    @app.get("/api/pixels/<int:number>")
    def pixels(number: int) -> Any:
        content, headers = session.pixels(_checked(number))
        response = flask.Response(content, mimetype="application/octet-stream")
        response.headers.update(headers)
        return response

    @app.post("/api/answer/<int:number>")
    def answer(number: int) -> Any:
        said = _sent()
        given = Answer.parsed(said)
        if said.get("repeat") is True:  # which never changes the label
            if given.count is not None:
                session.answers.save_repeat(_checked(number), given.count)
            return _json({"token": session.answers.of(number).token})
        session.answers.save(_checked(number), given, str(said.get("token")))
        return _json({"token": given.token})

    @app.post("/api/draft/<int:number>")
    def draft(number: int) -> Any:
        points = _sent().get("points")
        if points is not None:
            points = Answer.parsed(
                {"points": points, "count": None, "unsure": False, "assisted": False, "chosen": ""}
            ).points
        session.answers.keep_draft(_checked(number), points)
        return _json({})

    @app.post("/api/train")
    def train() -> Any:
        budget = str(_sent().get("budget"))
        check_budget(budget)
        session.train(budget)
        return _json(session.training.state())

    @app.post("/api/stop")
    def stop() -> Any:
        session.training.stop()
        return _json(session.training.state())

    def _checked(number: int) -> int:
        if not 0 <= number < len(session.frames):
            raise UserError("There is no such image: load the page again.")
        return number


def check_budget(budget: str) -> None:
    """Refuses what is no time.

    Raises:
        UsageError: it is none.
    """
    try:
        parse_duration(budget)
    except ValueError as error:
        raise UsageError(f"The time to train for: {error}.") from None


def _sent() -> dict[str, Any]:
    said = flask.request.get_json(silent=True)
    if not isinstance(said, dict):
        raise UserError("The page sent something that is no answer: load it again.")
    return said


def _json(content: Any) -> Any:
    return flask.jsonify(finite(content))


def _refused(code: int, sentence: str) -> Any:
    return flask.jsonify({"error": sentence}), code


class _Quiet(WSGIRequestHandler):
    """Nobody reads a line for each request, and the first one holds the token."""

    def log_request(self, *args: Any) -> None:
        """Says nothing."""


def serve(
    session: Session,
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = log.info,
) -> None:
    """Serves the page until Ctrl-C, which ends a training, too.

    Args:
        session: what the page shows.
        port: to listen at; 0: one that is free.
        browser: open the page in the user's browser.
        say: is given the address.

    Raises:
        UserError: another page works in this folder, or the port is taken.
    """
    with lock(session.answers.folder, "is being labelled in another page"):
        token = secrets.token_urlsafe(24)
        try:
            # The port is not known before, and the application checks it.
            server = make_server(HOST, port, _nothing, threaded=True, request_handler=_Quiet)
        except (OSError, SystemExit):
            raise UserError(
                f"Port {port} is taken: leave --port out, or choose another one."
            ) from None
        server.app = page(session, token, server.server_port)
        server.daemon_threads = True
        address = f"http://{HOST}:{server.server_port}/?token={token}"
        say(f"Label at {address}")
        say("Every answer is saved at once. Ctrl-C ends the page.")
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        if browser:
            webbrowser.open(address)
        try:
            while serving.is_alive():
                serving.join(1.0)
        except KeyboardInterrupt:
            say("The page has ended; every answer is saved.")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C loses no model
            session.training.stop()
            server.shutdown()
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _nothing(environ: Any, start_response: Callable) -> list[bytes]:
    start_response("503 Service Unavailable", [])
    return []
